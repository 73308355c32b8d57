"""Which slots fire in a run of rows, and after which of them: a function of the rows alone."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from flows.arrays import B1, I64, Whole
from flows.kernels.watermark import NO_ROW
from flows.state.cadence import Cadence
from flows.zone.watermark import Watermark, WatermarkTrace, firing_rows
from schemas.slots import DAY_SLOTS

ASK_EACH_SLOTS = DAY_SLOTS
"""Up to so many slots, to ask each is quicker than to find out first which of them can fire."""


class Firings(NamedTuple):
    """Slots of one cadence that fire in a run, rising, and the rows after which they do; both of shape (n,)."""

    slots: I64
    rows: I64


class Triggers:
    """Slots of every cadence that fire in a run of rows: ends of steps, and those that lights and alerts want.

    Args:
        cadences: of the zone.
        lengths: of each cadence, in slots; lights and alerts want their multiples.
        since: newest slot of each cadence that fired for lights and alerts, shape (cadences,).
        watermark: before the run.
        trace: of the watermark over the run.
        stop: the last row of the run that is taken.

    The instruments of a ten-minute cadence have both reached slot 10 after the second row, and its step fires there:

    >>> from zoneinfo import ZoneInfo
    >>> from flows.zone.plan import Lateness
    >>> cadence = Cadence(600, np.array([0, 1]), 10, ZoneInfo("UTC"))
    >>> cadence.start(0)
    >>> watermark = Watermark(2, Lateness(horizon=60, max_wait=60, early_capacity=100))
    >>> watermark.advance(watermark.preview(np.array([0, 1], np.int32), np.array([1, 1])), rows=2)
    >>> trace = watermark.preview(np.array([0, 1], np.int32), np.array([10, 10]))
    >>> Triggers([cadence], [set()], np.array([0]), watermark, trace, stop=1).firing_rows(1)
    [1]
    """

    def __init__(
        self,
        cadences: Sequence[Cadence],
        lengths: Sequence[set[int]],
        since: I64,
        watermark: Watermark,
        trace: WatermarkTrace,
        stop: int,
    ) -> None:
        self._cadences = cadences
        self._fired, self._signalled = [cadence.fired_until for cadence in cadences], since.tolist()
        self._steps: list[Firings] = []
        self._open: list[int] | None = None
        """Rows after which a step fires that has not fired yet; none where that is to be found out."""
        self.signals: list[Firings] = []
        """Of each cadence, the slots that lights and alerts want."""
        heard, upto = watermark.heard_until(trace), int(trace.watermark[stop])
        for i, (cadence, wanted) in enumerate(zip(cadences, lengths, strict=True)):
            fired = cadence.fired_until
            last = self._signalled[i] = self._signalled[i] if wanted else fired
            slots = _candidates(
                {cadence.step, *wanted}, min(fired, last), upto, trace, heard, cadence.straggler_timeout
            )
            rows = slots
            if slots.size:
                rows = firing_rows(trace, slots, cadence.columns, heard, cadence.slots, cadence.straggler_timeout)
                slots, rows = slots[rows <= stop], rows[rows <= stop]
            steps = (slots > fired) & (slots % cadence.step == 0)
            signals = (slots > last) & _multiple(slots, wanted)
            self._steps.append(Firings(slots[steps], rows[steps]))
            self.signals.append(Firings(slots[signals], rows[signals]))

    def firing_rows(self, upto: int) -> list[int]:
        """Rows up to ``upto`` after which a step fires that has not fired yet."""
        rows = self._open_rows()
        return rows[: bisect_right(rows, upto)]

    def late(self, slot: I64, row: I64, cadence_of: Whole) -> B1:
        """Tell which readings, of rising rows, lie in a step that fired for their cadence before they came."""
        return _late(self._fired, self._steps, slot, row, cadence_of)

    def late_for_any(self, slot: I64, row: I64) -> B1:
        """Tell which records, of rising rows, lie in a step that fired for any cadence before they came."""
        late = np.zeros(slot.size, bool)
        for i in range(len(self._cadences)):
            late |= _late(self._fired, self._steps, slot, row, np.full(slot.size, i))
        return late

    def decision_rows(self, slot: I64, row: I64, cadence_of: Whole) -> Whole:
        """Positions before which lights and alerts must look: the reading there is late for a slot that has fired.

        Of several behind the same firings only the first is listed: after it nothing is left to look at.
        """
        late = np.flatnonzero(_late(self._signalled, self.signals, slot, row, cadence_of))
        if not late.size:
            return late
        firings = np.zeros(late.size, np.int64)
        for fired in self.signals:
            firings += np.searchsorted(fired.rows, row[late], side="left")
        return late[np.diff(firings, prepend=-1) > 0]

    def firings_until(self, row: int) -> int:
        """Count the rows up to ``row`` after which a step fires that has not fired yet."""
        return bisect_right(self._open_rows(), row)

    def _open_rows(self) -> list[int]:
        if self._open is None:
            rows = [
                rows[steps > cadence.fired_until]
                for cadence, (steps, rows) in zip(self._cadences, self._steps, strict=True)
            ]
            self._open = np.unique(np.concatenate(rows)).tolist()
        return self._open

    def fire(self, upto: int, number: int, below: int | None = None) -> int:
        """Fire the steps up to a row, firing by firing.

        Args:
            upto: the row.
            number: of the zone's newest firing.
            below: only steps before this slot.

        Returns:
            The number of the zone's newest firing then.
        """
        self._open = None
        new: dict[int, list[tuple[Cadence, int]]] = {}
        for cadence, (steps, rows) in zip(self._cadences, self._steps, strict=True):
            pending = (steps > cadence.fired_until) & (rows <= upto)
            if below is not None:
                pending &= steps < below
            for step, row in zip(steps[pending].tolist(), rows[pending].tolist(), strict=True):
                new.setdefault(row, []).append((cadence, step))
        for row in sorted(new):
            number += 1
            for cadence, step in new[row]:
                cadence.fire(step, number)
        return number


def _candidates(lengths: set[int], after: int, upto: int, trace: WatermarkTrace, heard: I64, timeout: int) -> I64:
    """Slots in (after, upto] that may fire: multiples of the lengths.

    Over long spans only those that an instrument, the watermark or the timeout can make fire: none in between fires.
    """
    if upto - after <= ASK_EACH_SLOTS:
        slots = np.arange(after + 1, upto + 1)
        return slots[_multiple(slots, lengths)]
    reached = np.unique(np.concatenate([trace.slot, trace.watermark, heard]))
    marks = np.concatenate([reached, reached - timeout])
    slots = np.unique(np.concatenate([marks // length * length for length in lengths]))
    return slots[(slots > after) & (slots <= upto)]


def _multiple(slots: I64, lengths: Iterable[int]) -> B1:
    multiple = np.zeros(slots.size, bool)
    for length in lengths:
        multiple |= slots % length == 0
    return multiple


def _late(before: Sequence[int], firings: Sequence[Firings], slot: I64, row: I64, cadence_of: Whole) -> B1:
    """Tell which readings lie in a slot that fired before they came: before the run, or in it before their row."""
    late = np.zeros(slot.size, bool)
    first = min((int(rows[0]) for _, rows in firings if rows.size), default=NO_ROW)
    if row[-1] <= first and slot.min() > max(before):
        return late
    for i, (slots, rows) in enumerate(firings):
        newest = np.append(before[i], slots)[np.searchsorted(rows, row, side="left")]
        late |= (cadence_of == i) & (slot <= newest)
    return late
