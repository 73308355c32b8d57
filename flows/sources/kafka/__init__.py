"""Topics as input, at the offsets of the recovery store."""
