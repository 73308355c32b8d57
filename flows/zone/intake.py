"""The intake of a zone: which readings go to the grid, which are buffered or refused, and the watermark behind it.

It works row by row in effect, and run by run in fact: a run is as many rows as change nothing but the watermark.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from flows.arrays import I32
from flows.decode.batch import InputPartition, Readings, no_readings
from flows.state.grid import second_of, slot_of
from flows.zone.early import EarlyBuffer
from flows.zone.partitions import Partitions
from flows.zone.plan import Lateness
from flows.zone.run import Pending, Run
from flows.zone.watermark import Watermark, WatermarkTrace
from schemas.measured import Measured, Recorded
from schemas.slots import NEVER


class Admitted(NamedTuple):
    """A run of rows, and what it brings.

    Attributes:
        run: readings that go to the grid.
        trace: the watermark over the rows; it advances once they are settled.
        stop: the last row that is taken.
        too_late: readings from before the horizon.
        expired: readings that were buffered in vain.
    """

    run: Run
    trace: WatermarkTrace
    stop: int
    too_late: Readings
    expired: Readings


class Intake:
    """Watermark, early buffer and input partitions of a zone.

    Args:
        measured: the kind of reading.
        column: grid column of each of the flow's instruments, -1 for those of other zones.
        stations: the flow's index of each column.
        lateness: how far readings may come out of order.
        review_rows: rows after which the watermark's quorum is reviewed.
    """

    def __init__(self, measured: Measured, column: I32, stations: I32, lateness: Lateness, review_rows: int) -> None:
        self._measured, self._column, self._stations = measured, column, stations
        self._horizon = lateness.horizon
        self.watermark = Watermark(stations.size, review_rows)
        self.early = EarlyBuffer(measured, lateness.horizon, lateness.max_wait, lateness.early_capacity)
        self.partitions = Partitions()
        self._on_grid = np.full(stations.size, NEVER)
        """Newest slot of each instrument by readings that are not in the early buffer."""
        self._orphaned = no_readings(measured)

    def of_known_partitions(self, readings: Readings, parts: Sequence[InputPartition]) -> Readings:
        """Let readings bear indices among the zone's partitions, given those among ``parts``."""
        part = self.partitions.translate(readings.part, parts)
        return readings if part is readings.part else replace(readings, part=part)

    def take_orphaned(self) -> Readings:
        """Take out early readings of a snapshot whose instruments have left the city file since."""
        orphaned, self._orphaned = self._orphaned, no_readings(self._measured)
        return orphaned

    def runs(self, readings: Readings, *, counted: bool = False) -> Iterator[Admitted]:
        """Yield runs of readings, with those that the watermark admits from the early buffer on the way.

        The watermark advances over a run when the next one is asked for.

        Args:
            readings: in their order.
            counted: the watermark has counted them before.
        """
        queue = deque([Pending(readings, counted)])
        while queue:
            rows, counted = queue.popleft()
            if not len(rows):
                continue
            most = len(rows) if counted else self.watermark.until_review()
            if len(rows) > most:
                queue.appendleft(Pending(rows.slice(most, len(rows)), counted))
                rows = rows.slice(0, most)
            step, released = self._step(rows)
            yield step
            taken = step.stop + 1
            self.watermark.advance(step.trace, taken, 0 if counted else taken)
            if taken < len(rows):
                queue.appendleft(Pending(rows.slice(taken, len(rows)), counted))
            if released is not None:
                queue.appendleft(Pending(released, counted=True))
            if not counted and self._quorum_fell():
                queue.appendleft(Pending(self._drain(), counted=True))

    def finish(self) -> Iterator[Admitted]:
        """At the end of an input that never set the watermark, settle early readings as far as instruments agree."""
        if self.watermark.current == NEVER and len(self.early):
            stations = self.early.readings.station
            self.watermark.settle_for(np.unique(stations[stations >= 0]).size)
            yield from self.runs(self._drain(), counted=True)

    def _step(self, readings: Readings) -> tuple[Admitted, Readings | None]:
        """Take readings until a buffered early one becomes admissible; return those released with it too."""
        n = len(readings)
        column = np.where(readings.station >= 0, self._column[readings.station], readings.station)
        slot = slot_of(second_of(readings.observed))
        trace = self.watermark.preview(column, slot)
        early = (trace.watermark == NEVER) | (slot > trace.watermark + self._horizon)
        stop, released, expired = n - 1, None, no_readings(self._measured)
        if early.any() or len(self.early):
            stop, released, expired = self.early.admit(readings, slot, early, trace)
        go = np.flatnonzero(~early[: stop + 1])
        run, too_late = Run(readings if go.size == n else readings.take(go), slot[go], go), no_readings(self._measured)
        late = run.slot < trace.watermark[run.row] - self._horizon
        if late.any():
            run, too_late = run.part(~late), run.readings.take(late)
        measured = run.readings.station >= 0
        np.maximum.at(self._on_grid, self._column[run.readings.station[measured]], run.slot[measured])
        return Admitted(run, trace, stop, too_late, expired), released

    def _quorum_fell(self) -> bool:
        """Review the quorum where it is time; true if it fell."""
        return self.watermark.until_review() == self.watermark.review_rows and self.watermark.review_quorum()

    def _drain(self) -> Readings:
        """Take out all early readings, and let the watermark forget them."""
        self.watermark.forget(self._on_grid)
        return self.early.drain()

    def snapshot(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "clock": self.watermark.snapshot(),
            "settled": self._on_grid.copy(),
            "parts": self.partitions.snapshot(),
            "waiting": self.early.snapshot(self._column),
        }

    def restore(
        self,
        kept: dict[str, Any],
        ours: list[int],
        theirs: list[int],
        column_now: I32,
        recorded: Mapping[str, Recorded],
    ) -> None:
        """Go on from the zone's snapshot.

        Args:
            kept: the snapshot; version 1 has no partitions by name.
            ours: columns whose instruments it has.
            theirs: what their columns were.
            column_now: of each column then, the column now, -1 where the instrument has left.
            recorded: kinds of records by topic.
        """
        self.watermark.restore(kept["clock"], ours, theirs)
        self._on_grid[ours] = kept["settled"][theirs]
        self._orphaned = self.early.restore(kept["waiting"], column_now, self._stations, recorded)
        self.partitions.restore(kept.get("parts", []))
