"""What others do with the same files: each module is one process, and prints what it did as JSON."""
