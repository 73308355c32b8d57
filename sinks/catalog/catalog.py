"""A DuckDB connection onto a lake: one consistent snapshot of its tables, and a view for every question.

The views stand one per file in ``views/``; line 1 of each is the question that it answers. A table without a file there
has a view of its newest rows, and where it has revisions one of its history. They name in braces the
relations that they select from:

* ``{rolling_history}``: every row of the table ``rolling``, as a relation to select from;
* ``{rolling}``: the same, the newest revision of each row only;
* ``{rolling_day}``: its newest day;
* ``{stations}``, ``{lights}``: what the city file says;
* ``{last_seq}``, ``{max_life}`` and other limits of a light's state, from its contract.

Views that build on others name them plainly; they are made after the views of the tables.

Beside them are the macros of ``sinks/catalog/macros.py``.
"""

import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from schemas.errors import ConfigurationError
from schemas.tables import TABLES
from sinks.catalog.macros import create_macros, install
from sinks.catalog.relations import (
    all_rows,
    city_sources,
    columns_of,
    light_limits,
    literal,
    newest_of,
    newest_rows,
    options_of,
    typed,
)
from sinks.catalog.snapshot import Snapshot, take_snapshot

SOURCE = re.compile(r"\{(\w+)\}")
"""A source that a view names in braces."""


class View(NamedTuple):
    """A view of the catalog: its name, the question it answers, and its SQL with sources in braces."""

    name: str
    doc: str
    sql: str


def sources(snapshot: Snapshot) -> dict[str, str]:
    """Write the relation behind each name that a view may put in braces."""
    relations = city_sources(snapshot.city) | light_limits()
    for name, table in TABLES.items():
        files = snapshot.tables.get(name, [])
        columns = columns_of(table.schema)
        options = options_of(files, columns) if files else ""
        relations[f"{name}_history"] = relations[name] = typed(columns, *all_rows(table, files, options))
        relations[f"{name}_day"] = f"{literal(max(file.dt for file in files) if files else None)}::DATE"
        if table.revised:
            relations[name] = typed(columns, *newest_rows(table, files, options))
    return relations


def views() -> list[View]:
    """Read every view of ``views/``, and make a plain one of each table without: those of tables first.

    >>> [view.sql for view in views() if view.name in ("rolling", "rolling_history")]
    ['FROM {rolling}', 'FROM {rolling_history}']
    """
    listed = []
    for file in resources.files("sinks.catalog").joinpath("views").iterdir():
        if file.name.endswith(".sql"):
            first, _, sql = file.read_text(encoding="utf-8").partition("\n")
            listed.append(View(file.name.removesuffix(".sql"), first.removeprefix("-- "), sql.strip()))
    listed += [view for view in _table_views() if view.name not in {file.name for file in listed}]
    return sorted(listed, key=lambda view: (not SOURCE.search(view.sql), view.name))


def _table_views() -> Iterator[View]:
    """Yield the plain views of each table: its newest rows, and where it has revisions all rows."""
    for name, table in TABLES.items():
        yield View(name, f"Which rows hold? Each is {table.doc}.", f"FROM {{{name}}}")
        if table.revised:
            yield View(
                f"{name}_history", f"How did each row of {name} change? Every revision.", f"FROM {{{name}_history}}"
            )


def create_views(relations: Mapping[str, str]) -> Iterator[str]:
    """Yield the statement that makes each view.

    Args:
        relations: those of ``sources``.

    Raises:
        KeyError: a view names a source that does not exist.
    """
    for view in views():
        sql = SOURCE.sub(lambda brace: relations[brace[1]], view.sql)
        yield f"CREATE OR REPLACE VIEW {view.name} AS\n{sql}"


class Catalog:
    """A DuckDB connection with the lake's views and macros; whatever DuckDB's own connection can do, this can.

    The views show the moment at which the catalog was opened, or was last refreshed. Files that the lake replaced
    meanwhile are kept for 24 hours, so refresh at least once a day.

    >>> import tempfile
    >>> from schemas.city import City, Identity
    >>> from sinks.lake.tables import create_tables, keep_city
    >>> with tempfile.TemporaryDirectory() as lake:
    ...     identity = create_tables(Path(lake))
    ...     keep_city(Path(lake), City(city=Identity(id="gimhae", name="Gimhae", timezone="Asia/Seoul"), stations=[]))
    ...     with Catalog(lake) as con:
    ...         con.sql("SELECT count(*) FROM rolling").fetchall()
    [(0,)]

    Attributes:
        lake: the lake's directory.
        snapshot: what the views show.
        connection: DuckDB's own connection, for libraries that insist on its type.
    """

    def __init__(self, lake: str | Path, threads: int | None = None) -> None:
        self.lake = Path(lake).absolute()
        self.snapshot = take_snapshot(self.lake)
        self.connection: duckdb.DuckDBPyConnection = duckdb.connect(
            config={} if threads is None else {"threads": threads}
        )
        # Footers of hundreds of daily files are read once; DuckDB still notices that a file has changed.
        self.connection.execute("SET GLOBAL parquet_metadata_cache = true")
        install(self.connection)
        self._show(self.snapshot)

    def refresh(self) -> None:
        """Move every view to the newest snapshot of the lake, all at once.

        Raises:
            ConfigurationError: the lake is gone, or a file of it.
        """
        self._show(take_snapshot(self.lake))

    def _show(self, snapshot: Snapshot) -> None:
        self.connection.execute(f"SET GLOBAL TimeZone = {literal(snapshot.city.city.timezone)}")
        self.connection.execute("BEGIN")
        try:
            for statement in create_views(sources(snapshot)):
                self.connection.execute(statement)
        except Exception as err:
            self.connection.execute("ROLLBACK")
            if isinstance(err, OSError | duckdb.IOException):
                remedy = "see `cityair lake check`"
                raise ConfigurationError(f"{self.lake}: a data file cannot be read: {err}; {remedy}") from err
            raise
        self.connection.execute("COMMIT")
        self.snapshot = snapshot

    def __getattr__(self, name: str) -> Any:
        if name == "connection":  # only before __init__ has set it
            raise AttributeError(name)
        return getattr(self.connection, name)

    def __enter__(self) -> "Catalog":
        return self

    def __exit__(self, *failure: object) -> None:
        self.connection.close()


def connect(lake: str | Path, *, threads: int | None = None) -> Catalog:
    """Open a lake in DuckDB: every table and view of one consistent snapshot, times in the city's zone.

    Args:
        lake: directory of the lake.
        threads: threads DuckDB may use; all cores if not given.

    Raises:
        ConfigurationError: there is no lake at this path.

    ::

        con = sinks.catalog.connect("lake")
        con.sql("SELECT * FROM latest_means").df()
        con.refresh()
    """
    return Catalog(lake, threads)


def macros_alone() -> duckdb.DuckDBPyConnection:
    """Open DuckDB with the macros and no lake."""
    connection: duckdb.DuckDBPyConnection = duckdb.connect()
    install(connection)
    return connection


def portable_views(lake: str | Path, scan_table: str = "delta_scan") -> str:
    """Write SQL that makes the same views and macros in a plain DuckDB with its delta extension.

    Tables that do not exist yet are empty views; print them again once there are rows.

    Args:
        lake: directory of the lake.
        scan_table: DuckDB function that reads a Delta table by its path.

    Raises:
        ConfigurationError: there is no lake at this path.
    """
    snapshot = take_snapshot(lake)
    relations = city_sources(snapshot.city) | light_limits()
    for name, table in TABLES.items():
        columns = columns_of(table.schema)
        rows = f"(SELECT * REPLACE (dt::DATE AS dt) FROM {scan_table}({literal(snapshot.lake / name)}))"
        scans = [rows] if name in snapshot.tables else []
        relations[f"{name}_history"] = relations[name] = typed(columns, *scans)
        relations[f"{name}_day"] = f"(SELECT max(dt) FROM {typed(columns, *scans)})"
        if table.revised:
            relations[name] = typed(columns, *(newest_of(scan, scan, table.key) for scan in scans))
    head = ["INSTALL delta", "LOAD delta", f"SET TimeZone = {literal(snapshot.city.city.timezone)}"]
    return "".join(f"{statement};\n" for statement in [*head, *create_macros(), *create_views(relations)])
