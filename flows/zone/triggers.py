"""Which slots close in a run of rows, and after which of them: a function of the rows alone."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.arrays import I64
from flows.kernels.turns import NO_ROW
from flows.state.cadence import Cadence
from flows.zone.watermark import Time, Watermark, closing_rows

FEW = 1440
"""Up to so many slots, to ask each is quicker than to find out first which of them can close."""


class Firings(NamedTuple):
    """Slots of one group that close in a run, in rising order, and the rows after which they do; both of shape (n,)."""

    slots: I64
    rows: I64


class Triggers:
    """Slots of every group that close in a run: steps, which means end with, and those that lights and alerts ask for.

    Args:
        groups: the zone's stations by cadence.
        lengths: of each group, in slots; their multiples are asked for.
        since: newest slot closed of each group, of those asked for, shape (groups,).
        clock: before the run.
        time: what the clock does over the run.
        stop: the last row of it that is taken.
    """

    def __init__(
        self,
        groups: Sequence[Cadence],
        lengths: Sequence[set[int]],
        since: I64,
        clock: Watermark,
        time: Time,
        stop: int,
    ) -> None:
        self._groups = groups
        self._due, self._since = [group.due for group in groups], since.tolist()
        self._steps: list[Firings] = []
        self.asked: list[Firings] = []
        """Of each group, those of the slots asked for."""
        heard, upto = clock.heard_from(time), int(time.clock[stop])
        for group, some, last in zip(groups, lengths, self._since, strict=True):
            slots = _candidates({group.step, *some}, min(group.due, last), upto, time.slot, heard, group.grace)
            rows = slots
            if slots.size:
                rows = closing_rows(time, slots, group.columns, heard, group.cadence, group.grace)
                slots, rows = slots[rows <= stop], rows[rows <= stop]
            steps = (slots > group.due) & (slots % group.step == 0)
            asked = (slots > last) & _multiple(slots, some)
            self._steps.append(Firings(slots[steps], rows[steps]))
            self.asked.append(Firings(slots[asked], rows[asked]))

    def events(self, upto: int) -> list[int]:
        """Rows up to ``upto`` after which something closes that is open still."""
        rows = [
            rows[(steps > group.due) & (rows <= upto)]
            for group, (steps, rows) in zip(self._groups, self._steps, strict=True)
        ]
        return [int(row) for row in np.unique(np.concatenate(rows))]

    def late(self, slot: I64, row: I64, group_of: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Tell which readings, of rising rows, lie in a step that closed for their group before they came."""
        return _late(self._due, self._steps, slot, row, group_of)

    def cuts(self, slot: I64, row: I64, group_of: NDArray[np.integer]) -> NDArray[np.integer]:
        """Return where readings stand that are late for a slot asked for: what closed is looked at before they get in.

        Of those that are late behind the same closings the first is enough: after it nothing is left to look at.
        """
        late = np.flatnonzero(_late(self._since, self.asked, slot, row, group_of))
        if not late.size:
            return late
        closings = np.zeros(late.size, np.int64)
        for ticks in self.asked:
            closings += np.searchsorted(ticks.rows, row[late], side="left")
        return late[np.diff(closings, prepend=-1) > 0]

    def close(self, upto: int, seen: int, below: int | None = None) -> int:
        """Note what is closed after row ``upto``, closing by closing.

        Args:
            upto: the row.
            seen: how many closings the zone has seen.
            below: only steps before this slot.

        Returns:
            How many closings the zone has seen then.
        """
        new: dict[int, list[tuple[Cadence, int]]] = {}
        for group, (steps, rows) in zip(self._groups, self._steps, strict=True):
            open_still = (steps > group.due) & (rows <= upto)
            if below is not None:
                open_still &= steps < below
            for step, row in zip(steps[open_still].tolist(), rows[open_still].tolist(), strict=True):
                new.setdefault(row, []).append((group, step))
        for row in sorted(new):
            seen += 1
            for group, step in new[row]:
                group.close_at(step, seen)
        return seen


def _candidates(lengths: set[int], after: int, upto: int, slot: I64, heard: I64, grace: int) -> I64:
    """Multiples of some lengths in (after, upto]: all, or of many those with which others close."""
    if upto - after <= FEW:
        slots = np.arange(after + 1, upto + 1)
        return slots[_multiple(slots, lengths)]
    reached = np.unique(np.concatenate([slot, heard]))
    marks = np.concatenate([reached, reached - grace])  # between these nothing closes that did not before
    slots = np.unique(np.concatenate([marks // length * length for length in lengths]))
    return slots[(slots > after) & (slots <= upto)]


def _multiple(slots: I64, lengths: Iterable[int]) -> NDArray[np.bool_]:
    found = np.zeros(slots.size, bool)
    for length in lengths:
        found |= slots % length == 0
    return found


def _late(
    before: Sequence[int], ticks: Sequence[Firings], slot: I64, row: I64, group_of: NDArray[np.integer]
) -> NDArray[np.bool_]:
    """Tell which readings lie in a slot that closed before they came: before the run, or in it before their row."""
    late = np.zeros(slot.size, bool)
    first = min((int(rows[0]) for _, rows in ticks if rows.size), default=NO_ROW)
    if row[-1] <= first and slot.min() > max(before):
        return late
    for i, (slots, rows) in enumerate(ticks):
        newest = np.append(before[i], slots)[np.searchsorted(rows, row, side="left")]
        late |= (group_of == i) & (slot <= newest)
    return late
