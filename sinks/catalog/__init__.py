"""A DuckDB connection with every view and macro of a lake."""

from sinks.catalog.catalog import Catalog, connect

__all__ = ["Catalog", "connect"]
