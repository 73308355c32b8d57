"""``cityair sql``: a question to the lake, answered as a table, JSON or CSV."""

from pathlib import Path
from typing import Annotated

import duckdb
import typer

from flows.cli.render.query_result import print_table, stream, write_csv, write_json
from schemas.errors import UsageError
from sinks.catalog import catalog

TABLE_ROWS = 50
"""Rows of a table before it is cut."""


def sql(
    query: Annotated[str, typer.Argument(help="SQL of DuckDB; `SHOW TABLES` names what can be asked.")],
    lake: Annotated[
        Path | None,
        typer.Option(envvar="CITYAIR_LAKE", help="Directory of the lake; without one, macros alone are there."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array, an object a row.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV with a header (RFC 4180).")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help=f"Every row of a table, not the first {TABLE_ROWS}.")
    ] = False,
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
                print_table(con, query, None if everything else TABLE_ROWS)
        except duckdb.Error as err:
            raise UsageError(str(err)) from err
