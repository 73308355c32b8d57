"""CSV and TSV through column maps."""
