"""``cityair sql``: a question to the lake, answered as a table, JSON or CSV."""

import csv
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import duckdb
import msgspec
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.errors import UsageError
from sinks.catalog import catalog

SHOWN = 50
"""Rows of a plain table before it is cut."""
BATCH = 10_000
"""Rows fetched at once."""
WIDE = 10_000
"""Characters a line may have where no one looks at it through a window."""
JSON = msgspec.json.Encoder(decimal_format="number")  # NaN becomes null, bytes base64, times RFC 3339
NUMBERS = ("int", "integer", "float", "double", "decimal")
"""How the names of numeric types end."""

Lake = Annotated[
    Path | None,
    typer.Option("--lake", envvar="CITYAIR_LAKE", help="Directory of the lake; without one, macros alone are there."),
]


def sql(
    query: Annotated[str, typer.Argument(help="SQL of DuckDB; `SHOW TABLES` names what can be asked.")],
    lake: Lake = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array, an object a row.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header (RFC 4180).")] = False,
    everything: Annotated[bool, typer.Option("--all", help=f"Every row of a table, not the first {SHOWN}.")] = False,
) -> None:
    """Ask the lake in SQL. Times are the city's; means are the newest revisions.

    \b
    cityair sql "SHOW TABLES" --lake lake
    cityair sql "FROM latest_means WHERE parameter = 'pm25'" --lake lake
    cityair sql "SELECT reason, sum(messages) FROM rejects_by_reason GROUP BY ALL" --lake lake --json
    cityair sql "FROM rolling WHERE station_id = 'gimhae-17' AND dt = '2026-11-22'" --lake lake --csv
    cityair sql "SELECT cai(o3 := 0.012, no2 := 0.061, pm10_24h := 66, pm25_24h := 40)"
    """  # noqa: D301, \b keeps these lines apart
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other: choose one")
    with catalog.connect(lake) if lake else catalog.macros_alone() as con:
        try:
            if as_json or as_csv:
                con.execute(query)
                (write_json if as_json else write_csv)(*stream(con))
            else:
                show(con, query, None if everything else SHOWN)
        except duckdb.Error as err:
            raise UsageError(str(err)) from err


def stream(con: Any) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Return the column names of the last result, each once, and its rows."""
    return distinct([column[0] for column in con.description or []]), iter_rows(con.fetchmany)


def iter_rows(fetchmany: Any) -> Iterator[tuple[Any, ...]]:
    """Yield rows until there are no more."""
    while rows := fetchmany(BATCH):
        yield from rows


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
    opened = "["
    for row in rows:
        out.write(opened + JSON.encode(dict(zip(names, row, strict=True))).decode())
        opened = ",\n"
    out.write("[]\n" if opened == "[" else "]\n")


def write_csv(names: list[str], rows: Iterator[tuple[Any, ...]]) -> None:
    """Write a header and rows to stdout; null is an empty field, nested values are JSON."""
    writer = csv.writer(sys.stdout, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows([field(value) for value in row] for row in rows)


def field(value: object) -> object:
    """Make a value plain enough for CSV: the text it has in JSON."""
    if value is None or isinstance(value, str | float):
        return value
    text = JSON.encode(value).decode()
    return msgspec.json.decode(text) if text.startswith('"') else text


def show(con: Any, query: str, limit: int | None) -> None:
    """Print a table, cut at ``limit`` rows."""
    result = con.sql(query)
    if result is None:  # a statement without rows
        return
    names = distinct(result.columns)
    rows = result.fetchall() if limit is None else result.limit(limit + 1).fetchall()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name, kind in zip(names, result.types, strict=True):
        table.add_column(Text(name), justify="right" if kind.id.endswith(NUMBERS) else "left", overflow="fold")
    for row in rows[:limit]:
        table.add_row(*(Text(cell(value)) for value in row))
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDE, highlight=False)
    console.print(table)
    if limit is not None and len(rows) > limit:
        [total] = result.count("*").fetchone()
        console.print(Text(f"\n{limit} of {total:,} rows; --all shows every one, --json and --csv write them"))
    else:
        console.print(Text(f"\n{len(rows):,} row{'' if len(rows) == 1 else 's'}"))


def cell(value: object) -> str:
    r"""Write a value for people; what could steer a terminal is escaped.

    >>> cell(None), cell(0.1 + 0.2), cell(b"\x1b[2J"), cell("a\x1b"), cell(True)
    ('-', '0.3', '\\x1b[2J', 'a\\x1b', 'true')
    """
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.1f}"
        case bytes():
            return repr(value)[2:-1]
        case datetime():
            return str(value)
        case str():
            return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in value)
        case list() | dict():
            return cell(JSON.encode(value).decode())
        case _:
            return str(value)
