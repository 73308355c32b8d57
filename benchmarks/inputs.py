"""Inputs in a folder: made once, by a process of its own, and found again."""

import json
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import child, python

ENDING = {
    "city": "toml",
    "unlit": "toml",
    "lines": "ndjson",
    "garbage": "ndjson",
    "shipped": "ndjson",
    "table": "parquet",
}


class Input(NamedTuple):
    """A file, and how many readings it holds."""

    path: Path
    readings: int


def city(folder: Path, step: str = "10m") -> Path:
    """A city file of 48 stations by the minute whose means land every ``step``."""
    return _made(folder, f"city-{step}", "city", "--step", step).path


def lines(folder: Path, days: float, *, garbage: bool = False) -> Input:
    """NDJSON of so many days; with ``garbage``, 1 % of its lines is broken."""
    kind = "garbage" if garbage else "lines"
    return _made(folder, f"{kind}-{days:g}", kind, "--days", days)


def unlit(folder: Path) -> Path:
    """The city file that ships, without its lights."""
    return _made(folder, "unlit", "unlit").path


def shipped(folder: Path, days: float) -> Input:
    """NDJSON of so many days of the city that ships."""
    return _made(folder, f"shipped-{days:g}", "shipped", "--days", days)


def table(folder: Path, days: float) -> Input:
    """Parquet of so many days."""
    return _made(folder, f"table-{days:g}", "table", "--days", days)


def _made(folder: Path, name: str, kind: str, *options: object) -> Input:
    path, told = folder / f"{name}.{ENDING[kind]}", folder / f"{name}.json"
    if not told.exists():
        if ENDING[kind] != "toml":
            print(f"  making {path.name}", file=sys.stderr)
        said = child(python("generate", kind, path, *options)).said
        told.write_text(json.dumps(said), encoding="utf-8")
    return Input(path, json.loads(told.read_text(encoding="utf-8"))["readings"])
