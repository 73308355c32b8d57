"""Delta tables, exactly once, by two-phase commit."""
