"""One process: how long a lake takes to open, and a station and day of it to answer.

``python -m benchmarks.ours.query_lake LAKE``. The limit is a plain DuckDB that is told which files hold the day.
"""

import json
import sys
import time

import duckdb
import numpy as np

from sinks import catalog

QUESTIONS = 20
SEED = 3
TABLES = ("rolling", "air_readings")


def main() -> None:
    """Ask the same stations and days of both."""
    began = time.perf_counter()
    lake = catalog.connect(sys.argv[1])
    connected = time.perf_counter() - began
    draw = np.random.default_rng(SEED)
    stations = [station.id for station in lake.snapshot.city.stations]
    days = sorted({file.dt for file in lake.snapshot.tables["rolling"]})[1:-1]
    plain = duckdb.connect()
    plain.execute("SET parquet_metadata_cache = true")
    times: dict[str, list[float]] = {f"{who}, {table}": [] for table in TABLES for who in ("ours", "plain")}
    for _ in range(QUESTIONS):
        station, day = str(draw.choice(stations)), days[int(draw.integers(len(days)))]
        for table in TABLES:
            files = [str(file.path) for file in lake.snapshot.tables[table] if file.dt == day]
            began = time.perf_counter()
            rows = lake.execute(f"SELECT * FROM {table} WHERE station_id = ? AND dt = ?", [station, day]).fetchall()
            times[f"ours, {table}"].append(time.perf_counter() - began)
            began = time.perf_counter()
            same = plain.execute("SELECT * FROM read_parquet(?) WHERE station_id = ?", [files, station]).fetchall()
            times[f"plain, {table}"].append(time.perf_counter() - began)
            assert rows, "the lake has nothing of this station and day"
            assert len(rows) == len(same), "the lake and its files do not hold the same"
    found = {"connect": connected, "times": times, "days": len(days), "files": len(lake.snapshot.tables["rolling"])}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
