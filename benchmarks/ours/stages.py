"""One process: the stages of our path one after another, without the engine, and how long each took.

``python -m benchmarks.ours.stages CITY FILE LAKE``. The same classes that the command joins: the source's reading and
decoding, the zone's grid and evaluation, rows for the lake, and its data files. Beside these the command starts up,
keeps snapshots, and commits.
"""

import json
import shutil
import sys
import time
from pathlib import Path

from flows.decode.batch import SourceBatch
from flows import air
from flows.outputs.lake_rows import Rows
from flows.settings import DEFAULT_EPOCH, load_city
from flows.sources.files.source import FileSource
from flows.zone.zone import Zone
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
        [Path(sys.argv[2])], air.decoder(city), None, stop=lambda: False, now=lambda: time.time_ns() // 1000
    )
    part = source.build_part("input", "files", None)
    zone, rows = Zone(city, city.stations[0].zone), Rows(city)
    days = LocalDates(city.city.timezone)
    epoch, files = 0, EpochFiles(root, "air-00000000", days)
    due = time.perf_counter() + float(DEFAULT_EPOCH.removesuffix("s"))
    watch, readings = Stopwatch(), 0
    try:
        last = False
        while not last:
            arrivals = [item for _, item in part.next_batch()]
            watch.lap("read and decode")
            for item in arrivals:
                outcome = zone.take(item.readings, more=item.backlog, last=item.end_of_input)
                watch.lap("grid and evaluate")
                landed = [
                    rows.arrived(item),
                    rows.outcome(zone.id, zone.stations, outcome, list(item.parts), item.received),
                ]
                watch.lap("rows")
                for table, batch in (row for landing in landed for row in landing.rows):
                    files.add(table, batch)
                files.wait()  # the thread writes beside the worker; here each stage is to stand by itself
                watch.lap("write")
                readings += taken(item)
                last = last or item.end_of_input
            if last or time.perf_counter() > due:
                files.finish()
                watch.lap("write")
                zone.snapshot()
                watch.lap("snapshot")
                epoch += 1
                files = EpochFiles(root, f"air-{epoch:08d}", days)
                due = time.perf_counter() + float(DEFAULT_EPOCH.removesuffix("s"))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps({"readings": readings, "wall": watch.wall, "cpu": watch.cpu}))


def taken(item: SourceBatch) -> int:
    """How many messages an item stands for."""
    return sum(one.number for one in item.offsets)


if __name__ == "__main__":
    main()
