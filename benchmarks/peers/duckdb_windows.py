"""One process: rolling means by DuckDB on one thread; see ``windows.py``.

Ways: ``steps`` sums and counts each step first and windows over so many ROWS of a full grid; ``minutes`` windows over
every minute by RANGE and keeps the ends that land.
"""

from pathlib import Path

import duckdb

from benchmarks.peers.windows import PARAMETERS, WINDOWS, ZSTD_LEVEL, main


def steps(table: Path, step: int, out: Path) -> None:
    """Sums of whole steps on a full grid, then sums over so many rows."""
    _run(
        table,
        step,
        step,
        {name: f"ROWS BETWEEN {n // step - 1} PRECEDING AND CURRENT ROW" for name, n in WINDOWS.items()},
        out,
    )


def minutes(table: Path, step: int, out: Path) -> None:
    """Every minute on a full grid, windows by their range of minutes, then the ends that land."""
    _run(table, 1, step, {name: f"RANGE BETWEEN {n - 1} PRECEDING AND CURRENT ROW" for name, n in WINDOWS.items()}, out)


def _run(table: Path, bucket: int, step: int, frames: dict[str, str], out: Path) -> None:
    """Sum buckets of so many minutes, window over them, and keep the ends on multiples of ``step``."""
    size = bucket * 60_000_000
    pairs = [(p, name) for p in PARAMETERS for name in WINDOWS]
    sums = ", ".join(f"sum({p}) AS sum_{p}, count({p}) AS count_{p}" for p in PARAMETERS)
    filled = ", ".join(
        f"coalesce(sum_{p}, 0) AS sum_{p}, coalesce(count_{p}, 0)::INTEGER AS count_{p}" for p in PARAMETERS
    )
    rolled = ", ".join(
        f"sum({kind}_{p}) OVER w{name} AS {kind}_{p}_{name}" for p, name in pairs for kind in ("sum", "count")
    )
    windows = ", ".join(f"w{name} AS (PARTITION BY station_id ORDER BY slot {frame})" for name, frame in frames.items())
    rows = " UNION ALL ".join(
        f"""SELECT station_id, '{p}' AS parameter, '{name}' AS window_length,
        make_timestamptz(slot * 60000000) AS ended_at, sum_{p}_{name} / count_{p}_{name} AS mean,
        count_{p}_{name}::INTEGER AS count, least(1, count_{p}_{name} / {WINDOWS[name]}) AS coverage
        FROM rolled WHERE count_{p}_{name} > 0"""
        for p, name in pairs
    )
    con = duckdb.connect(config={"threads": 1})
    con.execute(
        f"""CREATE TEMP TABLE buckets AS
        SELECT station_id, ((epoch_us(observed_at) + {size - 1}) // {size}) * {bucket} AS slot, {sums}
        FROM read_parquet('{table}') GROUP BY ALL"""
    )
    con.execute(
        f"""CREATE TEMP TABLE grid AS
        SELECT station_id, slot, {filled} FROM (SELECT DISTINCT station_id FROM buckets)
        CROSS JOIN (SELECT unnest(range(min(slot), max(slot) + 1, {bucket})) AS slot FROM buckets)
        LEFT JOIN buckets USING (station_id, slot)"""
    )
    con.execute(
        f"""CREATE TEMP TABLE rolled AS
        SELECT * FROM (SELECT station_id, slot, {rolled} FROM grid WINDOW {windows}) WHERE slot % {step} = 0"""
    )
    con.execute(f"COPY ({rows}) TO '{out}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {ZSTD_LEVEL})")


if __name__ == "__main__":
    main({"steps": steps, "minutes": minutes})
