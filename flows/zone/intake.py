"""The intake of a zone: which readings go to the grid, which are buffered or refused, and the watermark behind it.

It works row by row in effect, and run by run in fact: a run is as many rows as change nothing but the watermark.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from flows.arrays import I32, I64, Whole
from flows.decode.batch import InputPartition, Readings, no_readings
from flows.kernels.watermark import FIRST, RELEASED, REPLAYED
from flows.state.grid import slot_of
from flows.zone.early import EarlyBuffer
from flows.zone.partitions import Partitions
from flows.zone.plan import Lateness
from flows.zone.run import Pending, Run
from flows.zone.snap import Snapping
from flows.zone.watermark import Watermark, WatermarkTrace
from schemas.measured import Measured, Recorded
from schemas.slots import SLOT_S

NO_SLOTS = np.empty(0, np.int64)


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
        every: cadence of each column in seconds.
    """

    def __init__(self, measured: Measured, column: I32, stations: I32, lateness: Lateness, every: Whole) -> None:
        self._measured, self._column, self._stations = measured, column, stations
        self._horizon = lateness.horizon
        self._snapping = Snapping(every, lateness.snap)
        self.watermark = Watermark(stations.size, lateness, max(1, int(every.max(initial=0)) // SLOT_S))
        buffered = lateness.horizon, lateness.max_wait, lateness.early_capacity
        self.early = EarlyBuffer(measured, *buffered, lambda readings: slot_of(self.second_of(readings)))
        self.partitions = Partitions()
        self._orphaned = no_readings(measured)

    def second_of(self, readings: Readings) -> I64:
        """Whole seconds since 1970, rounded up, as the grid takes the times of readings: shape (n,)."""
        return self._snapping.second_of(readings.observed, self._columns(readings))

    def _columns(self, readings: Readings) -> I32:
        if not self._column.size:
            return readings.station
        return np.where(readings.station >= 0, self._column[readings.station], readings.station)

    def of_known_partitions(self, readings: Readings, parts: Sequence[InputPartition]) -> Readings:
        """Let readings bear indices among the zone's partitions, given those among ``parts``."""
        part = self.partitions.translate(readings.part, parts)
        return readings if part is readings.part else replace(readings, part=part)

    def take_orphaned(self) -> Readings:
        """Take out early readings of a snapshot whose instruments have left the city file since."""
        orphaned, self._orphaned = self._orphaned, no_readings(self._measured)
        return orphaned

    def runs(self, readings: Readings, *, passage: int = FIRST) -> Iterator[Admitted]:
        """Yield runs of readings, with those that the watermark admits from the early buffer on the way.

        The watermark advances over a run when the next one is asked for.

        Args:
            readings: in their order.
            passage: whether they come for the first time.
        """
        queue = deque([Pending(readings, passage)])
        while queue:
            rows, passage = queue.popleft()
            if not len(rows):
                continue
            step, released = self._step(rows, passage)
            yield step
            taken = step.stop + 1
            self.watermark.advance(step.trace, taken)
            if taken < len(rows):
                queue.appendleft(Pending(rows.slice(taken, len(rows)), passage))
            if released is not None:
                queue.appendleft(Pending(released, RELEASED))
            if step.trace.quorum_fell and taken == step.trace.slot.size:
                queue.appendleft(Pending(self._drain(), REPLAYED))

    def finish(self) -> Iterator[Admitted]:
        """At the end of the input, settle early readings as far as instruments agree."""
        if len(self.early) and self.watermark.settle():
            yield from self.runs(self._drain(), passage=REPLAYED)

    def _step(self, readings: Readings, passage: int) -> tuple[Admitted, Readings | None]:
        """Take readings until a buffered early one becomes admissible; return those released with it too."""
        slot = slot_of(self.second_of(readings))
        trace = self.watermark.preview(self._columns(readings), slot, passage)
        early, n = trace.early, trace.slot.size
        if n < len(readings):
            readings, slot = readings.slice(0, n), slot[:n]
        stop, released, expired = n - 1, None, no_readings(self._measured)
        if early.any() or len(self.early):
            stop, released, expired = self.early.admit(readings, slot, early, trace)
        go = np.flatnonzero(~early[: stop + 1])
        run, too_late = Run(readings if go.size == n else readings.take(go), slot[go], go), no_readings(self._measured)
        late = run.slot < trace.watermark[run.row] - self._horizon
        if late.any():
            run, too_late = run.part(~late), run.readings.take(late)
        return Admitted(run, trace, stop, too_late, expired), released

    def _drain(self) -> Readings:
        """Take out all early readings, so that instruments vote on them once more."""
        self.watermark.vote_again()
        return self.early.drain()

    def snapshot(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "clock": self.watermark.snapshot(),
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
        self.watermark.restore(kept["clock"], kept.get("settled", NO_SLOTS), ours, theirs)
        self._orphaned = self.early.restore(kept["waiting"], column_now, self._stations, recorded)
        self.partitions.restore(kept.get("parts", []))
