"""The result of a query on stdout: a table for people, JSON or CSV for scripts."""

import csv
import sys
from collections.abc import Iterator
from typing import Any

import duckdb
import msgspec
from rich import box
from rich.table import Table
from rich.text import Text

from flows.cli.render.values import JSON, cell, stdout_console
from sinks.catalog import Catalog

FETCH_ROWS = 10_000
"""Rows fetched at once."""
NUMERIC = ("int", "integer", "float", "double", "decimal")
"""Endings of the names of DuckDB's numeric types."""


def stream(
    con: Catalog | duckdb.DuckDBPyConnection, batch_rows: int = FETCH_ROWS
) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Return the column names of the last result, made distinct, and its rows."""
    names = distinct([column[0] for column in con.description or []])
    batches = iter(lambda: con.fetchmany(batch_rows), [])
    return names, (row for batch in batches for row in batch)


def distinct(names: list[str]) -> list[str]:
    """Tell repeated names apart, as DuckDB does in a subquery.

    >>> distinct(["x", "y", "x"])
    ['x', 'y', 'x_1']
    """
    taken: list[str] = []
    for name in names:
        candidates = (f"{name}_{i}" if i else name for i in range(len(names)))
        taken.append(next(candidate for candidate in candidates if candidate not in taken))
    return taken


def write_json(names: list[str], rows: Iterator[tuple[Any, ...]]) -> None:
    """Write an array of objects to stdout, one a line."""
    out = sys.stdout
    opening = "["
    for row in rows:
        out.write(opening + JSON.encode(dict(zip(names, row, strict=True))).decode())
        opening = ",\n"
    out.write("[]\n" if opening == "[" else "]\n")


def write_csv(names: list[str], rows: Iterator[tuple[Any, ...]]) -> None:
    """Write a header and rows to stdout (RFC 4180); null is an empty field, nested values are JSON."""
    writer = csv.writer(sys.stdout, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows([csv_field(value) for value in row] for row in rows)


def csv_field(value: object) -> object:
    """Return a value as CSV takes it: unchanged, or the text it has in JSON."""
    if value is None or isinstance(value, str | float):
        return value
    text = JSON.encode(value).decode()
    return msgspec.json.decode(text) if text.startswith('"') else text


def print_table(con: Catalog | duckdb.DuckDBPyConnection, query: str, limit: int | None) -> None:
    """Run a query and print a table of its rows, cut at ``limit``; nothing for a statement without rows."""
    result = con.sql(query)
    if result is None:
        return
    names = distinct(result.columns)
    rows = result.fetchall() if limit is None else result.limit(limit + 1).fetchall()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name, kind in zip(names, result.types, strict=True):
        table.add_column(Text(name), justify="right" if kind.id.endswith(NUMERIC) else "left", overflow="fold")
    for row in rows[:limit]:
        table.add_row(*(Text(cell(value)) for value in row))
    console = stdout_console()
    console.print(table)
    if limit is not None and len(rows) > limit:
        [[total]] = result.count("*").fetchall()
        console.print(Text(f"\n{limit} of {total:,} rows; --all shows every one, --json and --csv write them"))
    else:
        console.print(Text(f"\n{len(rows):,} row{'' if len(rows) == 1 else 's'}"))
