"""How many bytes does a day of rolling means of 48 stations take?

Taken from the lake's own log, of the last whole day, beside the same rows as Polars and a numpy kernel write them
(zstd, without zone, expected, valid, suspect and revision).
"""

import shutil
from pathlib import Path

from benchmarks import inputs
from benchmarks.measure import child, python
from benchmarks.path import command
from benchmarks.report import Report, Target

LIMIT_MB = 2.0
DAYS = 3


def run(folder: Path, rounds: int, *, quick: bool) -> Report:
    """Measure it; sizes do not vary, so once."""
    city, data = inputs.city(folder), inputs.table(folder, DAYS)
    lake, out = folder / "size-lake", folder / "peer.parquet"
    try:
        child([*command(city, data.path), "--lake", str(lake)])
        days = child(python("ours.lake_days", lake)).said
    finally:
        shutil.rmtree(lake, ignore_errors=True)
    report = Report(
        "size", (__doc__ or "").partition("\n")[0], ("", "rows a day", "files", "MB a day", "bytes/row", "of 2 MB")
    )
    last = max(days["rolling"], key=lambda day: days["rolling"][day]["rows"])
    for table in ("rolling", "air_readings", "flags"):
        if last in days.get(table, {}):
            _add(report, f"ours: {table}", **days[table][last])
    peers = {"numpy kernel": ("numpy_windows", "kernel"), "Polars": ("polars_windows", "steps")}
    for name, (module, way) in peers.items():
        child(python(f"peers.{module}", data.path, "10m", way, out))
        said = child(python("ours.checksum", out)).said
        out.unlink()
        _add(report, f"{name}: rolling", said["bytes"] / DAYS, said["rows"] // DAYS, 1)
    report.targets = [
        Target("a day of rolling", days["rolling"][last]["bytes"] / 1e6, LIMIT_MB, least=False, unit=" MB")
    ]
    report.notes = [
        "a backfill's files; a live lake reaches this once it is compacted",
        "48 stations by the minute, means every 10 minutes",
    ]
    return report


def _add(report: Report, name: str, bytes: float, rows: int, files: int) -> None:
    report.rows.append((name, rows, files, bytes / 1e6, bytes / rows, bytes / 1e6 / LIMIT_MB))
