"""Stamps near the end of a slow cadence's interval: they lie on it."""

import numpy as np

from flows.arrays import I32, I64, Whole
from flows.state.grid import second_of
from schemas.slots import SECOND_US, SLOT_S


class Snapping:
    """Times as the grid takes them: of a cadence above a minute, those near one of its multiples lie on that.

    Args:
        every: cadence of each instrument in seconds, by column.
        share: of the cadence, up to which a time is near; 0 for never.

    An hourly station that reports three seconds past three, or two before four, means three and four:

    >>> hourly = Snapping(np.array([3600]), share=0.05)
    >>> times = np.array([3 * 3600 + 3, 4 * 3600 - 2, 4 * 3600 + 181]) * 1_000_000
    >>> (hourly.second_of(times, np.zeros(3, np.int32)) - 3 * 3600).tolist()
    [0, 3600, 3781]
    """

    def __init__(self, every: Whole, share: float) -> None:
        slow = np.where(every > SLOT_S, every, 0).astype(np.int64)
        self._cadence = np.append(slow, 0) * SECOND_US  # the last is for records, whose column is -1
        self._near = np.floor(self._cadence * share).astype(np.int64)
        self._any = bool(self._near.any())

    def second_of(self, observed: I64, column: I32) -> I64:
        """Whole seconds since 1970, rounded up, of times in microseconds.

        Args:
            observed: microseconds since 1970, shape (n,).
            column: of the instruments, below 0 for records, likewise.
        """
        if not self._any:
            return second_of(observed)
        cadence, near = self._cadence[np.maximum(column, -1)], self._near[np.maximum(column, -1)]
        past = observed % np.maximum(cadence, 1)
        moved = np.where(past <= near, observed - past, observed)
        moved = np.where((near > 0) & (cadence - past <= near), observed - past + cadence, moved)
        return second_of(np.where(near > 0, moved, observed))
