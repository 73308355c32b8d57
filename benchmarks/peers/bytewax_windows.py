"""One process: stock Bytewax over an NDJSON file, sliding windows of 1 h every 10 min, mean of six and count.

``python -m benchmarks.peers.bytewax_windows FILE``. At its best: lines in batches, msgspec structs with times decoded,
one worker, no recovery, unordered folding, accumulators changed in place, results only counted. ``to_system_utc``
keeps the worker from the busy loop of bytewax issue 578; where a window closes, the next reading says.
"""

import json
import sys
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
import msgspec
from bytewax.connectors.files import FileSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

BATCH = 10_000
WAIT = timedelta(minutes=1)
PARAMETERS = ("pm10", "pm25", "o3", "no2", "co", "so2")


class Reading(msgspec.Struct, gc=False):
    """A message."""

    station_id: str
    observed_at: datetime
    pm10: float | None = None
    pm25: float | None = None
    o3: float | None = None
    no2: float | None = None
    co: float | None = None
    so2: float | None = None


class Count(StatelessSinkPartition[object]):  # type: ignore[misc]
    """Counts results and readings in them."""

    results = readings = 0

    def write_batch(self, items: list[object]) -> None:
        """Count them."""
        Count.results += len(items)
        Count.readings += sum(item[0] for item in items)  # type: ignore[index]


class CountSink(DynamicSink[object]):  # type: ignore[misc]
    """Counts."""

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Count:
        """Of one worker."""
        return Count()


def observed(reading: Reading) -> datetime:
    """When, in the time zone object that Bytewax insists on."""
    return reading.observed_at.astimezone(timezone.utc)  # noqa: UP017


def fold(sums: list[float], reading: Reading) -> list[float]:
    """Add a reading: a number of readings, then a sum and a count of each pollutant."""
    sums[0] += 1
    at = 1
    for value in (reading.pm10, reading.pm25, reading.o3, reading.no2, reading.co, reading.so2):
        if value is not None:
            sums[at] += value
            sums[at + 1] += 1
        at += 2
    return sums


def merge(one: list[float], other: list[float]) -> list[float]:
    """Only sessions merge."""
    return [a + b for a, b in zip(one, other, strict=True)]


def mean(item: tuple[str, tuple[int, list[float]]]) -> tuple[float, list[float]]:
    """The count and six means of a window."""
    sums = item[1][1]
    return sums[0], [sums[i] / sums[i + 1] if sums[i + 1] else float("nan") for i in range(1, 13, 2)]


def count_windows(readings: Any, first: datetime) -> None:
    """Window readings whose oldest is of ``first``, and count what comes of it."""
    lag = datetime.now(UTC) - first
    clock = win.EventClock(observed, WAIT, to_system_utc=lambda closes: closes + WAIT + lag)
    windower = win.SlidingWindower(timedelta(hours=1), timedelta(minutes=10), datetime(2025, 1, 1, tzinfo=timezone.utc))  # noqa: UP017
    keyed = op.key_on("station", readings, lambda reading: reading.station_id)
    windows = win.fold_window("window", keyed, clock, windower, lambda: [0.0] * 13, fold, merge, ordered=False)
    op.output("count", op.map("mean", windows.down, mean), CountSink())


def measure(flow: Dataflow) -> None:
    """Run a flow of ``count_windows``, and print what came of it and how long it took."""
    began = time.perf_counter()
    run_main(flow)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "results": Count.results, "readings": int(Count.readings)}))


def main() -> None:
    """Run the flow to the file's end."""
    path = sys.argv[1]
    with open(path, "rb") as file:  # noqa: PTH123
        first = observed(msgspec.json.decode(file.readline(), type=Reading))
    flow = Dataflow("peer")
    lines = op.input("lines", flow, FileSource(path, batch_size=BATCH))
    count_windows(op.map("decode", lines, msgspec.json.Decoder(Reading).decode), first)
    measure(flow)


if __name__ == "__main__":
    main()
