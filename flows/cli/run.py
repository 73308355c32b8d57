"""``cityair run``: play an input through a dataflow into a lake."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from flows import settings
from flows.engine.flow import Flow
from flows.engine.observe import RunObserver
from flows.engine.run import KAFKA, RunOptions
from flows.engine.run import run as run_flow
from flows.engine.side_by_side import run_side_by_side
from schemas.errors import DataQualityError, UsageError
from sinks.lake.layout import META_FOLDER
from sinks.lake.tables import create_tables

FLOWS = {"air": "flows.air:FLOW"}
"""Where each flow stands: module and attribute."""

EXAMPLES = """
Examples:

  cityair run air --input readings.ndjson --lake lake

  cityair run air --city seoul.toml --input readings_2017.tsv.gz --map seoul --lake lake

  zcat yesterday.ndjson.gz | cityair run air --input - --output out --lake lake --recovery store

  CITYAIR_KAFKA=broker:9092 cityair run air --input kafka --output kafka --lake lake
"""


def run(
    flow: Annotated[
        list[str] | None,
        typer.Argument(help="Which flows: air, or MODULE:ATTRIBUTE of a flow of your own.", show_default="air"),
    ] = None,
    city: Annotated[
        Path | None, typer.Option(envvar="CITYAIR_CITY", help="City file.", show_default="the shipped Gimhae")
    ] = None,
    input: Annotated[
        str,
        typer.Option(
            "--input",
            envvar="CITYAIR_INPUT",
            help="NDJSON, Parquet, CSV or TSV file, a folder of them, - for standard input, or kafka.",
        ),
    ] = "",
    lake: Annotated[Path | None, typer.Option(envvar="CITYAIR_LAKE", help="Folder of the Delta tables.")] = None,
    output: Annotated[
        str | None, typer.Option(envvar="CITYAIR_OUTPUT", help="Folder for one NDJSON file a topic, or kafka.")
    ] = None,
    recovery: Annotated[
        Path | None,
        typer.Option(envvar="CITYAIR_RECOVERY", help="Folder of the recovery store.", show_default="inside the lake"),
    ] = None,
    map: Annotated[
        str | None,
        typer.Option(
            "--map", envvar="CITYAIR_MAP", help="Column map for CSV and TSV: a TOML file, or a shipped one's name."
        ),
    ] = None,
    stop_at_end: Annotated[
        bool, typer.Option("--stop-at-end", help="Stop where the topic's partitions end now; files always do.")
    ] = False,
    accept_gaps: Annotated[
        bool, typer.Option("--accept-gaps", help="Go on where the broker deleted messages before they were read.")
    ] = False,
    max_rejects: Annotated[
        float | None, typer.Option(min=0, max=1, help="Exit with 6 if a larger share is refused.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what became of the input as JSON.")] = False,
) -> None:
    """Play an input through a dataflow into a lake; a second start goes on where the first stopped."""
    names = flow or list(FLOWS)
    flows = {name: flow_named(name) for name in names}
    if not input:
        raise UsageError("no input; give --input PATH, or - for standard input")
    if lake is None:
        raise UsageError("no lake; give --lake DIR, a folder that is made if it is not there")
    if map and input == KAFKA:
        raise UsageError("--map is for CSV and TSV files; a topic holds JSON")
    if len(flows) > 1:
        if input == "-":
            raise UsageError(f"standard input serves one flow, not {len(flows)}; write it to a file and give its path")
        create_tables(lake)
        words = _words(
            city=city,
            input=input,
            lake=lake,
            output=output,
            recovery=recovery,
            map=map,
            stop_at_end=stop_at_end,
            accept_gaps=accept_gaps,
            max_rejects=max_rejects,
            json=as_json,
        )
        command = [sys.executable, "-c", "from flows.cli import main; main()", "run"]
        if status := run_side_by_side(names, lambda name: [*command, name, *words], as_json=as_json):
            raise typer.Exit(status)
        return
    options = RunOptions(input, map, output, stop_at_end=stop_at_end, accept_gaps=accept_gaps)
    observer = RunObserver(shown=sys.stderr.isatty(), as_json=as_json)
    stopped = run_flow(
        flows[names[0]], settings.load_city(city), options, lake, recovery or lake / META_FOLDER / "recovery", observer
    )
    if stopped:
        raise KeyboardInterrupt
    dispositions = observer.dispositions
    share = 1 - dispositions["stored"] / max(1, dispositions.total())
    if max_rejects is not None and share > max_rejects:
        raise DataQualityError(
            f"{share:.2%} of {dispositions.total():,} readings were refused, more than {max_rejects:.2%}"
        )


run.__doc__ = f"{run.__doc__}\n{EXAMPLES}".replace("\n  ", "\n\n  ")


def flow_named(name: str) -> Flow:
    """Find a flow by its name, or by its module and attribute.

    Raises:
        UsageError: there is none.
    """
    module, _, attribute = FLOWS.get(name, name).partition(":")
    if not attribute:
        raise UsageError(f"no flow named {name!r}; known: {', '.join(FLOWS)}, or MODULE:ATTRIBUTE of your own")
    try:
        flow = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as err:
        raise UsageError(f"no flow at {name!r}: {err}") from err
    if not isinstance(flow, Flow):
        raise UsageError(f"{name!r} is a {type(flow).__name__}, not a flow (flows.engine.flow.Flow)")
    return flow


def _words(**options: object) -> list[str]:
    """Write options as words of the command line; what is None or False is left out."""
    words: list[str] = []
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value is not None and value is not False:
            words += [option, str(value)]
    return words
