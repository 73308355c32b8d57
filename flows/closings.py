"""Which slots close in a run of rows, and after which of them: a function of the rows alone."""

from collections.abc import Sequence

import numpy as np

from flows.arrivals import I64
from flows.clock import Clock, Time, closing_rows
from flows.group import Group


class Closings:
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
        self, groups: Sequence[Group], lengths: Sequence[set[int]], since: I64, clock: Clock, time: Time, stop: int
    ) -> None:
        self._groups = groups
        self._before = [group.due for group in groups]
        self._of: list[tuple[I64, I64]] = []
        self.asked: list[tuple[I64, I64]] = []
        """Of each group the slots asked for, in rising order, and the rows after which they close."""
        heard = clock.heard_from(time)
        reached = np.unique(np.concatenate([time.slot, heard]))
        for group, some, last in zip(groups, lengths, since.tolist(), strict=True):
            marks = np.concatenate([reached, reached - group.grace])  # between these nothing closes that did not before
            slots = np.unique(np.concatenate([marks // length * length for length in {group.step, *some}]))
            slots = slots[(slots > min(group.due, last)) & (slots <= time.clock[stop])]
            rows = slots
            if slots.size:
                rows = closing_rows(time, slots, group.columns, heard, group.cadence, group.grace)
                slots, rows = slots[rows <= stop], rows[rows <= stop]
            steps = (slots > group.due) & (slots % group.step == 0)
            asked = (slots > last) & np.logical_or.reduce([slots % length == 0 for length in some])
            self._of.append((slots[steps], rows[steps]))
            self.asked.append((slots[asked], rows[asked]))

    def events(self, upto: int) -> list[int]:
        """Rows up to ``upto`` after which something closes that is open still."""
        rows = [
            rows[(steps > group.due) & (rows <= upto)]
            for group, (steps, rows) in zip(self._groups, self._of, strict=True)
        ]
        return [int(row) for row in np.unique(np.concatenate(rows))]

    def closed_before(self, row: I64) -> I64:
        """Newest step closed before each row, shape (groups, n)."""
        return np.stack(
            [
                np.concatenate([[due], steps])[np.searchsorted(rows, row, side="left")]
                for due, (steps, rows) in zip(self._before, self._of, strict=True)
            ]
        )

    def close(self, upto: int, seen: int, below: int | None = None) -> int:
        """Note what is closed after row ``upto``, closing by closing.

        Args:
            upto: the row.
            seen: how many closings the zone has seen.
            below: only steps before this slot.

        Returns:
            How many closings the zone has seen then.
        """
        new: dict[int, list[tuple[Group, int]]] = {}
        for group, (steps, rows) in zip(self._groups, self._of, strict=True):
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
