"""A DuckDB connection onto a lake: one consistent snapshot of its tables, and a view for every question.

The views stand one per file in ``views/``; line 1 of each says what it answers. They name their sources in braces:

* ``{rolling_history}``: every row of the table ``rolling``, as a relation to select from;
* ``{rolling}``: the same, the newest revision of each row only;
* ``{stations}``, ``{lights}``: what the city file says.

Views that build on others name them plainly; they are made after the views of the tables.
"""

import glob
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from schemas.city import City, seconds
from schemas.errors import ConfigurationError
from schemas.tables import TABLES, Table

CITY_FILE = "_cityair/city.json"
SOURCE = re.compile(r"\{(\w+)\}")
"""A source that a view names in braces."""
TYPES = {
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
}
STATIONS = {
    "station_id": "VARCHAR",
    "name": "VARCHAR",
    "lat": "DOUBLE",
    "lon": "DOUBLE",
    "kind": "VARCHAR",
    "every": "VARCHAR",
    "expected_per_hour": "INTEGER",
    "zone": "VARCHAR",
    "synthetic": "BOOLEAN",
}
LIGHTS = {
    "light_id": "VARCHAR",
    "name": "VARCHAR",
    "lat": "DOUBLE",
    "lon": "DOUBLE",
    "stations": "VARCHAR[]",
    "synthetic": "BOOLEAN",
}


class DataFile(NamedTuple):
    """A Parquet file that a table's log lists, with what the log says of it."""

    path: Path
    dt: date
    size: int
    rows: int | None
    revised: bool
    """It may hold a revision above 0."""
    written: int
    """When, in milliseconds since 1970."""


class View(NamedTuple):
    """A view of the catalog: what it answers, and its SQL with sources in braces."""

    name: str
    doc: str
    sql: str


@dataclass(frozen=True)
class Snapshot:
    """A lake at one moment.

    Attributes:
        lake: its directory.
        city: the city file of its newest run.
        tables: the data files of each table; a table that does not exist yet is not among them.
    """

    lake: Path
    city: City
    tables: dict[str, list[DataFile]]


def take_snapshot(lake: str | Path) -> Snapshot:
    """Read which files each table of a lake consists of.

    The ledger is opened first: a flow commits it last, so no other table can be behind it.

    Raises:
        ConfigurationError: there is no lake at this path.
    """
    lake = Path(lake).absolute()
    city = read_city(lake)
    opened = {name: open_table(lake, name) for name in ["ledger", *(n for n in TABLES if n != "ledger")]}
    return Snapshot(lake, city, {name: list(data_files(table, lake / name)) for name, table in opened.items() if table})


def read_city(lake: Path) -> City:
    """Read the city that the newest run on this lake was started with.

    Raises:
        ConfigurationError: the lake does not exist, was not made by cityair, or is of a newer version.
    """
    cure = "name the directory that `cityair run … --lake DIR` wrote, or run it first"
    if not lake.is_dir():
        raise ConfigurationError(f"{lake}: there is no lake here; {cure}")
    try:
        return msgspec.json.decode((lake / CITY_FILE).read_bytes(), type=City)
    except FileNotFoundError as err:
        raise ConfigurationError(f"{lake}: not a lake of cityair, it has no {CITY_FILE}; {cure}") from err
    except msgspec.MsgspecError as err:
        cure = "start `cityair run` on this lake with this version of cityair; it writes the file anew"
        raise ConfigurationError(f"{lake / CITY_FILE}: {err}; {cure}") from err


def open_table(lake: Path, name: str) -> DeltaTable | None:
    """Open a table of the lake at its newest version; none if it does not exist yet."""
    root = str(lake / name)
    return DeltaTable(root) if DeltaTable.is_deltatable(root) else None


def data_files(table: DeltaTable, root: Path) -> Iterator[DataFile]:
    """Yield the files of one version of a table in ``root``, in the order of their days and names."""
    adds = pa.RecordBatchReader.from_stream(table.get_add_actions(flatten=True)).read_all()
    if not adds.num_rows:
        return
    read = ["path", "partition.dt", "size_bytes", "num_records", "max.revision"]
    rows = adds.select([name for name in read if name in adds.column_names]).to_pylist()
    written = adds.column("modification_time").cast(pa.int64()).to_pylist()
    for add, at in sorted(
        zip(rows, written, strict=True), key=lambda row: (str(row[0]["partition.dt"]), row[0]["path"])
    ):
        yield DataFile(
            root / unquote(add["path"]),
            date.fromisoformat(str(add["partition.dt"])),
            add["size_bytes"],
            add["num_records"],
            add.get("max.revision") != 0,
            at,
        )


def sql_type(kind: pa.DataType) -> str:
    """Name the DuckDB type of an Arrow type.

    >>> sql_type(pa.timestamp("us", tz="UTC")), sql_type(pa.list_(pa.string()))
    ('TIMESTAMP WITH TIME ZONE', 'VARCHAR[]')
    """
    if pa.types.is_dictionary(kind):
        return sql_type(kind.value_type)
    if pa.types.is_timestamp(kind):
        return "TIMESTAMP WITH TIME ZONE" if kind.tz else "TIMESTAMP"
    if pa.types.is_list(kind):
        return sql_type(kind.value_type) + "[]"
    if pa.types.is_struct(kind):
        return "STRUCT(" + ", ".join(f'"{field.name}" {sql_type(field.type)}' for field in kind) + ")"
    return TYPES[kind]


def literal(value: object) -> str:
    """Write a value as SQL.

    >>> literal(["it's", 1.5, None])
    "['it''s', 1.5, NULL]"
    """
    match value:
        case None:
            return "NULL"
        case bool() | int() | float():
            return str(value)
        case list():
            return f"[{', '.join(map(literal, value))}]"
        case _:
            return "'" + str(value).replace("'", "''") + "'"


def scan(paths: list[DataFile], columns: Collection[str]) -> str:
    """Write a relation over these Parquet files; their days become the column ``dt``.

    Columns are only ever added, so where the oldest file has all ``columns``, every file has. Else DuckDB must open
    each one before it knows what there is.
    """
    options = ["hive_partitioning = true", "hive_types = {'dt': DATE}"]
    oldest = min(paths, key=lambda file: file.written)
    if not {*columns, "dt"} <= {*pq.read_schema(oldest.path).names, "dt"}:
        options.append("union_by_name = true")
    names = ", ".join(literal(glob.escape(str(file.path))) for file in paths)
    return f"read_parquet([{names}], {', '.join(options)})"


def columns_of(schema: pa.Schema) -> dict[str, str]:
    """Name the DuckDB type of each column of a table, ``dt`` last."""
    return {field.name: sql_type(field.type) for field in schema if field.name != "dt"} | {"dt": "DATE"}


def typed(columns: Mapping[str, str], *relations: str) -> str:
    """Write a relation with these columns and types first, and the rows of ``relations``."""
    return f"({' UNION ALL BY NAME '.join([nothing(columns), *(f'FROM {relation}' for relation in relations)])})"


def nothing(columns: Mapping[str, str]) -> str:
    """Write a query with these columns and types, and no rows."""
    nulls = (f'NULL::{kind} AS "{name}"' for name, kind in columns.items())
    return f"SELECT {', '.join(nulls)} WHERE false"


def newest(table: Table, paths: list[DataFile], columns: Collection[str]) -> list[str]:
    """Write relations that together hold the newest revision of every row.

    Days without a revision are scanned plainly. The others are joined with their few revised rows, which is cheaper
    than a window over all rows, and lets filters on the key and on ``dt`` reach both sides.
    """
    local = table.time in table.key  # else a later day may revise an earlier one
    touched = {file.dt if local else None for file in paths if file.revised}
    plain = [file for file in paths if (file.dt if local else None) not in touched]
    mixed = [file for file in paths if (file.dt if local else None) in touched]
    relations = [scan(plain, columns)] if plain else []
    if mixed:
        key = ", ".join([*table.key, "dt"] if local else table.key)
        revised = scan([file for file in mixed if file.revised], columns)
        relations.append(
            f"(SELECT held.* FROM {scan(mixed, columns)} AS held LEFT JOIN "
            f"(SELECT {key}, max(revision) AS newest FROM {revised} WHERE revision > 0 GROUP BY ALL) USING ({key}) "
            f"WHERE newest IS NULL OR revision = newest)"
        )
    return relations


def city_sources(city: City) -> dict[str, str]:
    """Write the relations ``stations`` and ``lights``."""
    stations = [
        [s.id, s.name, s.lat, s.lon, s.kind, s.every, 3600 // seconds(s.every), s.zone, s.synthetic]
        for s in city.stations
    ]
    lights = [[x.id, x.name, x.lat, x.lon, x.stations, x.synthetic] for x in city.lights]
    return {"stations": rows_of(STATIONS, stations), "lights": rows_of(LIGHTS, lights)}


def rows_of(columns: Mapping[str, str], rows: list[list[Any]]) -> str:
    """Write a relation with these columns, types and rows."""
    if not rows:
        return f"({nothing(columns)})"
    casts = ", ".join(f"{name}::{kind} AS {name}" for name, kind in columns.items())
    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    return f"(SELECT {casts} FROM (VALUES {values}) AS listed({', '.join(columns)}))"


def sources(snapshot: Snapshot) -> dict[str, str]:
    """Write the relation behind each name that a view may put in braces."""
    made = city_sources(snapshot.city)
    for name, table in TABLES.items():
        paths = snapshot.tables.get(name, [])
        columns = columns_of(table.schema)
        everything = typed(columns, *([scan(paths, columns)] if paths else []))
        made[f"{name}_history"] = everything
        made[name] = typed(columns, *newest(table, paths, columns)) if table.revised else everything
    return made


def views() -> list[View]:
    """Read every view of ``views/``: those of tables first, because others build on them."""
    found = []
    for file in files("sinks").joinpath("views").iterdir():
        if file.name.endswith(".sql"):
            first, _, sql = file.read_text(encoding="utf-8").partition("\n")
            found.append(View(file.name.removesuffix(".sql"), first.removeprefix("-- "), sql.strip()))
    return sorted(found, key=lambda view: (not SOURCE.search(view.sql), view.name))


def create_views(made: Mapping[str, str]) -> Iterator[str]:
    """Yield the statement that makes each view from the relations of ``sources``.

    Raises:
        KeyError: a view names a source that does not exist.
    """
    for view in views():
        filled = SOURCE.sub(lambda brace: made[brace[1]], view.sql)
        yield f"CREATE OR REPLACE VIEW {view.name} AS\n{filled}"


class Catalog:
    """A DuckDB connection with the lake's views; whatever DuckDB's own connection can do, this can.

    It keeps showing the moment it was opened until ``refresh()``. Files that the lake replaced meanwhile are kept for
    24 hours, so refresh at least once a day.

    Attributes:
        lake: the lake's directory.
        snapshot: what the views show.
        connection: DuckDB's own connection, for libraries that insist on its type.
    """

    def __init__(self, lake: str | Path, threads: int | None = None) -> None:
        self.lake = Path(lake).absolute()
        self.snapshot = take_snapshot(self.lake)
        self.connection: Any = duckdb.connect(config={} if threads is None else {"threads": threads})
        # Footers of hundreds of daily files are read once; DuckDB still notices a file that changed.
        self.connection.execute("SET GLOBAL parquet_metadata_cache = true")
        self._show()

    def refresh(self) -> None:
        """Move every view to the newest snapshot of the lake, all at once.

        Raises:
            ConfigurationError: the lake is gone.
        """
        self.snapshot = take_snapshot(self.lake)
        self._show()

    def _show(self) -> None:
        self.connection.execute(f"SET GLOBAL TimeZone = {literal(self.snapshot.city.city.timezone)}")
        self.connection.execute("BEGIN")
        try:
            for statement in create_views(sources(self.snapshot)):
                self.connection.execute(statement)
        except (OSError, duckdb.IOException) as err:
            self.connection.execute("ROLLBACK")
            raise ConfigurationError(
                f"{self.lake}: a data file cannot be read: {err}; see `cityair lake check`"
            ) from err
        self.connection.execute("COMMIT")

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


def portable_views(lake: str | Path, scan_table: str = "delta_scan") -> str:
    """Write SQL that makes the same views in a plain DuckDB with its delta extension.

    Tables that do not exist yet are empty views; print them again once there are rows.

    Args:
        lake: directory of the lake.
        scan_table: DuckDB function that reads a Delta table by its path.

    Raises:
        ConfigurationError: there is no lake at this path.
    """
    snapshot = take_snapshot(lake)
    made = city_sources(snapshot.city)
    for name, table in TABLES.items():
        path = literal(snapshot.lake / name)
        rows = f"(SELECT * REPLACE (dt::DATE AS dt) FROM {scan_table}({path})"
        key = ", ".join(table.key)
        only = f" QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY revision DESC) = 1" if table.revised else ""
        exists, columns = name in snapshot.tables, columns_of(table.schema)
        made[f"{name}_history"] = typed(columns, *([f"{rows})"] if exists else []))
        made[name] = typed(columns, *([f"{rows}{only})"] if exists else []))
    head = ["INSTALL delta", "LOAD delta", f"SET TimeZone = {literal(snapshot.city.city.timezone)}"]
    return "".join(f"{statement};\n" for statement in [*head, *create_views(made)])
