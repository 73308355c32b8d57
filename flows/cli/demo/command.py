"""``cityair demo``: a day of a simulated city and two weeks of recorded air, played into lakes and told as a report."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from flows import settings
from flows.cli.demo import facts, lights_png, report
from flows.cli.run import Tally, Wanted, play
from flows.outputs.lake_rows import LakeBatch
from flows.resources import index, shipped
from flows.simulate.files import write_run
from flows.simulate.simulator import Simulation
from flows.simulate.truth import Truth
from schemas.city import City
from schemas.errors import UsageError
from sinks.lake.sink import HOME

STARTS = (2026, 11, 21)
SEED = 8
"""A day with all four colors, an alert, and a light that goes blind; no trouble of it hides another."""
MARK = ".cityair-demo"
"""A file that says: what the demo makes in this folder, it may also remove."""
PICTURE = report.PICTURE
DAY, LAKE, OUT, RECORDED_LAKE = "gimhae.ndjson", "lake", "out", "beijing-lake"


def demo(
    folder: Annotated[Path, typer.Option(help="Where to put everything.")] = Path("demo"),
    keep: Annotated[bool, typer.Option("--keep/--fresh", help="Report on what is there, or play it anew.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the facts of the report as JSON.")] = False,
) -> None:
    """Play a day of a whole city, with trouble, and two weeks of real air; then show what happened. No broker needed.

    \b
    cityair demo
    cityair demo --keep --json
    """  # noqa: D301, \b keeps these lines apart
    told = look(folder, {}) if keep else play_all(folder)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(told), indent=2))
    else:
        report.show(told, folder)


def play_all(folder: Path, days: float = 1.0) -> facts.Facts:
    """Simulate, play and gather, saying on stderr how far it is.

    Raises:
        UsageError: the folder holds something that is not the demo's.
    """
    clear(folder)
    city = settings.load_city(None)
    recorded = settings.load_city(shipped("recorded") / "beijing.toml")
    source = shipped("recorded") / "beijing"
    took: dict[str, float] = {}
    midnight = datetime(*STARTS, tzinfo=ZoneInfo(city.city.timezone))
    with step("simulating a day of Gimhae", took) as share:
        truth = write_run(Simulation(city, midnight, days, SEED, ("trouble",)), folder / DAY, share).truth
    with step("playing it into a lake", took) as share:
        _play(city, folder / DAY, None, folder / LAKE, folder / OUT, _Watch(share, truth.totals.lines))
    with step("playing two weeks of Beijing", took) as share:
        hours = 14 * 24 * len(recorded.stations)
        _play(recorded, source, "beijing", folder / RECORDED_LAKE, None, _Watch(share, hours))
    told = look(folder, took)
    if lights_png.available():
        with step("drawing the lights", took):
            lights_png.draw(told.day.lights, told.day.words, index("korea").grades, folder / PICTURE)
    return told


def look(folder: Path, took: dict[str, float]) -> facts.Facts:
    """Audit and question the lakes of a demo that was played.

    Raises:
        UsageError: there is none.
    """
    path = folder / f"{DAY}.truth.json"
    if not (path.is_file() and (folder / LAKE).is_dir() and (folder / RECORDED_LAKE).is_dir()):
        raise UsageError(f"{folder} holds no finished demo to keep; play one with `cityair demo --folder {folder}`")
    truth: Truth = facts.read_truth(path)
    with step("auditing the books, asking questions", took):
        day = facts.of_day(folder / LAKE, truth)
        recorded = facts.of_recorded(folder / RECORDED_LAKE)
    return facts.Facts(day, recorded, took)


def clear(folder: Path) -> None:
    """Make an empty folder for the demo, removing what an earlier one left.

    Raises:
        UsageError: the folder is a file, or holds something that is not the demo's.
    """
    if folder.exists() and not (folder / MARK).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already and was not made by the demo; name another with --folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    for name in (LAKE, OUT, RECORDED_LAKE):
        if (folder / name).exists():
            shutil.rmtree(folder / name)
    for name in (DAY, f"{DAY}.part", f"{DAY}.truth.json", PICTURE):
        (folder / name).unlink(missing_ok=True)


def _play(city: City, source: Path, column_map: str | None, lake: Path, output: Path | None, tally: Tally) -> None:
    wanted = Wanted(str(source), column_map, str(output) if output else None)
    if play(city, wanted, lake, lake / HOME / "recovery", tally):
        raise KeyboardInterrupt


class _Watch(Tally):
    """Tells the share of the input that has landed."""

    def __init__(self, share: Callable[[float], None], total: int) -> None:
        super().__init__()
        self._share, self._total = share, total

    def land(self, landing: LakeBatch) -> None:
        super().land(landing)
        self._share(self.became.total() / self._total)


@contextmanager
def step(name: str, took: dict[str, float]) -> Iterator[Callable[[float], None]]:
    """Show a step on stderr while it goes on and how long it took at its end; yield how to tell its share."""
    began = time.monotonic()
    bar = Progress(
        TextColumn("{task.description:<38}"),
        BarColumn(40),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(name, total=1.0)
        yield lambda share: bar.update(task, completed=share)
    took[name] = round(time.monotonic() - began, 2)
    print(f"{name:<38} {took[name]:5.1f} s", file=sys.stderr)
