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
LIT, UNLIT = "shipped city, whole", "shipped city, no lights"


def into_lake(command: list[str], lake: Path, environment: dict[str, str] | None = None) -> Run:
    """Run our command into a new lake, and remove that."""
    try:
        return child([*command, "--lake", str(lake)], environment)
    finally:
        shutil.rmtree(lake, ignore_errors=True)


def command(city: Path | None, data: Path) -> list[str]:
    """Our command, but for its lake; for the city that ships where no file is given."""
    file = ["--city", str(city)] if city is not None else []
    return [CITYAIR, "run", "air", *file, "--input", str(data), "--json"]


def run(folder: Path, rounds: int, *, quick: bool) -> Report:
    """Measure it."""
    city, data = inputs.city(folder), inputs.lines(folder, 3 if quick else 15)
    whole = inputs.shipped(folder, 3 if quick else 12)
    lake = folder / "path-lake"
    runs = in_turn(
        {
            OURS: partial(into_lake, command(city, data.path), lake),
            PEER: partial(child, python("peers.bytewax_windows", data.path)),
            "stages": partial(child, python("ours.stages", city, data.path, folder / "stages-lake")),
            LIT: partial(into_lake, command(None, whole.path), lake),
            UNLIT: partial(into_lake, command(inputs.unlit(folder), whole.path), lake),
        },
        rounds,
    )
    columns = ("", "readings/s", "s", "processor s", "speed / peer", "by processor", "MB", "spread")
    report = Report("path", (__doc__ or "").partition("\n")[0], columns)
    _add_beside_peer(report, runs, data)
    _add_stages(report, runs["stages"], data)
    _add_lights(report, runs, whole)
    stored = runs[OURS][0].said["stored"]
    report.notes = [
        f"{data.readings:,} readings of {_bytes(data):.0f} bytes, of which ours stored {stored:,}",
        "whole processes, from the file to the committed lake; 'started' leaves out interpreter and imports",
        "stages: the same classes called one after another without the engine",
        f"shipped city: 48 stations, 13 lights, {whole.readings:,} readings of {_bytes(whole):.0f} bytes",
        "its peer is itself without lights",
    ]
    return report


def _add_beside_peer(report: Report, runs: dict[str, list[Run]], data: inputs.Input) -> None:
    seconds = {name: median(runs[name], lambda run: run.seconds) for name in (OURS, PEER)}
    cpu = {name: median(runs[name], lambda run: run.cpu) for name in (OURS, PEER)}
    inner = {name: median(runs[name], lambda run: run.said["seconds"]) for name in (OURS, PEER)}
    n = data.readings
    for name, took in seconds.items():
        shares = seconds[PEER] / took, cpu[PEER] / cpu[name]
        report.rows.append((name, n / took, took, cpu[name], *shares, _peak(runs[name]), spread(runs[name])))
    for name, took in inner.items():
        report.rows.append((f"{name}, started", n / took, took, None, inner[PEER] / took, None, None, None))
    report.targets.append(Target("readings/s of stock Bytewax windows", seconds[PEER] / seconds[OURS], 4, 6))


def _add_stages(report: Report, stages: list[Run], data: inputs.Input) -> None:
    for stage in stages[0].said["wall"]:
        seconds = median(stages, lambda run, stage=stage: run.said["wall"][stage])  # type: ignore[misc]
        cpu = median(stages, lambda run, stage=stage: run.said["cpu"][stage])  # type: ignore[misc]
        report.rows.append((f"  ours: {stage}", data.readings / seconds, seconds, cpu, None, None, None, None))


def _add_lights(report: Report, runs: dict[str, list[Run]], data: inputs.Input) -> None:
    seconds = {name: median(runs[name], lambda run: run.seconds) for name in (LIT, UNLIT)}
    cpu = {name: median(runs[name], lambda run: run.cpu) for name in (LIT, UNLIT)}
    for name, took in seconds.items():
        shares = seconds[UNLIT] / took, cpu[UNLIT] / cpu[name]
        report.rows.append(
            (name, data.readings / took, took, cpu[name], *shares, _peak(runs[name]), spread(runs[name]))
        )
    report.targets.append(
        Target("shipped city, processor time with lights / without", cpu[LIT] / cpu[UNLIT], 1.5, least=False)
    )


def _peak(runs: list[Run]) -> float:
    return max(run.peak_mb for run in runs)


def _bytes(data: inputs.Input) -> float:
    return data.path.stat().st_size / data.readings
