"""One zone of the city: from readings in their order to what can be said of its air.

A reading waits while it lies too far ahead of the clock, is too late behind the horizon, or goes on the grid. Slots
close as the clock passes; what a late reading touches is evaluated again when the next step closes. All of it is a
function of the sequence of readings alone.
"""

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.analyses import evaluate, indices
from flows.analyses.ozone_hours import OzoneHours
from flows.arrays import I32, I64, U8
from flows.decode.batch import Readings, no_readings
from flows.kernels import quality, rolling
from flows.signals.lights import Watch
from flows.state.cadence import Cadence
from flows.state.grid import PAGE, Grid, second_of, slot_of
from flows.zone.early import EarlyBuffer
from flows.zone.late import LateBuffer
from flows.zone.result import Accepted, ZoneResult
from flows.zone.triggers import Triggers
from flows.zone.watermark import QUORUM_REVIEW_ROWS, Time, Watermark
from schemas.city import City
from schemas.durations import minutes, seconds
from schemas.measured import AIR
from schemas.rejected import Reason, Reject
from schemas.slots import NEVER

P = len(AIR.gridded)
DAY = 1440
SLOWEST = 60
"""The longest cadence. The grid's shape follows the city file's lengths alone, so that a station of any cadence may
come and go."""


@dataclass(slots=True)
class _Run:
    """Rows on their way to the grid: columns of the same length."""

    readings: Readings
    slot: I64
    row: I64
    """Number of each in the run that the clock looked ahead over."""


class Zone:
    """State of one zone.

    Args:
        city: the city file.
        zone: the zone's id.
    """

    def __init__(self, city: City, zone: str) -> None:
        self.id = zone
        self.stations = np.array([i for i, s in enumerate(city.stations) if s.zone == zone], np.int32)
        self.column = np.full(len(city.stations), -1, np.int32)
        self.column[self.stations] = np.arange(self.stations.size)
        cadences = np.array([seconds(city.stations[i].every) for i in self.stations])
        scales = indices.Scales(city.indices.korea, city.indices.ozone)
        self.groups = [
            Cadence(city, np.flatnonzero(cadences == every), int(every), scales) for every in np.unique(cadences)
        ]
        self._group_of = np.searchsorted(np.unique(cadences), cadences)
        limits = city.limits()
        self._fail = np.array([limit.fail for limit in limits])
        self._suspect = np.array([limit.suspect for limit in limits])
        self._horizon = minutes(city.late.horizon)
        self._waiting = EarlyBuffer(self._horizon, minutes(city.late.wait), city.late.waiting_room)
        lengths = (*city.windows.lengths, city.quality.flat_line_length, city.quality.attenuated_signal_length)
        longest = max(indices.REACH, *(minutes(length) for length in lengths))
        lookback = longest + 2 * max(minutes(city.windows.step), SLOWEST)
        assert all(max(group.longest, group.lookback) + group.step < lookback + 2 * PAGE for group in self.groups)
        self.grid = Grid(
            [city.stations[i].id for i in self.stations], self._horizon + lookback + 2 * PAGE, self._horizon + 4 * PAGE
        )
        for group in self.groups if scales.regression else ():
            ids = [self.grid.stations[column] for column in group.columns]
            group.ozone = OzoneHours(ids, group.columns, self.grid.length // indices.HOUR)
        self.clock = Watermark(self.stations.size)
        self.watch = Watch(city, zone, self.grid, self.groups)
        self._settled = np.full(self.stations.size, NEVER)
        self._gone = no_readings()
        """Readings that waited, of stations that have left the city file since."""
        self._held = LateBuffer()
        self._revision = 0
        self._closings_seen = 0

    def take(self, readings: Readings, *, more: bool = False, last: bool = False) -> ZoneResult:
        """Take readings of this zone in their order.

        Args:
            readings: of stations of this zone.
            more: further readings are at hand, so that evaluation may wait and do up to a day in one go.
            last: the input ends here: close what is still open.
        """
        out = ZoneResult()
        if len(self._gone):
            self._refuse(self._gone, "unknown_station", "its station left the city file while it waited", out)
            self._gone = no_readings()
        self._take(deque([(readings, True)]), out)
        if last:
            self._finish(out)
        if not more or any(group.due - group.closed >= DAY for group in self.groups):
            self._evaluate(out)
        out.waiting = self._waiting.readings.part
        return out

    def quiet(self, minutes: int) -> ZoneResult:
        """No air came for so many minutes: what lights must be told then."""
        out = ZoneResult(waiting=self._waiting.readings.part)
        self.watch.quiet(minutes, out.said)
        return out

    def adopt(self, closed: dict[int, int], revision: int) -> None:
        """Take over from a zone whose state was lost: what it had closed, by cadence in seconds, and its revisions."""
        for group in self.groups:
            if group.due > NEVER:
                group.close_at(closed.get(group.every, NEVER), 0)
        self._evaluate(ZoneResult())
        self._revision = max(self._revision, revision)

    def _take(self, queue: deque[tuple[Readings, bool]], out: ZoneResult) -> None:
        """Work through runs of readings, each new to the clock or released from waiting."""
        while queue:
            readings, new = queue.popleft()
            if not len(readings):
                continue
            most = self.clock.until_review() if new else len(readings)
            if len(readings) > most:
                queue.appendleft((readings.slice(most, len(readings)), new))
                readings = readings.slice(0, most)
            rest, released = self._step(readings, new, out)
            if rest is not None:
                queue.appendleft((rest, new))
            if released is not None:
                queue.appendleft((released, False))
            if new and self.clock.until_review() == QUORUM_REVIEW_ROWS and self.clock.review():
                queue.appendleft((self._forget_waiting(), False))

    def _step(self, readings: Readings, new: bool, out: ZoneResult) -> tuple[Readings | None, Readings | None]:
        """Take readings up to the first at which one that waited may go; return the rest and those released."""
        n = len(readings)
        column = self.column[readings.station]
        slot = slot_of(second_of(readings.observed))
        time = self.clock.look_ahead(column, slot)
        waits = (time.clock == NEVER) | (slot > time.clock + self._horizon)
        stop, released = n - 1, None
        if waits.any() or len(self._waiting):
            stop, released, refused = self._waiting.turn(readings, slot, waits, time)
            self._refuse(
                refused, "future", "more than the horizon ahead of the clock, for as long as readings may wait", out
            )
        go = np.flatnonzero(~waits[: stop + 1])
        run = _Run(readings if go.size == n else readings.take(go), slot[go], go)
        self._settle(run, time, stop, out)
        self.clock.count(column[: stop + 1], slot[: stop + 1], time, stop + 1 if new else 0)
        return (readings.slice(stop + 1, n) if stop + 1 < n else None), released

    def _forget_waiting(self) -> Readings:
        """Hand out those who wait, and count the clock anew without them."""
        self.clock.newest = self._settled.copy()
        return self._waiting.leave()

    def _settle(self, run: _Run, time: Time, stop: int, out: ZoneResult) -> None:
        """Put readings on the grid in their order, and close slots on the way."""
        if run.slot.size and self.groups[0].due == NEVER:
            self._start(int(time.clock[np.argmax(time.clock > NEVER)]))
        if self.groups[0].due == NEVER:
            return
        late = run.slot < time.clock[run.row] - self._horizon
        if late.any():
            self._refuse(run.readings.take(late), "too_late", "older than the horizon behind the clock", out)
            run = _cut_mask(run, ~late)
        np.maximum.at(self._settled, self.column[run.readings.station], run.slot)
        closings = Triggers(self.groups, self.watch.lengths, self.watch.closed, self.clock, time, stop)
        self.watch.foresee(closings.asked)
        begin = 0
        while begin < run.slot.size:
            fits = run.slot[begin:] <= self.grid.reach()
            end = begin + (fits.size if fits.all() else int(np.argmin(fits)))
            if end > begin:
                self._piece(_cut(run, begin, end), closings, out)
            if end < run.slot.size:
                self._make_room(int(run.row[end]), int(run.slot[end]), closings, out)
            begin = end
        self._pass(closings, stop, out)

    def _make_room(self, row: int, slot: int, closings: Triggers, out: ZoneResult) -> None:
        """Move the grid on, so that the reading of a row fits; what closed before it is evaluated first."""
        self._pass(closings, row - 1, out)
        self._evaluate(out)
        self.grid.move(min(group.closed for group in self.groups))
        if slot <= self.grid.reach():
            return
        self.watch.decide_gap(row, slot - 1, out.said)  # the reading ends a gap: what it closes lies before it
        self._closings_seen = closings.close(row, self._closings_seen, below=slot)
        self._evaluate(out)
        self.grid.move(min(group.closed for group in self.groups))

    def _pass(self, closings: Triggers, upto: int, out: ZoneResult) -> None:
        """Decide and close up to row ``upto``; readings that are held get in at the first closing after them."""
        for event in closings.events(upto) if self._held else ():
            self._pass_event(closings, event, out)
        self.watch.decide(upto + 1, out.said)
        self._closings_seen = closings.close(upto, self._closings_seen)

    def _pass_event(self, closings: Triggers, event: int, out: ZoneResult) -> None:
        self.watch.decide(event + 1, out.said)
        self._closings_seen = closings.close(event, self._closings_seen)
        self._evaluate(out)

    def _start(self, clock: int) -> None:
        """When the clock is set, a horizon of slots before it is open."""
        for group in self.groups:
            group.due = group.closed = group.floor(clock - self._horizon - 1)
        self.watch.start(clock - 1)
        self.grid.move(min(group.closed for group in self.groups))

    def _piece(self, run: _Run, closings: Triggers, out: ZoneResult) -> None:
        """Take readings that all fit on the grid."""
        readings = run.readings
        column = self.column[readings.station]
        fresh, duplicate = self.grid.take(column, second_of(readings.observed), readings.values)
        if duplicate.any():
            self._refuse(readings.take(duplicate), "duplicate", "every value of this second was taken before", out)
            run = _cut_mask(run, ~duplicate)
            readings, column, fresh = run.readings, column[~duplicate], fresh[~duplicate]
        if not fresh.all():
            np.copyto(readings.values, np.nan, where=~fresh)
        flags = quality.judge(readings.values[:, :P], readings.status, self._fail, self._suspect)
        out.stored.append(Accepted(readings, flags))
        if not run.row.size:
            return
        counted = np.where(flags <= 3, readings.values[:, :P], 0.0)
        quanta = rolling.quantise(counted)
        late = closings.late(run.slot, run.row, self._group_of[column])
        if not late.any() and not self._held:
            self._add(run.slot, run.row, column, quanta, flags, closings, out)
            return
        self._pass(closings, int(run.row[0]) - 1, out)
        self._evaluate(out)
        self._between(run, column, quanta, flags, late, closings, out)

    def _between(
        self,
        run: _Run,
        column: I32,
        quanta: I64,
        flags: U8,
        late: NDArray[np.bool_],
        closings: Triggers,
        out: ZoneResult,
    ) -> None:
        """Add readings up to each closing, close, and go on: with late ones about, its place among them counts."""
        begin = 0
        for event in [*closings.events(int(run.row[-1]) - 1), None]:
            end = run.row.size if event is None else int(np.searchsorted(run.row, event, side="right"))
            timely = begin + np.flatnonzero(~late[begin:end])
            tardy = begin + np.flatnonzero(late[begin:end])
            if timely.size:
                self._add(
                    run.slot[timely], run.row[timely], column[timely], quanta[timely], flags[timely], closings, out
                )
            self._held.add(column[tardy], run.slot[tardy], quanta[tardy], flags[tardy])
            if event is not None:
                self._pass_event(closings, event, out)
            begin = end

    def _add(
        self, slot: I64, row: I64, column: I32, quanta: I64, flags: U8, closings: Triggers, out: ZoneResult
    ) -> None:
        """Put readings on the grid; what closed before one that is late for it is looked at without it."""
        cuts = closings.cuts(slot, row, self._group_of[column])
        for begin, end in pairwise([0, *cuts.tolist(), slot.size]):
            if begin < end:
                self.watch.decide(int(row[begin]), out.said)
                self.grid.add(column[begin:end], slot[begin:end], quanta[begin:end], flags[begin:end])

    def _evaluate(self, out: ZoneResult, *, finish: bool = False) -> None:
        """Evaluate what is due, a day at a time and all groups together; before it what late readings touch."""
        for group in self.groups:
            if self._held and (group.due > group.closed or finish):
                self._revise(group, min(group.due, self.grid.reach()), out)
        while True:
            oldest = min((group.closed for group in self.groups if group.closed < group.due), default=None)
            if oldest is None:
                return
            for group in self.groups:
                until = min(group.due, group.floor(oldest + DAY + group.step))
                if until <= group.closed:
                    continue
                if self.grid.newest <= group.closed - max(group.longest, group.lookback, indices.REACH) - group.cadence:
                    group.closed, group.closings = group.due, []  # nothing on the grid that a window could still see
                    continue
                if until > self.grid.reach():
                    self.grid.move(min(other.closed for other in self.groups))
                self._revision += 1
                evaluate.close(self.grid, group, until, self._revision, out.evaluated)

    def _revise(self, group: Cadence, until: int, out: ZoneResult) -> None:
        """Put held readings of a group into their slots and evaluate again what they touch."""
        rows = self._held.take(group.columns)
        if rows is None:
            return
        column, slot, quanta, flags = rows
        self._revision += 1
        evaluate.revise(
            self.grid,
            group,
            np.unique(column),
            int(slot.min()),
            until,
            self._revision,
            lambda: self.grid.add(column, slot, quanta, flags),
            out.evaluated,
        )

    def _finish(self, out: ZoneResult) -> None:
        """At the end of a bounded input: settle who waits, and close up to the last slot that holds a reading."""
        if self.clock.now == NEVER and len(self._waiting):
            self.clock.settle_for(np.unique(self._waiting.readings.station).size)
            self._take(deque([(self._forget_waiting(), False)]), out)
        self._refuse(
            self._waiting.leave(), "future", "more than the horizon ahead of the clock when the input ended", out
        )
        self.watch.finish(out.said)
        self._closings_seen += 1
        for group in self.groups:
            if group.due > NEVER:
                group.close_at(self.grid.newest // group.cadence * group.cadence, self._closings_seen)
        self._evaluate(out, finish=True)

    def _refuse(self, readings: Readings, reason: Reason, detail: str, out: ZoneResult) -> None:
        rows = range(len(readings))
        texts, envelopes = readings.payloads.take(rows), readings.payloads.envelopes(rows)
        for part, koff, text, envelope in zip(
            readings.part.tolist(), readings.offset.tolist(), texts, envelopes, strict=True
        ):
            out.rejects.append(Reject(part, koff, reason, detail, text, envelope))

    def snapshot(self) -> dict[str, Any]:
        """Plain data, with a version."""
        return {
            "v": 1,
            "grid": self.grid.snapshot(),
            "clock": self.clock.snapshot(),
            "closed": {group.every: (group.due, group.closed, list(group.closings)) for group in self.groups},
            "closings": self._closings_seen,
            "watch": self.watch.snapshot(),
            "settled": self._settled.copy(),
            "waiting": self._waiting.snapshot(self.column),
            "held": self._held.snapshot(),
            "ozone": [group.ozone.snapshot() for group in self.groups if group.ozone],
            "revision": self._revision,
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from a snapshot. Stations are matched by id.

        Raises:
            ConfigurationError: the city file's lengths changed.
        """
        ours, theirs = self.grid.restore(kept["grid"])
        self.clock.restore(kept["clock"], ours, theirs)
        for group in self.groups:
            known = kept["closed"].get(group.every, next(iter(kept["closed"].values())))
            group.due, group.closed, group.closings = known[0], known[1], list(known[2])
            if group.ozone:
                group.ozone.restore(kept.get("ozone", []))
        self._settled[ours] = kept["settled"][theirs]
        column_now = np.full(len(kept["grid"]["stations"]), -1, np.int32)
        column_now[theirs] = ours
        self._held.restore(kept["held"], column_now)
        self._revision, self._closings_seen = kept["revision"], kept["closings"]
        self.watch.restore(kept["watch"])
        self._gone = self._waiting.restore(kept["waiting"], column_now, self.stations)


def _cut(run: _Run, begin: int, end: int) -> _Run:
    if begin == 0 and end == run.slot.size:
        return run
    return _Run(run.readings.slice(begin, end), run.slot[begin:end], run.row[begin:end])


def _cut_mask(run: _Run, mask: NDArray[np.bool_]) -> _Run:
    return _Run(run.readings.take(mask), run.slot[mask], run.row[mask])
