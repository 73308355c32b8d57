"""Files as input: NDJSON, Parquet and tables, each partition a file."""
