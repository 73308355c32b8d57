"""Which steps close in a run of rows, and after which of them: a function of the rows alone."""

from collections.abc import Sequence

import numpy as np

from flows.arrivals import I64
from flows.clock import Clock, Time, closing_rows
from flows.evaluate import Group


class Closings:
    """Steps of every group that close in a run.

    Args:
        groups: the zone's stations by cadence.
        clock: before the run.
        time: what the clock does over the run.
        stop: the last row of it that is taken.
    """

    def __init__(self, groups: Sequence[Group], clock: Clock, time: Time, stop: int) -> None:
        self._groups = groups
        self._before = [group.due for group in groups]
        self._of = [_closings(group, clock, time, stop) for group in groups]

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


def _closings(group: Group, clock: Clock, time: Time, stop: int) -> tuple[I64, I64]:
    """Steps of a group, in rising order, and the rows after which they close."""
    heard = clock.heard_from(time)
    reached = np.unique(np.concatenate([time.reach.slots, heard]))
    marks = np.concatenate([reached, reached - group.grace])  # between these nothing closes that did not before
    steps = np.unique(marks // group.step) * group.step
    steps = steps[(steps > group.due) & (steps <= time.clock[stop])]
    if not steps.size:
        return steps, steps
    rows = closing_rows(time, steps, group.columns, heard, group.cadence, group.grace)
    return steps[rows <= stop], rows[rows <= stop]
