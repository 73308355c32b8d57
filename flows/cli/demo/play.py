"""The demo's work: simulate, play into lakes, gather the facts, draw the lights; and say how far it is on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from flows import air, settings
from flows.cli.demo.facts import Facts
from flows.cli.demo.folder import (
    DAY_FILE,
    LAKE_FOLDER,
    OUT_FOLDER,
    PICTURE_FILE,
    RECORDED_LAKE_FOLDER,
    TRUTH_FILE,
    clear,
)
from flows.cli.demo.recorded import recorded_stretch
from flows.cli.demo.simulated import simulated_day
from flows.cli.render import lights_png
from flows.engine.observe import RunObserver
from flows.engine.run import RunOptions, run
from flows.outputs.lake_rows import LakeBatch
from flows.resources import index, shipped
from flows.simulate.files import write_run
from flows.simulate.simulator import Simulation
from flows.simulate.truth import Truth
from schemas.city import City
from schemas.errors import UsageError
from sinks.lake.layout import META_FOLDER

START_DATE = (2026, 11, 21)
SEED = 8
"""A day with all four colors, an alert, and a light that goes blind; no trouble of it hides another."""


def play_all(folder: Path, days: float = 1.0) -> Facts:
    """Make everything in a folder, and gather the facts.

    Args:
        folder: empty, not there, or of an earlier demo, which is removed.
        days: length of the simulated run.

    Raises:
        UsageError: the folder holds something that is not the demo's.
    """
    clear(folder)
    city = settings.load_city(None)
    recorded = settings.load_city(shipped("recorded") / "beijing.toml")
    source = shipped("recorded") / "beijing"
    durations: dict[str, float] = {}
    midnight = datetime(*START_DATE, tzinfo=ZoneInfo(city.city.timezone))
    with timed_step("simulating a day of Gimhae", durations) as progress:
        simulation = Simulation(city, midnight, days, SEED, ("trouble",))
        truth = write_run(simulation, folder / DAY_FILE, progress).truth
    with timed_step("playing it into a lake", durations) as progress:
        options = RunOptions(str(folder / DAY_FILE), output=str(folder / OUT_FOLDER))
        _play(city, options, folder / LAKE_FOLDER, _ProgressObserver(progress, truth.totals.lines))
    with timed_step("playing two weeks of Beijing", durations) as progress:
        observer = _ProgressObserver(progress, 14 * 24 * len(recorded.stations))
        _play(recorded, RunOptions(str(source), "beijing"), folder / RECORDED_LAKE_FOLDER, observer)
    facts = gather(folder, durations)
    if lights_png.available():
        with timed_step("drawing the lights", durations):
            lights_png.draw(facts.day.lights, facts.day.words, index("korea").grades, folder / PICTURE_FILE)
    return facts


def gather(folder: Path, durations: dict[str, float]) -> Facts:
    """Audit and question the lakes of a demo that was played.

    Args:
        folder: of the demo.
        durations: seconds that its steps took; one is added.

    Raises:
        UsageError: the folder holds no finished demo.
    """
    whole = (folder / TRUTH_FILE).is_file()
    if not (whole and (folder / LAKE_FOLDER).is_dir() and (folder / RECORDED_LAKE_FOLDER).is_dir()):
        raise UsageError(f"{folder} holds no finished demo to keep; play one with `cityair demo --folder {folder}`")
    truth = msgspec.json.decode((folder / TRUTH_FILE).read_bytes(), type=Truth)
    with timed_step("auditing the books, asking questions", durations):
        day = simulated_day(folder / LAKE_FOLDER, truth)
        recorded = recorded_stretch(folder / RECORDED_LAKE_FOLDER)
    return Facts(day, recorded, durations)


def _play(city: City, options: RunOptions, lake: Path, observer: RunObserver) -> None:
    if run(air.FLOW, city, options, lake, lake / META_FOLDER / "recovery", observer):
        raise KeyboardInterrupt


class _ProgressObserver(RunObserver):
    """An observer that reports the share of the input that has landed."""

    def __init__(self, progress: Callable[[float], None], total: int) -> None:
        super().__init__()
        self._progress, self._total = progress, total

    def landed(self, batch: LakeBatch) -> None:
        super().landed(batch)
        self._progress(self.dispositions.total() / self._total)

    def ended(self, seconds: float, *, stopped: bool) -> None:
        """Say nothing: the step that plays says how long it took."""


@contextmanager
def timed_step(name: str, durations: dict[str, float]) -> Iterator[Callable[[float], None]]:
    """Show a step on stderr while it goes on, and its duration at its end.

    Args:
        name: of the step.
        durations: takes its seconds.

    Yields:
        A function that takes the share done.
    """
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
    durations[name] = round(time.monotonic() - began, 2)
    print(f"{name:<38} {durations[name]:5.1f} s", file=sys.stderr)
