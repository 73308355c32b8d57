"""Names of message headers: CloudEvents in binary mode on what goes out, our own on dead letters."""

EVENT_ID = "ce_id"
"""Names a message among all of its topic."""
SEQUENCE = "ce_sequence"
"""On a compacted topic: rises with each message of its key."""
DEAD_LETTER = "cityair_"
"""What headers of ours begin with on a dead letter, beside those that it came with."""
DEAD_LETTER_ID = f"{DEAD_LETTER}id"
