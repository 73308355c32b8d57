"""``cityair simulate``: readings of an invented city, with known trouble, for trying things out."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from flows.settings import load_city
from flows.simulate.files import RunFiles, write_lines, write_run, write_truth
from flows.simulate.live import publish
from flows.simulate.scenarios import MIXES, SCENARIOS
from flows.simulate.simulator import Simulation
from schemas.durations import seconds
from schemas.errors import UsageError
from schemas.measured import AIR
from sinks.kafka.producer import Publisher

KAFKA = "kafka"
STDOUT = "-"

CITY_HELP = "Stations to simulate, a TOML file; the shipped Gimhae if left out."
START_HELP = "A date (midnight of the city's time) or an RFC 3339 time with an offset."
SCENARIO_HELP = (
    f"What goes wrong; may be given several times. Mixes: {', '.join(MIXES)}. Single: {', '.join(SCENARIOS)}."
)
OUTPUT_HELP = (
    "NDJSON; compressed if it ends in .gz, Parquet if in .parquet, standard output if it is '-', "
    f"the topic {AIR.topic} if it is kafka."
)
PACE_HELP = "Simulated seconds to a second, with --output kafka; as fast as the broker takes them if left out."
TRUTH_HELP = "Where to write the truth with --output kafka or -; with a file it lies beside that."


# More than 8 parameters: they are the command's options.
def simulate(
    start: Annotated[str, typer.Option(help=START_HELP, show_default=False)],
    output: Annotated[str, typer.Option(help=OUTPUT_HELP, show_default=False)],
    city: Annotated[Path | None, typer.Option(envvar="CITYAIR_CITY", help=CITY_HELP, show_default=False)] = None,
    days: Annotated[float, typer.Option(help="Length in days of 24 h; may be a fraction.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    scenario: Annotated[list[str] | None, typer.Option(help=SCENARIO_HELP, show_default=False)] = None,
    pace: Annotated[float | None, typer.Option(help=PACE_HELP, show_default=False)] = None,
    truth: Annotated[Path | None, typer.Option(help=TRUTH_HELP, show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the output if it is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the truth as JSON.")] = False,
) -> None:
    """Write the readings of an invented city in the order they arrive, and the truth about them beside it.

    \b
    cityair simulate --start 2026-11-22 --output day.ndjson
    cityair simulate --start 2026-11-22 --days 7 --seed 3 --scenario trouble --output week.ndjson.gz
    cityair simulate --start 2026-11-22 --scenario dust_front --scenario stuck --output - | head
    cityair simulate --start 2026-11-22 --output kafka --pace 600 --truth day.truth.json
    """  # noqa: D301, \b keeps these lines apart
    known_city = load_city(city)
    zone = ZoneInfo(known_city.city.timezone)
    begin = start_time(start, zone)
    path = None if output in (STDOUT, KAFKA) else writable(Path(output), force=force)
    if output == STDOUT and as_json:
        raise UsageError("--json and --output - would mix on standard output: write to a file")
    if pace is not None and (output != KAFKA or not pace > 0):
        raise UsageError(f"--pace {pace:g} needs --output kafka and more than 0 simulated seconds to a second")
    if truth is not None:
        if path is not None:
            raise UsageError(f"--truth is for --output kafka and -; of {path} it lies in {path}.truth.json anyway")
        writable(truth, "--truth", force=force)
    simulation = Simulation(known_city, begin, days, seed, scenario or ())
    publisher = None
    if output == KAFKA:
        publisher = Publisher(AIR.topic)
        if warning := future_warning(simulation, pace, datetime.now(UTC)):
            typer.echo(f"warning: {warning}", err=True)
    with progress_bar(known_city.city.name) as progress:
        if path is not None:
            files = write_run(simulation, path, progress)
        else:
            files = RunFiles(simulation.truth, None, truth)
            stream(simulation, publisher, pace, progress)
    if truth is not None:
        write_truth(simulation.truth, truth)
    if as_json:
        typer.echo(simulation.truth.json())
    else:
        topic = publisher.name if publisher else ""
        typer.echo("\n".join(summary_lines(files, zone, topic)), err=output == STDOUT)


def stream(
    simulation: Simulation, publisher: Publisher | None, pace: float | None, progress: Callable[[float], None]
) -> None:
    """Send a run to a topic, at a pace, or write it to standard output where there is no publisher."""
    if publisher is not None:
        publish(simulation, publisher, pace, progress)
    else:
        write_lines(simulation, sys.stdout.buffer, progress)
        sys.stdout.buffer.flush()


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[float], None]]:
    """Show a bar on stderr where that is a terminal; yield the function that takes the share done."""
    with Progress(
        TextColumn("simulating {task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task(name, total=1.0)
        yield lambda share: bar.update(task, completed=share)


def future_warning(simulation: Simulation, pace: float | None, now: datetime) -> str:
    """Warn of readings stamped later than they will be sent, which a flow refuses; empty where there are none."""
    start, end = simulation.truth.started_at, simulation.truth.ended_at
    lasts = timedelta() if pace is None else (end - start) / pace
    if max(start - now, end - now - lasts) <= timedelta(seconds=seconds(simulation.city.late.future)):
        return ""
    return (
        f"readings up to {end:%Y-%m-%d %H:%M} UTC are sent before their time, and a flow refuses those as 'future'; "
        "begin earlier with --start, or make it shorter with --days"
    )


def start_time(text: str, zone: ZoneInfo) -> datetime:
    """Read ``--start``: a date is its midnight in ``zone``.

    Raises:
        UsageError: neither a date nor a time with an offset.

    >>> start_time("2026-11-22", ZoneInfo("Asia/Seoul")).isoformat()
    '2026-11-22T00:00:00+09:00'
    """
    cure = "write a date such as 2026-11-22, or a time such as 2026-11-22T09:00:00+09:00"
    try:
        if len(text) == len("2026-11-22"):
            return datetime.combine(date.fromisoformat(text), time(), zone)
        start = datetime.fromisoformat(text)
    except ValueError as err:
        raise UsageError(f"--start {text!r}: {err}; {cure}") from err
    if start.tzinfo is None:
        raise UsageError(f"--start {text!r} has no offset; {cure}")
    return start


def writable(path: Path, option: str = "--output", *, force: bool) -> Path:
    """Return ``path`` if a file may be written there.

    Raises:
        UsageError: a file or folder is there already, or its folder is missing.
    """
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder; name a file in it, such as {path / 'day.ndjson'}")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}; make it first")
    if path.exists() and not force:
        raise UsageError(f"{option} {path} is there already; --force overwrites it")
    return path


def summary_lines(files: RunFiles, zone: ZoneInfo, topic: str = "") -> Iterator[str]:
    """Summarize what was written to a file, a topic or standard output, line by line, times in ``zone``."""
    truth, totals = files.truth, files.truth.totals
    refused = [f"{count:,} {reason}" for reason, count in totals.refused.items() if count]
    events = Counter(event.scenario for event in truth.events)
    first, last = (f"{at.astimezone(zone):%Y-%m-%d %H:%M}" for at in (truth.started_at, truth.ended_at))
    yield f"{totals.lines:,} lines from {first} to {last}, {zone.key}"
    yield f"  readings that count  {totals.readings:,}" + (f" ({totals.late:,} late)" if totals.late else "")
    yield f"  never sent           {totals.lost:,}"
    yield f"  to be refused        {', '.join(refused) or 'none'}"
    yield f"  events               {', '.join(f'{count} {name}' for name, count in events.items()) or 'none'}"
    where = files.path or (f"topic {topic}" if topic else "standard output")
    if files.truth_path:
        yield f"written to {where}, the truth to {files.truth_path}"
    else:
        yield f"written to {where}; no truth was written: --truth FILE writes it"
