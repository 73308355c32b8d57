"""``cityair run``: play an input through a dataflow into a lake."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from flows import settings
from flows.cli.options import CityOption, LakeFolderOption
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


FlowsArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Which flows: air, or MODULE:ATTRIBUTE of a flow of your own.", show_default="air"),
]
InputOption = Annotated[
    str,
    typer.Option(
        "--input",
        envvar="CITYAIR_INPUT",
        help="NDJSON, Parquet, CSV or TSV file, a folder of them, - for standard input, or kafka.",
    ),
]
OutputOption = Annotated[
    str | None, typer.Option(envvar="CITYAIR_OUTPUT", help="Folder for one NDJSON file a topic, or kafka.")
]
RecoveryOption = Annotated[
    Path | None,
    typer.Option(envvar="CITYAIR_RECOVERY", help="Folder of the recovery store.", show_default="inside the lake"),
]
MapOption = Annotated[
    str | None,
    typer.Option(
        "--map", envvar="CITYAIR_MAP", help="Column map for CSV and TSV: a TOML file, or a shipped one's name."
    ),
]
StopAtEndOption = Annotated[
    bool, typer.Option("--stop-at-end", help="Stop where the topic's partitions end now; files always do.")
]
AcceptGapsOption = Annotated[
    bool, typer.Option("--accept-gaps", help="Go on where the broker deleted messages before they were read.")
]
MaxRejectsOption = Annotated[float | None, typer.Option(min=0, max=1, help="Exit with 6 if a larger share is refused.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print what became of the input as JSON.")]


# More than 8 parameters: they are the command's argument and options.
def run(
    flow: FlowsArgument = None,
    city: CityOption = None,
    input: InputOption = "",
    lake: LakeFolderOption = None,
    output: OutputOption = None,
    recovery: RecoveryOption = None,
    map: MapOption = None,
    stop_at_end: StopAtEndOption = False,
    accept_gaps: AcceptGapsOption = False,
    max_rejects: MaxRejectsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Play an input through a dataflow into a lake; a second start goes on where the first stopped."""
    names = flow or list(FLOWS)
    flows = {name: flow_named(name) for name in names}
    options = RunOptions(input, map, output, stop_at_end=stop_at_end, accept_gaps=accept_gaps)
    lake = _checked(options, lake)
    if len(flows) > 1:
        more = {"city": city, "lake": lake, "recovery": recovery, "max_rejects": max_rejects, "json": as_json}
        run_each(names, lake, options, more)
        return
    observer = RunObserver(shown=sys.stderr.isatty(), as_json=as_json)
    store = recovery or lake / META_FOLDER / "recovery"
    if run_flow(flows[names[0]], settings.load_city(city), options, lake, store, observer):
        raise KeyboardInterrupt
    check_rejects(observer.dispositions, max_rejects)


run.__doc__ = f"{run.__doc__}\n{EXAMPLES}".replace("\n  ", "\n\n  ")


def _checked(options: RunOptions, lake: Path | None) -> Path:
    """The lake, once it is seen that the options fit together.

    Raises:
        UsageError: they do not.
    """
    if not options.input:
        raise UsageError("no input; give --input PATH, or - for standard input")
    if lake is None:
        raise UsageError("no lake; give --lake DIR, a folder that is made if it is not there")
    if options.map and options.input == KAFKA:
        raise UsageError("--map is for CSV and TSV files; a topic holds JSON")
    return lake


def run_each(names: Sequence[str], lake: Path, options: RunOptions, more: Mapping[str, object]) -> None:
    """Make the lake, then run each flow as a process of its own, with these options and more.

    Raises:
        UsageError: standard input cannot serve several flows.
        typer.Exit: one ended with another status than 0.
    """
    if options.input == "-":
        raise UsageError(f"standard input serves one flow, not {len(names)}; write it to a file and give its path")
    create_tables(lake)
    words = _words(**asdict(options), **more)
    command = [sys.executable, "-c", "from flows.cli import main; main()", "run"]
    if status := run_side_by_side(names, lambda name: [*command, name, *words], as_json=bool(more["json"])):
        raise typer.Exit(status)


def check_rejects(dispositions: Counter[str], max_rejects: float | None) -> None:
    """See that no larger share of the readings was refused than is allowed.

    Raises:
        DataQualityError: one was.
    """
    share = 1 - dispositions["stored"] / max(1, dispositions.total())
    if max_rejects is not None and share > max_rejects:
        raise DataQualityError(
            f"{share:.2%} of {dispositions.total():,} readings were refused, more than {max_rejects:.2%}"
        )


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
