"""How much memory does the real command need, however long its input and its epoch?

Peak resident memory of the process, as the kernel tells it, beside that of the same program doing nothing, and of
Polars over the same months.
"""

from functools import partial
from pathlib import Path

from benchmarks import inputs
from benchmarks.measure import CITYAIR, child, in_turn, python, spread
from benchmarks.path import command, into_lake
from benchmarks.report import Report, Target

LIMIT_MB = 1000.0
ONE_EPOCH = {"CITYAIR_EPOCH": "60m"}


def run(folder: Path, rounds: int, *, quick: bool) -> Report:
    """Measure it; once each, for memory hardly varies."""
    city = inputs.city(folder)
    tables = [inputs.table(folder, days) for days in ((1, 3, 10) if quick else (10, 30, 90))]
    lines = inputs.lines(folder, 3 if quick else 15)
    lake = folder / "memory-lake"
    contenders = {"cityair run --help, no input": partial(child, [CITYAIR, "run", "--help"])}
    readings = {"cityair run --help, no input": 0}
    for data in [*tables, lines]:
        contenders[data.path.name] = partial(into_lake, command(city, data.path), lake)
        readings[data.path.name] = data.readings
    one = f"{tables[-1].path.name}, one epoch"
    contenders[one] = partial(into_lake, command(city, tables[-1].path), lake, ONE_EPOCH)
    polars = f"{tables[-1].path.name}, Polars"
    contenders[polars] = partial(
        child, python("peers.polars_windows", tables[-1].path, "10m", "steps", folder / "peer.parquet")
    )
    readings |= {one: tables[-1].readings, polars: tables[-1].readings}
    runs = in_turn(contenders, rounds if quick else 1)
    (folder / "peer.parquet").unlink(missing_ok=True)
    report = Report("memory", (__doc__ or "").partition("\n")[0], ("", "readings", "peak MB", "of 1 GB", "s", "spread"))
    peaks = {name: max(run.peak_mb for run in of_one) for name, of_one in runs.items()}
    for name, of_one in runs.items():
        report.rows.append(
            (name, readings[name], peaks[name], peaks[name] / LIMIT_MB, of_one[0].seconds, spread(of_one))
        )
    shortest, longest = (peaks[table.path.name] for table in (tables[0], tables[-1]))
    report.targets = [
        Target("the longest input", longest, LIMIT_MB, least=False, unit=" MB"),
        Target("NDJSON", peaks[lines.path.name], LIMIT_MB, least=False, unit=" MB"),
        Target("all of it in one epoch of an hour", peaks[one], LIMIT_MB, least=False, unit=" MB"),
    ]
    longer, more = tables[-1].readings / tables[0].readings, longest / shortest
    report.notes = [f"the longest input is {longer:.0f} times the shortest and takes {more:.2f} times its memory"]
    return report
