"""A DuckDB connection with every view and macro of a lake."""

from sinks.catalog.catalog import Catalog, View, connect, views

__all__ = ["Catalog", "View", "connect", "views"]
