"""What a record is: the contracts of every message, table and city file."""
