"""Bytes out: the lake, the out-topics as files, and the catalog that DuckDB reads them through."""
