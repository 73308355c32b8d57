"""Second values of one second: averaged with the first, where the city file says so."""

from typing import Any

import numpy as np

from flows.arrays import F64, I32, I64
from flows.kernels.rolling import quantise
from flows.state.grid import Taken, slot_of

MOST = 100
"""Values beside the first of a second; more are superseded."""


class SecondValues:
    """Different values that came for a second after its first, as far as a slot's first value is known.

    The same value again is a duplicate, so that a file played twice changes nothing, and the order does not matter.

    >>> values, column, second = np.array([[10.0], [12.0], [12.0]]), np.zeros(3, np.int32), np.full(3, 60)
    >>> new, differs = np.array([[True], [False], [False]]), np.array([[False], [True], [True]])
    >>> taken = Taken(new, differs, np.array([False, True, True]))
    >>> admitted = SecondValues().admit(taken, column, second, values)
    >>> admitted.fresh[:, 0].tolist(), admitted.repeated.tolist()
    ([True, True, False], [False, False, True])
    """

    def __init__(self) -> None:
        self._quanta: dict[tuple[int, int, int], set[int]] = {}
        """By column, second and value."""

    def admit(self, taken: Taken, column: I32, second: I64, values: F64) -> Taken:
        """Let values count that differ from those known of their second.

        Args:
            taken: of the grid, n rows.
            column: of each row's instrument, shape (n,).
            second: shape (n,).
            values: shape (n, V).
        """
        if not taken.differs.any():
            return taken
        fresh, differs, repeated = taken.fresh.copy(), taken.differs.copy(), taken.repeated.copy()
        for row, value in np.argwhere(taken.differs).tolist():
            known = self._quanta.setdefault((int(column[row]), int(second[row]), value), set())
            quanta = int(quantise(values[row : row + 1, value])[0])
            if quanta in known:
                differs[row, value] = False
            elif len(known) < MOST:
                known.add(quanta)
                fresh[row, value], differs[row, value], repeated[row] = True, False, False
        return Taken(fresh, differs, repeated)

    def forget(self, before: int) -> None:
        """Drop what lies before a slot."""
        self._quanta = {key: known for key, known in self._quanta.items() if slot_of(np.array([key[1]]))[0] >= before}

    def snapshot(self) -> list[tuple[int, int, int, list[int]]]:
        """Plain data: column, second, value and quanta."""
        return [(*key, sorted(known)) for key, known in self._quanta.items()]

    def restore(self, kept: list[Any], column_now: I32) -> None:
        """Go on from a snapshot; ``column_now`` has each column's place now, -1 where the instrument has left."""
        for column, second, value, quanta in kept:
            if column_now[column] >= 0:
                self._quanta[int(column_now[column]), second, value] = set(quanta)
