"""The project's public face: a lake opened in DuckDB, and the version.

What an analyst does first::

    import cityair

    con = cityair.connect("lake")
    con.sql("FROM latest_means").df()

``schemas``, ``flows`` and ``sinks`` are the rooms behind it, and may change between versions; these names do not.
"""

from importlib.metadata import version

from sinks.catalog import Catalog, View, connect, views

__all__ = ["Catalog", "View", "__version__", "connect", "views"]

__version__ = version("cityair")
