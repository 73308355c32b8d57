"""What is computed as slots close, and again where late data changes it."""
