"""One process: the stages of our path one after another, without the engine, and how long each took.

``python -m benchmarks.ours.stages CITY FILE LAKE``. The same classes that the command joins: the source's reading and
decoding, the zone's grid and evaluation, rows for the lake, and its data files. Beside these the command starts up,
keeps snapshots, and commits.
"""

import json
import shutil
import sys
import time
from itertools import count
from pathlib import Path

from flows.air import FLOW
from flows.decode.batch import SourceBatch
from flows.outputs.lake_rows import LakeRows
from flows.settings import epoch, load_city
from flows.sources.files.source import FileSource
from sinks.lake.dates import LocalDates
from sinks.lake.files import EpochFiles


class Stopwatch:
    """Adds up seconds by stage, of the clock and of the processor."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}
        self._at = time.perf_counter(), time.process_time()

    def lap(self, stage: str) -> None:
        """What passed since the last lap was this stage."""
        now = time.perf_counter(), time.process_time()
        self.wall[stage] = self.wall.get(stage, 0.0) + now[0] - self._at[0]
        self.cpu[stage] = self.cpu.get(stage, 0.0) + now[1] - self._at[1]
        self._at = now


def main() -> None:
    """Take the file through the stages."""
    city, root = load_city(Path(sys.argv[1])), Path(sys.argv[3])
    source = FileSource(
        [Path(sys.argv[2])], FLOW.decoder(city), None, stop=lambda: False, now=lambda: time.time_ns() // 1000
    )
    partition = source.build_part("input", "input", None)
    zone, rows = FLOW.zone(city, city.stations[0].zone), LakeRows(FLOW.name, FLOW.measured, FLOW.instruments(city))
    days, numbers = LocalDates(city.city.timezone), count()
    files = EpochFiles(root, f"air-{next(numbers):08d}", days)
    every = epoch().total_seconds()
    due = time.perf_counter() + every
    watch, readings = Stopwatch(), 0
    try:
        last = False
        while not last:
            batches = [batch for _, batch in partition.next_batch()]
            watch.lap("read and decode")
            for batch in batches:
                last = batch.end_of_input
                result = zone.take(batch.readings, batch.parts, end_of_input=last)
                watch.lap("grid and evaluate")
                landed = [rows.of_source(batch), rows.of_zone(zone.id, zone.stations, result, batch.received)]
                watch.lap("rows")
                for table, of_table in (row for lake in landed for row in lake.rows):
                    files.add(table, of_table)
                files.wait()  # the thread writes beside the worker; here each stage is to stand by itself
                watch.lap("write")
                readings += taken(batch)
            if last or time.perf_counter() > due:
                files.finish()
                watch.lap("write")
                zone.snapshot()
                watch.lap("snapshot")
                files = EpochFiles(root, f"air-{next(numbers):08d}", days)
                due = time.perf_counter() + every
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps({"readings": readings, "wall": watch.wall, "cpu": watch.cpu}))


def taken(batch: SourceBatch) -> int:
    """How many messages a batch stands for."""
    return sum(read.number for read in batch.offsets)


if __name__ == "__main__":
    main()
