"""Files as input: discovery, lines, NDJSON, Parquet."""
