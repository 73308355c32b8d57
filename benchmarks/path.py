"""How fast do lines become a committed lake: every row judged, four windows averaged, exactly once?

The peer is stock Bytewax windowing on the same file: one window of 1 h every 10 min, mean of six and count, results
only counted. The real command does more (quality, four windows, readings and means as Delta tables, a ledger, a
recovery store), and is given no credit for it.
"""

import shutil
from functools import partial
from pathlib import Path

from benchmarks import inputs
from benchmarks.measure import CITYAIR, Run, child, in_turn, median, python, spread
from benchmarks.report import Report, Target

PEER = "stock Bytewax windows"
OURS = "cityair run"


def into_lake(command: list[str], lake: Path, environment: dict[str, str] | None = None) -> Run:
    """Run our command into a new lake, and remove that."""
    try:
        return child([*command, "--lake", str(lake)], environment)
    finally:
        shutil.rmtree(lake, ignore_errors=True)


def command(city: Path, data: Path) -> list[str]:
    """Our command, but for its lake."""
    return [CITYAIR, "run", "air", "--city", str(city), "--input", str(data), "--json"]


def run(folder: Path, rounds: int, *, quick: bool) -> Report:
    """Measure it."""
    city, data = inputs.city(folder), inputs.lines(folder, 3 if quick else 15)
    contenders = {
        OURS: partial(into_lake, command(city, data.path), folder / "path-lake"),
        PEER: partial(child, python("peers.bytewax_windows", data.path)),
        "stages": partial(child, python("ours.stages", city, data.path, folder / "stages-lake")),
    }
    runs = in_turn(contenders, rounds)
    stages = runs.pop("stages")
    columns = ("", "readings/s", "s", "processor s", "speed / peer", "by processor", "MB", "spread")
    report = Report("path", (__doc__ or "").partition("\n")[0], columns)
    whole = {
        name: (median(of_one, lambda run: run.seconds), median(of_one, lambda run: run.cpu))
        for name, of_one in runs.items()
    }
    inner = {name: median(of_one, lambda run: run.said["seconds"]) for name, of_one in runs.items()}
    n = data.readings
    for name, (seconds, cpu) in whole.items():
        peak = max(run.peak_mb for run in runs[name])
        speed, by_cpu = whole[PEER][0] / seconds, whole[PEER][1] / cpu
        report.rows.append((name, n / seconds, seconds, cpu, speed, by_cpu, peak, spread(runs[name])))
    for name, seconds in inner.items():
        report.rows.append((f"{name}, started", n / seconds, seconds, None, inner[PEER] / seconds, None, None, None))
    for stage in stages[0].said["wall"]:
        seconds = median(stages, lambda run, stage=stage: run.said["wall"][stage])  # type: ignore[misc]
        cpu = median(stages, lambda run, stage=stage: run.said["cpu"][stage])  # type: ignore[misc]
        report.rows.append((f"  ours: {stage}", n / seconds, seconds, cpu, None, None, None, None))
    report.targets = [Target("readings/s of stock Bytewax windows", whole[PEER][0] / whole[OURS][0], 4, 6)]
    said = runs[OURS][0].said
    report.notes = [
        f"{n:,} readings of {data.path.stat().st_size / n:.0f} bytes, of which ours stored {said['stored']:,}",
        "whole processes, from the file to the committed lake; 'started' leaves out interpreter and imports",
        "stages: the same classes called one after another without the engine",
    ]
    return report
