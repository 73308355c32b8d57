"""What happens to a record: sources, decode, state, analyses, signals, outputs, and the engine that joins them."""
