"""SQL of the relations that views select from: scans of a table's files, its newest revisions, lists of the city."""

import glob
from collections.abc import Collection, Mapping
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.kernels import display
from schemas import light
from schemas.city import City
from schemas.durations import seconds
from schemas.slots import MICROSECOND
from schemas.tables import Table
from sinks.catalog.snapshot import TableFile

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


def scan(files: Collection[TableFile], options: str) -> str:
    """Write a relation over these Parquet files; their days become the column ``dt``."""
    names = ", ".join(literal(glob.escape(str(file.path))) for file in files)
    return f"read_parquet([{names}], hive_partitioning = true, hive_types = {{'dt': DATE}}{options})"


def options_of(files: Collection[TableFile], columns: Collection[str]) -> str:
    """Write the options that a table's files need.

    Columns are only ever added, so where the oldest file has all ``columns``, every file has them. Otherwise DuckDB
    must open each file before it knows its columns.
    """
    oldest = min(files, key=lambda file: file.written)
    return "" if {*columns} <= {*pq.read_schema(oldest.path).names, "dt"} else ", union_by_name = true"


def bounded(relation: str, table: Table, files: Collection[TableFile]) -> str:
    """Write which times a relation holds, so that a query about others never opens its files."""
    spans = [file.span for file in files if file.span]
    if len(spans) < len(files):
        return relation
    low, high = min(first for first, _ in spans), max(last for _, last in spans)
    return f"(FROM {relation} WHERE {table.time} BETWEEN make_timestamptz({low}) AND make_timestamptz({high}))"


def by_two_months(files: Collection[TableFile]) -> list[list[TableFile]]:
    """Split files, given in the order of their days, into parts of two months.

    In a year with late readings every day, the query of a station's day takes a quarter of the time that it takes over
    one part, because the bounds keep the other files closed; smaller parts cost more to plan than they save.
    """
    return [list(part) for _, part in groupby(files, key=lambda file: (file.dt.year, (file.dt.month - 1) // 2))]


def all_rows(table: Table, files: Collection[TableFile], options: str) -> list[str]:
    """Write relations that together hold every row."""
    return [bounded(scan(part, options), table, part) for part in by_two_months(files)]


def newest_rows(table: Table, files: Collection[TableFile], options: str) -> list[str]:
    """Write relations that together hold the newest revision of every row.

    Days without a revision are scanned plainly. The others are joined with their few revised rows, which is cheaper
    than a window over all rows, and lets filters on the key and on ``dt`` reach both sides.
    """
    if table.time not in table.key:  # a later day may revise an earlier one
        return _joined(table, files, table.key, options)
    touched = {file.dt for file in files if file.revised}
    mixed = [file for file in files if file.dt in touched]
    relations = all_rows(table, [file for file in files if file.dt not in touched], options)
    for part in by_two_months(mixed):
        relations += [bounded(joined, table, part) for joined in _joined(table, part, (*table.key, "dt"), options)]
    return relations


def _joined(table: Table, files: Collection[TableFile], key: Collection[str], options: str) -> list[str]:
    revised = [file for file in files if file.revised]
    if not revised:
        return all_rows(table, files, options)
    return [newest_of(scan(files, options), scan(revised, options), key)]


def newest_of(rows: str, revised: str, key: Collection[str]) -> str:
    """Write a relation of ``rows`` whose revision is the highest that ``revised`` has for their key, if it has any."""
    same = ", ".join(key)
    newer = f"SELECT {same}, max(revision) AS newest FROM {revised} WHERE revision > 0 GROUP BY ALL"
    joined = f"{rows} AS held LEFT JOIN ({newer}) USING ({same})"
    return f"(SELECT held.* FROM {joined} WHERE newest IS NULL OR revision = newest)"


def columns_of(schema: pa.Schema) -> dict[str, str]:
    """Name the DuckDB type of each column of a table, ``dt`` last."""
    return {field.name: sql_type(field.type) for field in schema if field.name != "dt"} | {"dt": "DATE"}


def typed(columns: Mapping[str, str], *relations: str) -> str:
    """Write a relation with these columns and types first, and the rows of ``relations``."""
    return f"({' UNION ALL BY NAME '.join([no_rows(columns), *(f'FROM {relation}' for relation in relations)])})"


def no_rows(columns: Mapping[str, str]) -> str:
    """Write a query with these columns and types, and no rows."""
    nulls = (f'NULL::{kind} AS "{name}"' for name, kind in columns.items())
    return f"SELECT {', '.join(nulls)} WHERE false"


def city_sources(city: City) -> dict[str, str]:
    """Write the relations ``stations`` and ``lights``."""
    stations = [
        [s.id, s.name, s.lat, s.lon, s.kind, s.every, 3600 // seconds(s.every), s.zone, s.synthetic]
        for s in city.stations
    ]
    lights = [[x.id, x.name, x.lat, x.lon, x.stations, x.synthetic] for x in city.lights]
    return {"stations": rows_of(STATIONS, stations), "lights": rows_of(LIGHTS, lights)}


def light_limits() -> dict[str, str]:
    """Write the limits that a light's state keeps, and what a light makes of it: no number has a second copy."""
    return {
        "colors": literal([*light.COLORS]),
        "faces": literal([*display.FACES]),
        "last_seq": literal(light.SEQ_END - 1),
        "max_life": literal(light.MAX_LIFE // MICROSECOND),
        "max_text": literal(light.MAX_TEXT),
        "end_of_time": literal(light.LATEST.isoformat()),
        "tolerance": literal(display.TOLERANCE // MICROSECOND),
    }


def rows_of(columns: Mapping[str, str], rows: list[list[Any]]) -> str:
    """Write a relation with these columns, types and rows."""
    if not rows:
        return f"({no_rows(columns)})"
    casts = ", ".join(f"{name}::{kind} AS {name}" for name, kind in columns.items())
    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    return f"(SELECT {casts} FROM (VALUES {values}) AS listed({', '.join(columns)}))"
