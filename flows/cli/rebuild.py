"""``cityair rebuild``: a way back where a recovery store was lost."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows import settings
from flows.cli.options import CityOption, LakeFolderOption
from flows.cli.run import flow_named
from flows.engine import rebuild as engine
from flows.engine.run import RunOptions, open_source, with_map
from schemas.errors import UsageError
from sinks.lake.layout import META_FOLDER
from sinks.lake.tables import exclusive


def rebuild(
    name: Annotated[str, typer.Argument(metavar="FLOW", help="Whose store it is.")] = "air",
    recovery: Annotated[
        Path | None,
        typer.Option(
            envvar="CITYAIR_RECOVERY", help="Folder of the recovery store to make.", show_default="inside the lake"
        ),
    ] = None,
    lake: LakeFolderOption = None,
    city: CityOption = None,
    input: Annotated[
        str, typer.Option("--input", envvar="CITYAIR_INPUT", help="What the flow reads, as for run.")
    ] = "",
    map: Annotated[str | None, typer.Option("--map", envvar="CITYAIR_MAP", help="Column map, as for run.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was rebuilt as JSON.")] = False,
) -> None:
    """Make a recovery store from the lake: its ledger says where each input goes on, its newest readings fill the grid.

    Example:
      cityair rebuild --recovery store --lake lake --city city.toml --input readings.ndjson
    """
    if lake is None:
        raise UsageError("no lake; give --lake DIR")
    if not input or input == "-":
        raise UsageError(
            "no input; give --input PATH, the file or folder that the flow reads (standard input cannot be read again)"
        )
    options = RunOptions(input, map, stop_at_end=True)
    flow = flow_named(name)
    known = with_map(flow, settings.load_city(city), options)
    place = recovery or lake / META_FOLDER / "recovery"
    with exclusive(lake, place, flow.name):
        source = open_source(flow, known, options, lambda: False)
        made = engine.rebuild(flow, known, source, lake, place).plain()
    if as_json:
        print(json.dumps(made))
        return
    for part in made["partitions"]:
        print(f"{part['topic']} ({part['kpart']}) goes on at {part['next_offset']:,}")
    print(f"{made['replayed']:,} readings put back on the grid")
    if made["given_up"]:
        print(f"{made['given_up']:,} messages given up, which had waited for the clock: see rejects")
