"""Rows on their way into the state of a zone."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from flows.arrays import B1, F64, I32, I64, U8
from flows.decode.batch import Readings


class Pending(NamedTuple):
    """Readings on their way into the zone: for the first time, or out of the early buffer."""

    readings: Readings
    passage: int


class GridCells(NamedTuple):
    """Readings as the grid takes them: n rows.

    Attributes:
        column: of the instrument, shape (n,).
        slot: shape (n,).
        row: number of each in the run that the watermark was previewed over, shape (n,).
        quanta: values in quanta, shape (n, P).
        flags: likewise.
        late: its step had fired when it came, shape (n,).
        carried: values that are not gridded, shape (n, C), NaN where none counts; none where nobody wants them.
    """

    column: I32
    slot: I64
    row: I64
    quanta: I64
    flags: U8
    late: B1
    carried: F64 | None

    def slice(self, begin: int, end: int) -> "GridCells":
        """Rows ``begin`` to before ``end``."""
        rows = slice(begin, end)
        column, slot, row, quanta, flags, late, carried = self
        carried = None if carried is None else carried[rows]
        return GridCells(column[rows], slot[rows], row[rows], quanta[rows], flags[rows], late[rows], carried)


@dataclass(slots=True)
class Run:
    """Readings that are neither early nor too late: columns of the same length.

    Attributes:
        readings: in their order.
        slot: of each, shape (n,).
        row: number of each in the run that the watermark was previewed over, shape (n,).
    """

    readings: Readings
    slot: I64
    row: I64

    def __len__(self) -> int:
        return self.slot.size

    def part(self, rows: I64 | B1) -> "Run":
        """Return some of the rows, in this order."""
        return Run(self.readings.take(rows), self.slot[rows], self.row[rows])

    def slice(self, begin: int, end: int) -> "Run":
        """Return rows ``begin`` to before ``end``."""
        if begin == 0 and end == len(self):
            return self
        return Run(self.readings.slice(begin, end), self.slot[begin:end], self.row[begin:end])

    def without(self, rows: I64) -> "Run":
        """Return the run without some rows, and without room for records; rows outside it do not matter."""
        left = np.delete(np.arange(len(self)), rows[(rows >= 0) & (rows < len(self))])
        part = self.part(left)
        return Run(replace(part.readings, records=None), part.slot, part.row)
