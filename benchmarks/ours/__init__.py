"""Parts of our own path on their own: each module is one process, and prints what it did as JSON."""
