"""One process: rolling means by Polars on one thread (``POLARS_MAX_THREADS=1``); see ``windows.py``.

Ways: ``steps`` sums and counts each step first and rolls over the steps; ``minutes`` rolls over every minute by time
(``rolling_mean_by``) and keeps the ends that land.
"""

from datetime import timedelta
from pathlib import Path

import polars as pl

from benchmarks.peers.windows import PARAMETERS, WINDOWS, ZSTD_LEVEL, main


def steps(table: Path, step: int, out: Path) -> None:
    """Sums of whole steps on a full grid, then sums of neighbouring rows."""
    grid = _grid(_buckets(pl.scan_parquet(table), step), step)
    parts = []
    for name, minutes in WINDOWS.items():
        n = minutes // step
        rolled = grid.select(
            "station_id",
            "ended_at",
            *(
                pl.col(f"{kind}_{p}").rolling_sum(n, min_samples=1).over("station_id")
                for p in PARAMETERS
                for kind in ("sum", "count")
            ),
        )
        parts += [
            _rows(rolled, p, name, pl.col(f"sum_{p}") / pl.col(f"count_{p}"), pl.col(f"count_{p}")) for p in PARAMETERS
        ]
    pl.concat(parts).lazy().sink_parquet(out, compression="zstd", compression_level=ZSTD_LEVEL)


def minutes(table: Path, step: int, out: Path) -> None:
    """Every minute on a full grid, windows by time, then the ends that land."""
    grid = _grid(_buckets(pl.scan_parquet(table), 1), 1).with_columns(
        **{p: pl.when(pl.col(f"count_{p}") > 0).then(pl.col(f"sum_{p}")) for p in PARAMETERS},
    )
    lands = pl.col("ended_at").dt.epoch("s") % (60 * step) == 0
    parts = []
    for name, length in WINDOWS.items():
        size = f"{length}m"
        means = (pl.col(p).rolling_mean_by("ended_at", size, closed="right").over("station_id") for p in PARAMETERS)
        counts = (
            pl.col(f"count_{p}").rolling_sum_by("ended_at", size, closed="right").over("station_id") for p in PARAMETERS
        )
        rolled = grid.select("station_id", "ended_at", *means, *counts).filter(lands)
        parts += [_rows(rolled, p, name, pl.col(p), pl.col(f"count_{p}")) for p in PARAMETERS]
    pl.concat(parts).lazy().sink_parquet(out, compression="zstd", compression_level=ZSTD_LEVEL)


def _buckets(readings: pl.LazyFrame, step: int) -> pl.LazyFrame:
    """Sums and counts of each station in each step of so many minutes."""
    size = timedelta(minutes=step)
    ended = (pl.col("observed_at") - timedelta(microseconds=1)).dt.truncate(size) + size
    sums = [pl.col(p).sum().alias(f"sum_{p}") for p in PARAMETERS]
    counts = [pl.col(p).count().cast(pl.Int32).alias(f"count_{p}") for p in PARAMETERS]
    return readings.group_by("station_id", ended.alias("ended_at")).agg(*sums, *counts)


def _grid(buckets: pl.LazyFrame, step: int) -> pl.DataFrame:
    """Every station at every end, in order; zeros where nothing was."""
    have = buckets.collect()
    first, last = have["ended_at"].min(), have["ended_at"].max()
    ends = pl.datetime_range(first, last, timedelta(minutes=step), eager=True, time_zone="UTC").dt.cast_time_unit("us")
    frame = have.select(pl.col("station_id").unique()).join(pl.DataFrame({"ended_at": ends}), how="cross")
    return frame.join(have, on=["station_id", "ended_at"], how="left").fill_null(0).sort("station_id", "ended_at")


def _rows(rolled: pl.DataFrame, parameter: str, window: str, mean: pl.Expr, count: pl.Expr) -> pl.DataFrame:
    coverage = (count / WINDOWS[window]).clip(upper_bound=1.0)
    return rolled.select(
        "station_id",
        pl.lit(parameter).cast(pl.Enum(PARAMETERS)).alias("parameter"),
        pl.lit(window).cast(pl.Enum(list(WINDOWS))).alias("window_length"),
        "ended_at",
        mean.alias("mean"),
        count.alias("count"),
        coverage.alias("coverage"),
    ).filter(pl.col("count") > 0)


if __name__ == "__main__":
    main({"steps": steps, "minutes": minutes})
