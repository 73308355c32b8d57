"""One zone of the city: from readings in their order to what can be said of its air.

A reading is buffered while it lies too far ahead of the watermark, is too late behind the horizon, or goes on the grid.
Slots fire as the watermark passes; what a late reading touches is evaluated again at the next firing. All of it is a
function of the sequence of readings alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from flows.analyses.base import Results, ZoneView
from flows.arrays import B1, F64, I32
from flows.decode.batch import InputPartition, Readings, Record
from flows.kernels import quality, rolling
from flows.signals.base import NoSignals, Signals
from flows.state.cadence import Cadence
from flows.state.grid import PAGE_SLOTS, Grid, Taken
from flows.state.records import Records
from flows.state.second_values import SecondValues
from flows.zone.days import LearningDays
from flows.zone.intake import Admitted, Intake
from flows.zone.plan import ZonePlan, ZoneSettings
from flows.zone.progress import Progress
from flows.zone.result import Accepted, AcceptedRecord, ZoneResult
from flows.zone.run import GridCells, Run
from flows.zone.triggers import Triggers
from schemas.rejected import Reason, Reject
from schemas.slots import NEVER
from schemas.snapshots import check_version

VERSION = 3
"""Of the snapshot: 2 keeps analyses as pages by name, and early readings by the name of their partition; 3 keeps what
fails on each side, first and second values, of early readings their notes and how much of a message was cut, and the
weather that lights show."""
DEFAULT = ZoneSettings()
SLOWEST_SLOTS = 60
"""The longest cadence. The grid's shape follows the city file's lengths alone, so that an instrument of any cadence may
come and go."""


class Zone:
    """State of one zone, and the order in which everything happens in it.

    ``_advance`` is the one place where slots fire: look, fire, evaluate, learn, decide, move. It has more than 15
    methods, because what is put where, and what fires before it, is one order that must be read in one place.

    Args:
        plan: what the zone is made of.
        settings: sizes inside.
    """

    def __init__(self, plan: ZonePlan, settings: ZoneSettings = DEFAULT) -> None:
        self.plan, self.id = plan, plan.name
        self.stations = plan.stations
        self.column = np.full(len(plan.instruments), -1, np.int32)
        self.column[self.stations] = np.arange(self.stations.size)
        mine = [plan.instruments[i] for i in self.stations.tolist()]
        every = np.array([instrument.every for instrument in mine])
        self.cadences = [
            Cadence(int(each), np.flatnonzero(every == each), plan.step, plan.timezone) for each in np.unique(every)
        ]
        self._cadence_of = np.searchsorted(np.unique(every), every)
        self._fail, self._suspect = plan.spans()
        self._horizon = plan.lateness.horizon
        analyses = plan.analyses()
        longest = max((analysis.lookback for analysis in analyses), default=0)
        lookback = longest + 2 * max(plan.step, SLOWEST_SLOTS)
        ids = [instrument.id for instrument in mine]
        behind, ahead = self._horizon + lookback + 2 * PAGE_SLOTS, self._horizon + 4 * PAGE_SLOTS
        self.grid = Grid(plan.measured, ids, behind, ahead, settings.spare_slots)
        self.records = Records(plan.recorded)
        self.second_values = SecondValues()
        places = np.array([(instrument.lat, instrument.lon) for instrument in mine]).reshape(-1, 2)
        view = ZoneView(self.id, plan.measured, ids, places, self.grid, self.cadences, self.records)
        for analysis in analyses:
            analysis.attach(view)
        days = LearningDays(plan.timezone, self._horizon) if any(a.learns for a in analyses) else None
        self.progress = Progress(view, analyses, longest, days, settings.evaluate_slots)
        self.intake = Intake(plan.measured, self.column, self.stations, plan.lateness, every)
        self.watermark = self.intake.watermark
        self.signals: Signals = (
            plan.signals(self.grid, self.cadences) if plan.signals else NoSignals(len(self.cadences))
        )
        self.signals.attach(self.progress.late)

    def take(
        self, readings: Readings, parts: Sequence[InputPartition] = (), *, end_of_input: bool = False
    ) -> ZoneResult:
        """Take readings of this zone in their order.

        Args:
            readings: of the zone's instruments, and records.
            parts: input partitions, by the indices that the readings bear.
            end_of_input: close what is still open.
        """
        intake = self.intake
        out = ZoneResult(intake.partitions.known)
        self._refuse(intake.take_orphaned(), "unknown_station", "its station left the city file while it waited", out)
        for admitted in intake.runs(intake.of_known_partitions(readings, parts)):
            self._settle(admitted, out)
        if end_of_input:
            self._finish(out)
        self._evaluate(out)
        out.waiting = self._waiting()
        return out

    def on_idle(self, minutes: int) -> ZoneResult:
        """Say what lights must be told because no slot has fired for so many minutes, or a text has ended."""
        out = ZoneResult(self.intake.partitions.known, waiting=self._waiting())
        self.signals.on_idle(minutes, out.signals)
        return out

    def _waiting(self) -> I32:
        """Partition of each reading in the early buffer; records only in the zone that books them."""
        early = self.intake.early.readings
        return early.part if self.plan.books_records else early.part[early.station >= 0]

    def adopt(self, fired: dict[int, int], revision: int) -> None:
        """Take over from a zone whose state was lost: what had fired, by cadence in seconds, and its revisions."""
        for cadence in self.cadences:
            if cadence.fired_until > NEVER:
                cadence.fire(fired.get(cadence.every, NEVER), 0)
        self._evaluate(ZoneResult())
        self.progress.revision = max(self.progress.revision, revision)

    def _settle(self, admitted: Admitted, out: ZoneResult) -> None:
        """Put readings on the grid in their order, and fire slots on the way."""
        run, trace, stop, too_late, expired = admitted
        detail = "more than the horizon ahead of the clock, for as long as readings may wait"
        self._refuse(expired, "future", detail, out)
        self._refuse(too_late, "too_late", "older than the horizon behind the clock", out)
        if len(run) and self.cadences[0].fired_until == NEVER:
            self._start(int(trace.watermark[np.argmax(trace.watermark > NEVER)]))
        if self.cadences[0].fired_until == NEVER:
            return
        triggers = Triggers(self.cadences, self.signals.lengths, self.signals.fired, self.watermark, trace, stop)
        self.signals.schedule(triggers.signals)
        begin = 0
        while begin < len(run):
            fits = run.slot[begin:] <= self.grid.reach
            end = begin + (fits.size if fits.all() else int(np.argmin(fits)))
            if end > begin:
                self._put(run.slice(begin, end), triggers, out)
            if end < len(run):
                self._make_room(int(run.row[end]), int(run.slot[end]), triggers, out)
            begin = end
        self._advance(triggers, stop, out)

    def _start(self, watermark: int) -> None:
        """When the watermark is set, a horizon of slots before it is open."""
        self.progress.start(watermark - self._horizon - 1)
        self.signals.start(watermark - 1)

    def _make_room(self, row: int, slot: int, triggers: Triggers, out: ZoneResult) -> None:
        """Move the grid on, so that the reading of a row fits; what fired before it is evaluated first."""
        self._advance(triggers, row - 1, out, evaluate=True, room_for=slot)
        if slot <= self.grid.reach:
            return
        # The reading ends a gap: what it fires lies before it.
        self.signals.look_into_gap(row, slot - 1, self.progress.firing)
        self._advance(triggers, row, out, evaluate=True, room_for=slot, below=slot)

    def _advance(
        self,
        triggers: Triggers,
        row: int,
        out: ZoneResult,
        *,
        evaluate: bool = False,
        room_for: int | None = None,
        below: int | None = None,
    ) -> None:
        """Fire the slots up to a row: look, fire, evaluate, learn, decide, move; in this order and nowhere else.

        While late readings are about, firing by firing: they get in at the first one.

        Args:
            triggers: of the run.
            row: what fires after it stays open.
            out: takes what is said.
            evaluate: not later, with more that fires: late readings are about to get in, or the grid to move.
            room_for: a slot that must fit on the grid afterwards.
            below: fire only steps before this slot; signals have looked at them.
        """
        for firing in triggers.firing_rows(row) if self.progress.late and below is None else ():
            self._look(triggers, firing + 1)
            self.progress.firing = triggers.fire(firing, self.progress.firing)
            self._evaluate(out)
        if below is None:
            self._look(triggers, row + 1)
        self.progress.firing = triggers.fire(row, self.progress.firing, below)
        if evaluate:
            self._evaluate(out)
        if room_for is not None and room_for > self.grid.reach:
            self.progress.move()

    def _look(self, triggers: Triggers, before: int) -> None:
        """Let signals look at what fires before a row, with what is on the grid now."""
        self.signals.look(before, lambda row: self.progress.firing + triggers.firings_until(row))

    def _put(self, run: Run, triggers: Triggers, out: ZoneResult) -> None:
        """Take readings and records that all fit on the grid."""
        if not len(run):
            return
        if run.readings.records is not None:
            self._put_records(run, triggers, out)
            return
        readings = run.readings
        column = self.column[readings.station]
        second = self.intake.second_of(readings)
        taken = self.grid.take(column, second, readings.values)
        if self.plan.averages_second_values:
            taken = self.second_values.admit(taken, column, second, readings.values)
        run, fresh = self._without_repeated(run, taken, out)
        readings, column = run.readings, self.column[run.readings.station]
        if not fresh.all():
            readings = replace(readings, values=np.where(fresh, readings.values, np.nan))
        gridded = readings.values[:, : self.grid.width]
        flags = quality.judge(gridded, readings.status, self._fail, self._suspect)
        out.accepted.append(Accepted(readings, flags))
        if not len(run):
            return
        codes = quality.sides(gridded, readings.status, flags, self._fail)
        quanta = rolling.quantise(np.where(flags <= 3, gridded, 0.0))
        late = triggers.late(run.slot, run.row, self._cadence_of[column])
        carried = _carried(readings, self.grid.width) if self.signals.wants_carried else None
        cells = GridCells(column, run.slot, run.row, quanta, codes, late, carried)
        if late.any() or self.progress.late:
            self._put_between(cells, triggers, out)
        else:
            self._add(cells, triggers)

    def _without_repeated(self, run: Run, taken: Taken, out: ZoneResult) -> tuple[Run, B1]:
        """Refuse rows that bring no new value; return the others, and which of their values are fresh."""
        repeated = taken.repeated
        if not repeated.any():
            return run, taken.fresh
        superseded = repeated & taken.differs.any(axis=1)
        readings = run.readings
        detail = "every value of this second was taken before"
        self._refuse(readings.take(repeated & ~superseded), "duplicate", detail, out)
        detail = "another value of this second was taken before, and stays; see second_values of the city file"
        self._refuse(readings.take(superseded), "superseded", detail, out)
        return run.part(~repeated), taken.fresh[~repeated]

    def _put_between(self, cells: GridCells, triggers: Triggers, out: ZoneResult) -> None:
        """Add readings up to each firing, fire, and go on: with late ones about, its place among them counts."""
        self._advance(triggers, int(cells.row[0]) - 1, out, evaluate=True)
        begin = 0
        for firing in [*triggers.firing_rows(int(cells.row[-1]) - 1), None]:
            end = cells.row.size if firing is None else int(np.searchsorted(cells.row, firing, side="right"))
            if begin < end:
                self._add(cells.slice(begin, end), triggers)
            if firing is not None:
                self._advance(triggers, firing, out, evaluate=True)
            begin = end

    def _add(self, cells: GridCells, triggers: Triggers) -> None:
        """Put readings on the grid, and late ones into their buffer, where signals see them too.

        A slot that fired for signals before a reading that is late for it is looked at first.
        """
        cuts = triggers.decision_rows(cells.slot, cells.row, self._cadence_of[cells.column])
        for begin, end in pairwise([0, *cuts.tolist(), cells.row.size]):
            if begin == end:
                continue
            self._look(triggers, int(cells.row[begin]))
            column, slot, _, quanta, flags, late, carried = cells.slice(begin, end)
            if carried is not None:
                self.signals.put_carried(column, slot, carried)
            if late.any():
                self.progress.late.add(column[late], slot[late], quanta[late], flags[late])
                column, slot, quanta, flags = column[~late], slot[~late], quanta[~late], flags[~late]
            if column.size:
                self.grid.add(column, slot, quanta, flags)

    def _put_records(self, run: Run, triggers: Triggers, out: ZoneResult) -> None:
        """Take a run in which there are records: one that is late parts it, for what fired before comes first."""
        records = run.readings.records
        assert records is not None
        at = np.flatnonzero([record is not None for record in records.tolist()])
        late = triggers.late_for_any(run.slot[at], run.row[at]) if at.size else np.zeros(0, bool)
        begin = 0
        for position, is_late in zip(at.tolist(), late.tolist(), strict=True):
            if is_late:
                self._put(run.slice(begin, position).without(at - begin), triggers, out)
                self._advance(triggers, int(run.row[position]) - 1, out, evaluate=True)
                begin = position + 1
            self._take_record(run.slice(position, position + 1), records[position], out, late=is_late)
        self._put(run.slice(begin, len(run)).without(at - begin), triggers, out)

    def _take_record(self, run: Run, record: Record, out: ZoneResult, *, late: bool) -> None:
        slot = int(run.slot[0])
        if not self.records.take(slot, record):
            self._refuse(run.readings, "duplicate", "its id was taken before", out)
            return
        if self.plan.books_records:
            out.records.append(AcceptedRecord(record, int(run.readings.part[0]), int(run.readings.offset[0])))
        if late:
            self.progress.late.records.append((slot, record))
        else:
            self.records.put(slot, record)

    def _evaluate(self, out: ZoneResult, *, finish: bool = False) -> None:
        """Evaluate what is due, and decide what was looked at: with faults that were found at steps before."""
        results = Results()
        self.progress.evaluate(results, finish=finish)
        out.results.add(results)
        self.signals.decide(results.faults, out.signals)

    def _finish(self, out: ZoneResult) -> None:
        """At the end of a bounded input: settle early readings, and close up to the last slot that holds a reading."""
        for admitted in self.intake.finish():
            self._settle(admitted, out)
        detail = "more than the horizon ahead of the clock when the input ended"
        self._refuse(self.intake.early.drain(), "future", detail, out)
        self.signals.look_at_end(self.progress.firing)
        self.progress.firing += 1
        for cadence in self.cadences:
            if cadence.fired_until > NEVER:
                cadence.fire(self.grid.newest // cadence.slots * cadence.slots, self.progress.firing)
        self._evaluate(out, finish=True)

    def _refuse(self, readings: Readings, reason: Reason, detail: str, out: ZoneResult) -> None:
        if len(readings) and not self.plan.books_records:
            readings = readings.take(readings.station >= 0)
        rows = range(len(readings))
        texts, envelopes = readings.payloads.take(rows), readings.payloads.envelopes(rows)
        for part, offset, text, envelope in zip(
            readings.part.tolist(), readings.offset.tolist(), texts, envelopes, strict=True
        ):
            out.rejects.append(Reject(part, offset, reason, detail, text, envelope))

    def snapshot(self) -> dict[str, Any]:
        """Plain data, with a version; pages of the grid and of analyses that did not change are the same objects."""
        if self.cadences[0].fired_until > NEVER:
            self.second_values.forget(self.grid.oldest)
        return {
            "v": VERSION,
            "grid": self.grid.snapshot(),
            "watch": self.signals.snapshot(),
            **self.intake.snapshot(),
            "records": self.records.snapshot(),
            "second_values": self.second_values.snapshot(),
            **self.progress.snapshot(),
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from a snapshot. Instruments are matched by id.

        Raises:
            ConfigurationError: the snapshot is of a version that this code does not read, or lengths of the city file
                changed.
        """
        version = check_version(kept, f"zone {self.id}", (1, 2, VERSION))
        ours, theirs = self.grid.restore(kept["grid"])
        column_now = np.full(len(kept["grid"]["stations"]), -1, np.int32)
        column_now[theirs] = ours
        recorded = {kind.topic: kind for kind in self.plan.recorded}
        self.progress.restore(kept, version, column_now, recorded)
        self.intake.restore(kept, ours, theirs, column_now, recorded)
        self.signals.restore(kept["watch"])
        if version > 1:
            self.records.restore(kept["records"])
            self.second_values.restore(kept.get("second_values", []), column_now)


def _carried(readings: Readings, gridded: int) -> F64:
    """Values that are not gridded, shape (n, C); NaN where the instrument fails as a whole."""
    failed = np.all(quality.STATUS_FLAG[readings.status] >= quality.FAIL, axis=1, keepdims=True)
    return np.where(failed, np.nan, readings.values[:, gridded:])
