"""Rows of columns through a column map: CSV and TSV, in wide and in long form."""
