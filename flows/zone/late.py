"""Late readings on hold: they go on the grid when the next step of their stations closes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.arrays import I32, I64, U8

Rows = tuple[I32, I64, I64, U8]
"""Columns, slots, quanta and flags of n readings, as the grid takes them."""


class LateBuffer:
    """Readings whose slots were closed when they came, in their order."""

    def __init__(self) -> None:
        self._runs: list[Rows] = []

    def __len__(self) -> int:
        return sum(column.size for column, *_ in self._runs)

    def add(self, column: I32, slot: I64, quanta: I64, flags: U8) -> None:
        """Hold n readings."""
        if column.size:
            self._runs.append((column, slot, quanta, flags))

    def take(self, columns: NDArray[np.integer]) -> Rows | None:
        """Hand out those of some columns, none where there are none."""
        if not self._runs:
            return None
        column, slot, quanta, flags = (np.concatenate(part) for part in zip(*self._runs, strict=True))
        ours = np.isin(column, columns)
        self._runs = []
        self.add(column[~ours], slot[~ours], quanta[~ours], flags[~ours])
        return (column[ours], slot[ours], quanta[ours], flags[ours]) if ours.any() else None

    def snapshot(self) -> list[Rows]:
        """Plain data."""
        return [(column.copy(), slot, quanta, flags) for column, slot, quanta, flags in self._runs]

    def restore(self, kept: list[Any], column_now: I32) -> None:
        """Go on from a snapshot; ``column_now`` has each column's place now, -1 where the station has left."""
        for column, *rest in kept:
            here = column_now[column] >= 0
            self.add(column_now[column][here], *(part[here] for part in rest))
