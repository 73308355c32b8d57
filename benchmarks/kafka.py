"""How fast does a topic become a committed lake, beside what one process can take, and beside others' windows?

A real broker on this machine, 4 partitions keyed by station, lz4, all cores for everybody. The limit takes the same
messages into columns and drops them. Peers compute one window of 1 h every 10 min, mean of six and count; ours judges
every value, computes four windows, and stores readings and means exactly once, and is given no credit for it.
"""

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import inputs, topics
from benchmarks.measure import CITYAIR, BenchmarkError, Run, child, in_turn, median, python, spread
from benchmarks.peers import install
from benchmarks.report import Report, Target

LIMIT, RAW = "consume + columns", "consume alone"
OURS, BOTH = "cityair run", "cityair run, topics too"
BYTEWAX = "stock Bytewax"
JAVA = {"Flink SQL": ("flink", "flink_sql"), "Spark Structured Streaming": ("spark", "spark_streaming")}
FIRST = "2025-10-31T15:00:00+00:00"


def run(folder: Path, rounds: int, *, quick: bool) -> Report:
    """Measure it."""
    city, data = inputs.city(folder), inputs.lines(folder, 3 if quick else 30)
    place = folder / "kafka-broker"
    try:
        with topics.running(place, city) as servers:
            print(f"  filling {topics.READINGS}", file=sys.stderr)
            child(python("ours.fill_topic", data.path, topics.READINGS))
            runs = in_turn(_contenders(folder, city, servers), rounds)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return _report(runs, data, quick=quick)


def _contenders(folder: Path, city: Path, servers: str) -> dict[str, Callable[[], Run]]:
    def consume(how: str) -> Callable[[], Run]:
        return partial(child, python("ours.consume", city, topics.READINGS, how))

    flow = [CITYAIR, "run", "air", "--city", str(city), "--input", "kafka", "--stop-at-end", "--json"]
    lake = folder / "kafka-lake"
    contenders: dict[str, Callable[[], Run]] = {
        RAW: consume("raw"),
        LIMIT: consume("columns"),
        OURS: partial(_into_lake, flow, lake),
        BOTH: partial(_into_lake, [*flow, "--output", "kafka"], lake),
        BYTEWAX: partial(child, python("peers.bytewax_kafka", servers, topics.READINGS, FIRST)),
    }
    for name, (peer, module) in JAVA.items():
        if install.there(peer):
            command = [str(install.python(peer)), "-m", f"benchmarks.peers.{module}", servers, topics.READINGS]
            contenders[name] = partial(_with_java, [*command, str(install.jars(peer)), "2"])
    return contenders


def _into_lake(command: list[str], lake: Path) -> Run:
    try:
        return child([*command, "--lake", str(lake)])
    finally:
        shutil.rmtree(lake, ignore_errors=True)


def _with_java(command: list[str]) -> Run:
    """Run a peer that counts for itself: the kernel does not add up those that a process leaves behind."""
    run = child(command)
    return run._replace(cpu=run.said["cpu"], peak_mb=run.said["peak_mb"])


def _report(runs: dict[str, list[Run]], data: inputs.Input, *, quick: bool) -> Report:
    _all_there(runs, data.readings)
    columns = ("", "readings/s", "s", "processor s", "of limit", "ours / it", "MB", "whole s", "spread")
    report = Report("kafka", (__doc__ or "").partition("\n")[0], columns)
    seconds = {name: median(of_one, lambda run: run.said["seconds"]) for name, of_one in runs.items()}
    for name, of_one in runs.items():
        cpu, whole = median(of_one, lambda run: run.cpu), median(of_one, lambda run: run.seconds)
        peak = max(run.peak_mb for run in of_one)
        shares = seconds[LIMIT] / seconds[name], seconds[name] / seconds[OURS]
        report.rows.append(
            (name, data.readings / seconds[name], seconds[name], cpu, *shares, peak, whole, spread(of_one))
        )
    report.targets = [Target("cityair run of the limit", seconds[LIMIT] / seconds[OURS], 0.5, 0.65)]
    report.targets += [
        Target(f"readings/s of {name}", seconds[name] / seconds[OURS], 3.5, 5)
        for name in (BYTEWAX, *JAVA)
        if name in seconds
    ]
    report.notes = [
        f"{data.readings:,} readings of {data.path.stat().st_size / data.readings:.0f} bytes, in the topic beforehand",
        "'s' leaves out interpreters, imports and the start of Java machines; 'whole s' is the process",
        "processor and memory are the contender's alone, with its client's threads; the broker's come on top",
        *(["--quick: so short a run says little of contenders that warm up"] if quick else []),
    ]
    missing = [
        f"{name} was not measured: python -m benchmarks.peers.install {peer}" for name, (peer, _) in JAVA.items()
    ]
    report.notes += [note for name, note in zip(JAVA, missing, strict=True) if name not in seconds]
    return report


def _all_there(runs: dict[str, list[Run]], readings: int) -> None:
    """Make sure that every contender took all there was.

    Raises:
        BenchmarkError: one did not.
    """
    said = {"messages": (RAW, LIMIT), "stored": (OURS, BOTH), "readings_in": ("Spark Structured Streaming",)}
    for what, names in said.items():
        for name in names:
            for run in runs.get(name, ()):
                if run.said[what] != readings:
                    raise BenchmarkError(f"{name} took {run.said[what]:,} of {readings:,} readings")
