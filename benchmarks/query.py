"""How long does a person wait for a station and day from a year's lake, through ``catalog.connect``?

The lake is made by the real command from a simulated year, and kept in ``--cache``. The limit is a plain DuckDB that is
told which Parquet files hold the day.
"""

import statistics
from functools import partial
from pathlib import Path

from benchmarks import inputs
from benchmarks.measure import child, in_turn, python, spread
from benchmarks.path import command
from benchmarks.report import Report, Target

LIMIT_MS = 100.0


def run(folder: Path, rounds: int, *, quick: bool) -> Report:
    """Measure it."""
    days = 30 if quick else 365
    lake = folder / f"lake-{days}"
    city, data = inputs.city(folder), inputs.table(folder, days)
    made = folder / f"lake-{days}.made"
    notes = []
    if not made.exists():
        build = child([*command(city, data.path), "--lake", str(lake)])
        made.touch()
        cost = f"{build.seconds:.0f} s, {build.cpu:.0f} s of processor and {build.peak_mb:.0f} MB"
        notes.append(f"the lake took {cost} to make from {data.readings:,} readings")
    runs = in_turn({"query": partial(child, python("ours.query_lake", lake))}, rounds)["query"]
    columns = ("", "median ms", "processor ms", "worst ms", "first ms", "of plain", "of 100 ms")
    report = Report("query", (__doc__ or "").partition("\n")[0], columns)
    asked = {
        name: [1000 * seconds for run in runs for seconds in run.said["wall"][name]] for name in runs[0].said["wall"]
    }
    medians = {name: statistics.median(every) for name, every in asked.items()}
    for name, every in asked.items():
        cpu = statistics.median(1000 * seconds for run in runs for seconds in run.said["cpu"][name])
        first = statistics.median(1000 * run.said["wall"][name][0] for run in runs)
        of_plain = medians[name] / medians[name.replace("ours", "plain")]
        report.rows.append((name, medians[name], cpu, max(every), first, of_plain, medians[name] / LIMIT_MS))
    connects = [1000 * run.said["connect"] for run in runs]
    report.rows.append(("catalog.connect", statistics.median(connects), None, max(connects), None, None, None))
    report.targets = [
        Target(f"a station and day of {table}", medians[f"ours, {table}"], LIMIT_MS, least=False, unit=" ms")
        for table in ("rolling", "air_readings")
    ]
    said = runs[0].said
    report.notes = [
        *notes,
        f"{said['days']} days, {said['files']} files of rolling; answers as numpy arrays",
        "each process asks 20 stations and days at random; 'first' has read nothing before",
        f"{len(runs)} processes, spread {spread(runs)}; plain: DuckDB over the day's files, named by hand",
    ]
    return report
