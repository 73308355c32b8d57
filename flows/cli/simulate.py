"""``cityair simulate``: readings of an invented city, with known trouble, for trying things out."""

import sys
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from flows.settings import load_city
from flows.sources.scenarios import MIXES, SCENARIOS
from flows.sources.simulator import Simulation, Summary, write, write_lines
from schemas.errors import UsageError

CITY = "Stations to simulate, a TOML file; the shipped Gimhae if left out."
START = "A date (midnight of the city's time) or an RFC 3339 time with an offset."
SCENARIO = f"What goes wrong; may be given several times. Mixes: {', '.join(MIXES)}. Single: {', '.join(SCENARIOS)}."
OUTPUT = "NDJSON; compressed if it ends in .gz, Parquet if in .parquet, standard output if it is '-'."


def simulate(
    start: Annotated[str, typer.Option(help=START, show_default=False)],
    output: Annotated[str, typer.Option(help=OUTPUT, show_default=False)],
    city: Annotated[Path | None, typer.Option(envvar="CITYAIR_CITY", help=CITY, show_default=False)] = None,
    days: Annotated[float, typer.Option(help="Length in days of 24 h; may be a fraction.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    scenario: Annotated[list[str] | None, typer.Option(help=SCENARIO, show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output if it is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the truth as JSON.")] = False,
) -> None:
    """Write the readings of an invented city in the order they arrive, and the truth about them beside it.

    \b
    cityair simulate --start 2026-11-22 --output day.ndjson
    cityair simulate --start 2026-11-22 --days 7 --seed 3 --scenario trouble --output week.ndjson.gz
    cityair simulate --start 2026-11-22 --scenario dust_front --scenario stuck --output - | head
    """  # noqa: D301, \b keeps these lines apart
    shape = load_city(city)
    begin = beginning(start, ZoneInfo(shape.city.timezone))
    path = None if output == "-" else free(Path(output), force=force)
    if path is None and as_json:
        raise UsageError("--json and --output - would mix on standard output: write to a file")
    with Progress(
        TextColumn("simulating {task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task(shape.city.name, total=1.0)

        def progress(share: float) -> None:
            bar.update(task, completed=share)

        if path is None:
            simulation = Simulation(shape, begin, days, seed, scenario or ())
            write_lines(simulation, sys.stdout.buffer, progress)
            sys.stdout.buffer.flush()
            summary = Summary(simulation.truth, None, None)
        else:
            summary = write(shape, begin, days, seed, scenario or (), path, progress)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(summary.truth), indent=2))
    else:
        typer.echo("\n".join(report(summary, ZoneInfo(shape.city.timezone))), err=path is None)


def beginning(text: str, zone: ZoneInfo) -> datetime:
    """Read ``--start``: a date is its midnight in ``zone``.

    Raises:
        UsageError: neither a date nor a time with an offset.

    >>> beginning("2026-11-22", ZoneInfo("Asia/Seoul")).isoformat()
    '2026-11-22T00:00:00+09:00'
    """
    cure = "write a date such as 2026-11-22, or a time such as 2026-11-22T09:00:00+09:00"
    try:
        if len(text) == len("2026-11-22"):
            return datetime.combine(date.fromisoformat(text), time(), zone)
        moment = datetime.fromisoformat(text)
    except ValueError as err:
        raise UsageError(f"--start {text!r}: {err}; {cure}") from err
    if moment.tzinfo is None:
        raise UsageError(f"--start {text!r} has no offset; {cure}")
    return moment


def free(path: Path, *, force: bool) -> Path:
    """Return ``path`` if a file may be written there.

    Raises:
        UsageError: it is taken, or its folder is missing.
    """
    if path.is_dir():
        raise UsageError(f"--output {path} is a folder; name a file in it, such as {path / 'day.ndjson'}")
    if not path.parent.is_dir():
        raise UsageError(f"--output {path}: there is no folder {path.parent}; make it first")
    if path.exists() and not force:
        raise UsageError(f"--output {path} is there already; --force overwrites it")
    return path


def report(summary: Summary, zone: ZoneInfo) -> Iterator[str]:
    """Say what was written, line by line, times in ``zone``."""
    truth, totals = summary.truth, summary.truth.totals
    refused = [f"{count:,} {reason}" for reason, count in totals.refused.items() if count]
    events = Counter(event.scenario for event in truth.events)
    first, last = (f"{at.astimezone(zone):%Y-%m-%d %H:%M}" for at in (truth.started_at, truth.ended_at))
    yield f"{totals.lines:,} lines from {first} to {last}, {zone.key}"
    yield f"  readings that count  {totals.readings:,}" + (f" ({totals.late:,} late)" if totals.late else "")
    yield f"  never sent           {totals.lost:,}"
    yield f"  to be refused        {', '.join(refused) or 'none'}"
    yield f"  events               {', '.join(f'{count} {name}' for name, count in events.items()) or 'none'}"
    if summary.path:
        yield f"written to {summary.path}, the truth to {summary.truth_path}"
    else:
        yield "no truth was written: name a file to have it beside"
