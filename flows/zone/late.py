"""Late readings and records until the next firing: only then do they go into the state."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from flows.arrays import I32, I64, U8, Whole
from flows.decode.batch import Record
from schemas.measured import Recorded
from schemas.slots import NEVER

LateReadings = tuple[I32, I64, I64, U8]
"""Columns, slots, quanta and flags of n readings, as the grid takes them."""


class LateBuffer:
    """Readings whose slots had fired when they came, in their order, and records likewise.

    >>> late = LateBuffer()
    >>> late.add(np.array([3], np.int32), np.array([9]), np.zeros((1, 6), np.int64), np.ones((1, 6), np.uint8))
    >>> len(late), late.take(np.array([0, 1])), late.take(np.array([3]))[1].tolist()
    (1, None, [9])
    """

    def __init__(self) -> None:
        self._runs: list[LateReadings] = []
        self.records: list[tuple[int, Record]] = []
        """Slot and record."""

    def __len__(self) -> int:
        return sum(column.size for column, *_ in self._runs) + len(self.records)

    def add(self, column: I32, slot: I64, quanta: I64, flags: U8) -> None:
        """Put in n readings."""
        if column.size:
            self._runs.append((column, slot, quanta, flags))

    @property
    def readings(self) -> LateReadings | None:
        """All readings, in their order; none where there are none."""
        if not self._runs:
            return None
        column, slot, quanta, flags = (np.concatenate(part) for part in zip(*self._runs, strict=True))
        return column, slot, quanta, flags

    def take(self, columns: Whole) -> LateReadings | None:
        """Take out the readings of given columns; none where there are none."""
        readings = self.readings
        if readings is None:
            return None
        column, slot, quanta, flags = readings
        chosen = np.isin(column, columns)
        self._runs = []
        self.add(column[~chosen], slot[~chosen], quanta[~chosen], flags[~chosen])
        return (column[chosen], slot[chosen], quanta[chosen], flags[chosen]) if chosen.any() else None

    def take_records(self) -> list[tuple[int, Record]]:
        """Take out all records."""
        records, self.records = self.records, []
        return records

    def snapshot_records(self) -> list[tuple[int, str, Any]]:
        """Plain data of the records: slot, topic and fields."""
        return [
            (slot, record.kind.topic, msgspec.to_builtins(record.kind.retained(record.data)))
            for slot, record in self.records
        ]

    def restore_records(self, kept: list[tuple[int, str, Any]], recorded: Mapping[str, Recorded]) -> None:
        """Go on from a snapshot; kinds that the flow no longer takes are dropped."""
        self.records = [
            (slot, Record(recorded[topic], msgspec.convert(data, recorded[topic].contract)))
            for slot, topic, data in kept
            if topic in recorded
        ]

    @property
    def oldest_record(self) -> int:
        """Oldest slot of a record; NEVER where there is none."""
        return min((slot for slot, _ in self.records), default=NEVER)

    def snapshot(self) -> list[LateReadings]:
        """Plain data of the readings."""
        return [(column.copy(), slot, quanta, flags) for column, slot, quanta, flags in self._runs]

    def restore(self, kept: list[Any], column_now: I32) -> None:
        """Go on from a snapshot; ``column_now`` has each column's place now, -1 where the instrument has left."""
        for column, *rest in kept:
            here = column_now[column] >= 0
            self.add(column_now[column][here], *(part[here] for part in rest))
