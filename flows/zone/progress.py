"""What has fired and is not evaluated: late data first, then up to a day at once, with a lesson after each day."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from flows.analyses.base import Analysis, Results, Span, ZoneView
from flows.analyses.evaluate import Evaluation
from flows.analyses.ozone_hours import OzoneHours
from flows.arrays import Whole
from flows.zone.days import LearningDays
from flows.zone.late import LateBuffer
from schemas.slots import DAY_SLOTS


class Progress:
    """The evaluation of a zone, as far as its cadences have fired.

    Args:
        view: of the zone.
        analyses: in their order.
        longest: slots that any of them looks back.
        days: that are learnt from; none where nothing learns.
        evaluate_slots: slots that are evaluated in one go.
    """

    def __init__(
        self,
        view: ZoneView,
        analyses: Sequence[Analysis],
        longest: int,
        days: LearningDays | None,
        evaluate_slots: int = DAY_SLOTS,
    ) -> None:
        self._view, self._longest, self._days, self._evaluate_slots = view, longest, days, evaluate_slots
        self._evaluation = Evaluation(view, analyses)
        self.late = LateBuffer()
        self.firing = 0
        """Number of the newest firing: rows after which steps fired."""
        self.revision = 0

    def start(self, slot: int) -> None:
        """Begin at a slot: the watermark is set."""
        for cadence in self._view.cadences:
            cadence.start(slot)
        if self._days is not None:
            self._days.start(slot)
        self.move()

    def evaluate(self, results: Results, *, finish: bool = False) -> None:
        """Evaluate late data, then what has fired, all cadences together; learn from the days that end.

        Args:
            results: takes what the analyses say.
            finish: put late readings in even where nothing has fired since they came.
        """
        self._put_late(results, finish=finish)
        while self._evaluate_some(results) or self._learn(results):
            pass

    def move(self) -> None:
        """Forget what no evaluation can ask for any more."""
        self._view.grid.move(min(cadence.evaluated_until for cadence in self._view.cadences))
        self._view.records.forget(self._view.grid.oldest)

    def _put_late(self, results: Results, *, finish: bool) -> None:
        """Put late readings of cadences that have fired into their slots, and evaluate again what they touch."""
        if not self.late:
            return
        everything = finish or self._learning_firing() is not None
        for cadence in self._view.cadences:
            rows = self.late.take(cadence.columns) if cadence.due or everything else None
            if rows is not None:
                column, slot, quanta, flags = rows
                with self._evaluation.revising(self._span(cadence, np.unique(column), int(slot.min())), results):
                    self._view.grid.add(column, slot, quanta, flags)
        if self.late.records and (everything or any(cadence.due for cadence in self._view.cadences)):
            self._put_late_records(results)

    def _put_late_records(self, results: Results) -> None:
        """Let late records take effect, and have every cadence evaluated again from the oldest on."""
        first = self.late.oldest_record
        with ExitStack() as stack:
            for cadence in reversed(self._view.cadences):
                if first <= cadence.evaluated_until:
                    span = self._span(cadence, cadence.columns, first)._replace(records=True)
                    stack.enter_context(self._evaluation.revising(span, results))
            for slot, record in self.late.take_records():
                self._view.records.put(slot, record)

    def _span(self, cadence: Any, columns: Whole, first: int) -> Span:
        self.revision += 1
        until = min(cadence.fired_until, self._view.grid.reach)
        return Span(cadence, columns, first, until, self.revision, self.firing)

    def _evaluate_some(self, results: Results) -> bool:
        """Evaluate up to ``evaluate_slots`` of what has fired; false where nothing is left before the next lesson."""
        grid, cadences = self._view.grid, self._view.cadences
        oldest = min((cadence.evaluated_until for cadence in cadences if cadence.due), default=None)
        if oldest is None:
            return False
        moved, lesson, newest = False, self._learning_firing(), max(grid.newest, self._view.records.newest)
        for cadence in cadences:
            until = min(cadence.fired_until, cadence.floor(oldest + self._evaluate_slots + cadence.step))
            if lesson is not None:
                until = min(until, cadence.fired_before(lesson))
            if until <= cadence.evaluated_until:
                continue
            moved = True
            if newest <= cadence.evaluated_until - self._longest - cadence.slots:
                cadence.evaluated(until)  # no reading and no record that an analysis could still see
                continue
            if until > grid.reach:
                self.move()
            self.revision += 1
            self._evaluation.close(cadence, until, self.revision, results)
        return moved

    def _learning_firing(self) -> int | None:
        """Number of the firing before which the next day is learnt; none where it has not come."""
        return self._days.firing(self._view.cadences) if self._days is not None else None

    def _learn(self, results: Results) -> bool:
        """Learn from the next day that lies past the horizon, if its time has come."""
        if self._days is None or self._learning_firing() is None:
            return False
        day = self._days.take()
        if day.last > self._view.grid.oldest:
            self._evaluation.learn(day, results)
        return True

    def snapshot(self) -> dict[str, Any]:
        """Plain data; pages of analyses that did not change are the same objects."""
        return {
            "closed": {cadence.every: cadence.snapshot() for cadence in self._view.cadences},
            "closings": self.firing,
            "held": self.late.snapshot(),
            "late_records": self.late.snapshot_records(),
            "analyses": {analysis.name: analysis.snapshot() for analysis in self._evaluation.analyses},
            "learnt": self._days.snapshot() if self._days is not None else None,
            "revision": self.revision,
        }

    def restore(self, kept: dict[str, Any], version: int, column_now: Any, recorded: Any) -> None:
        """Go on from a snapshot.

        Args:
            kept: the zone's snapshot.
            version: of it.
            column_now: of each column then, the column now, -1 where the instrument has left.
            recorded: kinds of records by topic.
        """
        for cadence in self._view.cadences:
            cadence.restore(kept["closed"].get(cadence.every, next(iter(kept["closed"].values()))))
        self.late.restore(kept["held"], column_now)
        self.revision, self.firing = kept["revision"], kept["closings"]
        if version == 1:  # of its analyses only ozone's hours had a state
            for analysis in self._evaluation.analyses:
                if isinstance(analysis, OzoneHours):
                    analysis.adopt(kept.get("ozone", []))
            return
        self.late.restore_records(kept["late_records"], recorded)
        columns = {name: i for i, name in enumerate(self._view.instruments)}
        for analysis in self._evaluation.analyses:
            analysis.restore(version, kept["analyses"].get(analysis.name, {}), columns)
        if self._days is not None and kept["learnt"] is not None:
            self._days.restore(kept["learnt"])
