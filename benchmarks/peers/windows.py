"""What the batch peers have in common: the windows, and how they report.

Each takes ``TABLE STEP WAY OUT``: a Parquet file of readings (station_id, observed_at, six pollutants, in the order of
arrival), how often means land, which of its ways, and the Parquet file to write. A row is one window of one station
and parameter, as in our table ``rolling``: station_id, parameter, window_length, ended_at, mean, count, coverage, zstd.
Constant columns (zone, expected, valid, suspect, revision) are spared them, and so are readings and every test.
A window that ends at T holds the slots in (T - w, T]; a slot is the minute that a reading ends in.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

PARAMETERS = ("pm10", "pm25", "o3", "no2", "co", "so2")
WINDOWS = {"10m": 10, "1h": 60, "8h": 480, "24h": 1440}
"""Name and minutes of each window."""
ZSTD_LEVEL = 1
"""The fastest, and ours."""


def main(ways: Mapping[str, Callable[[Path, int, Path], None]]) -> None:
    """Run the way that is asked for, and print how long it took."""
    options = argparse.ArgumentParser()
    options.add_argument("table", type=Path)
    options.add_argument("step", type=lambda text: int(text.removesuffix("m")))
    options.add_argument("way", choices=list(ways))
    options.add_argument("out", type=Path)
    given = options.parse_args()
    began = time.perf_counter()
    ways[given.way](given.table, given.step, given.out)
    print(json.dumps({"seconds": time.perf_counter() - began}))
