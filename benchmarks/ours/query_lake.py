"""One process: how long a lake takes to open, and a station and day of it to answer.

``python -m benchmarks.ours.query_lake LAKE``. The limit is a plain DuckDB that is told which files hold the day.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import duckdb
import numpy as np

from sinks.catalog import catalog

QUESTIONS = 20
SEED = 3
TABLES = ("rolling", "air_readings")


class Times:
    """Seconds of every answer, of the clock and of the processor."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}

    def ask(self, name: str, question: Callable[[], Any]) -> int:
        """Take an answer as numpy arrays; return its rows."""
        wall, cpu = time.perf_counter(), time.process_time()
        answer = question().fetchnumpy()
        self.wall.setdefault(name, []).append(time.perf_counter() - wall)
        self.cpu.setdefault(name, []).append(time.process_time() - cpu)
        return len(next(iter(answer.values())))


def main() -> None:
    """Ask the same stations and days of both."""
    times = Times()
    began = time.perf_counter()
    lake = catalog.connect(sys.argv[1])
    connected = time.perf_counter() - began
    draw = np.random.default_rng(SEED)
    stations = [station.id for station in lake.snapshot.city.stations]
    days = sorted({file.dt for file in lake.snapshot.tables["rolling"]})[1:-1]
    plain = duckdb.connect()
    plain.execute("SET parquet_metadata_cache = true")
    for _ in range(QUESTIONS):
        station, day = str(draw.choice(stations)), days[int(draw.integers(len(days)))]
        for table in TABLES:
            ours = f"SELECT * FROM {table} WHERE station_id = ? AND dt = ?"
            files = [str(file.path) for file in lake.snapshot.tables[table] if file.dt == day]
            limit = "SELECT * FROM read_parquet(?) WHERE station_id = ?"
            rows = times.ask(f"ours, {table}", lambda: lake.execute(ours, [station, day]))  # noqa: B023 - asked at once
            same = times.ask(f"plain, {table}", lambda: plain.execute(limit, [files, station]))  # noqa: B023
            assert rows, "the lake has nothing of this station and day"
            assert rows == same, "the lake and its files do not hold the same"
    found = {"connect": connected, "wall": times.wall, "cpu": times.cpu}
    print(json.dumps({**found, "days": len(days), "files": len(lake.snapshot.tables["rolling"])}))


if __name__ == "__main__":
    main()
