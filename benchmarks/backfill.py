"""How fast does a month of Parquet become rolling means in a lake?

Peers compute and write the same means, counts and coverage as the same rows, each in the better of two ways: Polars and
DuckDB on one thread, and a plain numpy kernel as the limit. Ours does more and is given no credit for it: it stores the
readings too, keeps out duplicates to the second, judges every value and its surroundings, and commits exactly once.
"""

import shutil
from functools import partial
from pathlib import Path

from benchmarks import inputs
from benchmarks.measure import BenchmarkError, Run, child, in_turn, median, python, spread
from benchmarks.path import OURS, command
from benchmarks.report import Report, Target

PEERS = {
    "Polars, steps first": ("polars_windows", "steps"),
    "Polars, rolling_mean_by": ("polars_windows", "minutes"),
    "DuckDB, steps first": ("duckdb_windows", "steps"),
    "DuckDB, RANGE over minutes": ("duckdb_windows", "minutes"),
    "numpy kernel": ("numpy_windows", "kernel"),
}
SLOW = frozenset({"DuckDB, RANGE over minutes"})
"""A way so slow that a single run shows it."""
CLOSE = 1e-9
"""Sums of the means may differ by so much: peers add up floating-point numbers."""


def run(folder: Path, rounds: int, *, quick: bool, step: str = "10m") -> Report:
    """Measure it with means that land every ``step``."""
    city, data = inputs.city(folder, step), inputs.table(folder, 3 if quick else 30)
    sums: dict[str, dict[str, float]] = {}
    contenders = {OURS: partial(_summed, OURS, [*command(city, data.path), "--lake"], folder / "backfill-lake", sums)}
    for name, (module, way) in PEERS.items():
        contenders[name] = partial(
            _summed, name, python(f"peers.{module}", data.path, step, way), folder / "peer.parquet", sums
        )
    runs = in_turn(contenders, rounds, once=SLOW)
    _compare(sums)
    whole = {name: median(of_one, lambda run: run.seconds) for name, of_one in runs.items()}
    best = {
        peer: min((name for name in whole if name.startswith(peer)), key=whole.__getitem__)
        for peer in ("Polars", "DuckDB", "numpy")
    }
    columns = ("", "readings/s", "s", "processor s", "s started", "speed / Polars", "by processor", "MB", "bytes/mean")
    report = Report(f"backfill, a mean every {step}", (__doc__ or "").partition("\n")[0], (*columns, "spread"))
    cpu = {name: median(of_one, lambda run: run.cpu) for name, of_one in runs.items()}
    for name, of_one in runs.items():
        started = median(of_one, lambda run: run.said["seconds"])
        speed, by_cpu = whole[best["Polars"]] / whole[name], cpu[best["Polars"]] / cpu[name]
        peak, size = max(run.peak_mb for run in of_one), sums[name]["bytes"] / sums[name]["rows"]
        rate, seconds = data.readings / whole[name], whole[name]
        report.rows.append((name, rate, seconds, cpu[name], started, speed, by_cpu, peak, size, spread(of_one)))
    report.targets = [
        Target(f"speed of {best['Polars']}", whole[best["Polars"]] / whole[OURS], 1, 2),
        Target(f"speed of {best['DuckDB']}", whole[best["DuckDB"]] / whole[OURS], 5),
        Target(f"speed of the {best['numpy']}", whole[best["numpy"]] / whole[OURS], 0.4),
    ]
    report.notes = [
        f"{data.readings:,} readings of six parameters, {int(sums[OURS]['rows']):,} means",
        "all contenders agree on rows, counts and means",
        "whole processes; 's started' leaves out interpreter and imports",
        "ours also stores readings and judges them: duplicates, quality tests, ledger, recovery store, fsync",
    ]
    return report


def _summed(name: str, command: list[str], out: Path, sums: dict[str, dict[str, float]]) -> Run:
    """Run a contender; the first time, note what it computed; remove its output."""
    try:
        run = child([*command, str(out)])
        if name not in sums:
            sums[name] = child(python("ours.checksum", out)).said
        return run
    finally:
        shutil.rmtree(out, ignore_errors=True) if out.is_dir() else out.unlink(missing_ok=True)


def _compare(sums: dict[str, dict[str, float]]) -> None:
    """Make sure that all computed the same.

    Raises:
        BenchmarkError: they did not.
    """
    ours = sums[OURS]
    for name, other in sums.items():
        same = all(abs(other[what] - ours[what]) <= CLOSE * abs(ours[what]) for what in ("rows", "values", "means"))
        if not same:
            raise BenchmarkError(f"{name} and {OURS} did not compute the same: {other} and {ours}")
