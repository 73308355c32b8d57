"""What a source hands on: readings as columns, records of people, refusals, and the offsets that were read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from flows.arrays import F64, I32, I64, U8, Objects, Whole
from schemas.measured import AIR, Measured, Recorded
from schemas.rejected import NO_ENVELOPE, Envelope, Reject
from schemas.slots import micros

T = TypeVar("T")
NO_INSTRUMENT = -1
"""In place of an instrument's index: the row is a record, which lies in no cell."""


class InputPartition(NamedTuple):
    """An input partition: one of a topic, or a file, whose ``topic`` is its path relative to what was given."""

    topic: str
    number: int


class OffsetRange(NamedTuple):
    """Offsets read from one partition, counted where they came in."""

    part: int
    first: int
    last: int
    number: int
    """Messages among them."""
    gap: int = 0
    """Offsets among them that the broker does not have."""


class RawMessages(ABC):
    """The original bytes of messages, made only for the few that are refused."""

    @abstractmethod
    def take(self, rows: Sequence[int] | Whole) -> list[bytes]:
        """Return the bytes of each of ``rows``."""

    def envelopes(self, rows: Sequence[int] | Whole) -> list[Envelope]:
        """Return key and headers of each of ``rows``; only messages of topics have them."""
        return [NO_ENVELOPE] * len(rows)


class InMemory(RawMessages):
    """Raw messages at hand as bytes, each perhaps with its envelope."""

    def __init__(self, texts: Sequence[bytes], envelopes: Sequence[Envelope] | None = None) -> None:
        self._texts, self._envelopes = texts, envelopes

    def take(self, rows: Sequence[int] | Whole) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        return [self._texts[int(row)] for row in rows]

    def envelopes(self, rows: Sequence[int] | Whole) -> list[Envelope]:
        """Return key and headers of each of ``rows``."""
        return [self._envelopes[int(row)] for row in rows] if self._envelopes else super().envelopes(rows)


class Subset(RawMessages):
    """Rows of other raw messages: row ``i`` is their row ``rows[i]``."""

    def __init__(self, base: RawMessages, rows: Whole) -> None:
        self._base, self._rows = base, rows

    def take(self, rows: Sequence[int] | Whole) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        return self._base.take(self._rows[np.asarray(rows, np.int64)])

    def envelopes(self, rows: Sequence[int] | Whole) -> list[Envelope]:
        """Return key and headers of each of ``rows``."""
        return self._base.envelopes(self._rows[np.asarray(rows, np.int64)])


class Concatenated(RawMessages):
    """Raw messages of several runs of readings, one after another."""

    def __init__(self, runs: "Sequence[Readings]") -> None:
        self._runs = [run.payloads for run in runs]
        self._ends = list(accumulate(map(len, runs)))

    def take(self, rows: Sequence[int] | Whole) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        return self._by_run(rows, lambda run, own: run.take(own))

    def envelopes(self, rows: Sequence[int] | Whole) -> list[Envelope]:
        """Return key and headers of each of ``rows``."""
        return self._by_run(rows, lambda run, own: run.envelopes(own))

    def _by_run(self, rows: Sequence[int] | Whole, read: Callable[[RawMessages, I64], list[T]]) -> list[T]:
        """Read each run once, and put the results in the order of ``rows``."""
        wanted = np.asarray(rows, np.int64)
        run_of = np.searchsorted(self._ends, wanted, "right")
        result: dict[int, T] = {}
        for run in np.unique(run_of).tolist():
            at = np.flatnonzero(run_of == run)
            own = wanted[at] - (self._ends[run - 1] if run else 0)
            result.update(zip(at.tolist(), read(self._runs[run], own), strict=True))
        return [result[i] for i in range(wanted.size)]


class Record(NamedTuple):
    """A record of a person or a system: a time and no cell, such as a citizen's report."""

    kind: Recorded
    data: Struct
    """Of the kind's contract."""

    @property
    def id(self) -> str:
        """What names the record among its kind."""
        return str(getattr(self.data, self.kind.id_field))


@dataclass(slots=True)
class Readings:
    """Readings in the order they count: columns of n rows. A row may be a record, without values.

    Attributes:
        station: index among the flow's instruments, shape (n,); ``NO_INSTRUMENT`` for a record.
        observed: end of the interval, or the record's time, microseconds since 1970 UTC, shape (n,).
        values: in the order of ``Measured.values``, shape (n, V), Fortran order; NaN where not measured.
        status: instrument status by gridded value, shape (n, P); 0 normal.
        part: index among the batch's ``parts``, shape (n,).
        offset: in the partition, shape (n,).
        payloads: the original bytes, row by row.
        records: the ``Record`` of each row, None for readings, shape (n,); left out where no row is one.
        notes: the ``ValueNotes`` of each row, None where every value was a plain number, shape (n,); left out where no
            row has any.
    """

    station: I32
    observed: I64
    values: F64
    status: U8
    part: I32
    offset: I64
    payloads: RawMessages
    records: Objects | None = None
    notes: Objects | None = None

    def __len__(self) -> int:
        return self.station.size

    def take(self, rows: Whole | NDArray[np.bool_]) -> "Readings":
        """Return these rows, in this order."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64, copy=False)
        return Readings(
            self.station[rows],
            self.observed[rows],
            self.values.T.take(rows, axis=1).T,
            self.status[rows],
            self.part[rows],
            self.offset[rows],
            Subset(self.payloads, rows),
            None if self.records is None else self.records[rows],
            None if self.notes is None else self.notes[rows],
        )

    def slice(self, begin: int, end: int) -> "Readings":
        """Return rows ``begin`` to before ``end``, in the memory of these."""
        return Readings(
            self.station[begin:end],
            self.observed[begin:end],
            self.values[begin:end],
            self.status[begin:end],
            self.part[begin:end],
            self.offset[begin:end],
            Subset(self.payloads, np.arange(begin, min(end, len(self)))),
            None if self.records is None else self.records[begin:end],
            None if self.notes is None else self.notes[begin:end],
        )


def concatenate(runs: Sequence[Readings]) -> Readings:
    """Put runs of readings one after another.

    Raises:
        ValueError: ``runs`` is empty.
    """
    if len(runs) == 1:
        return runs[0]
    return Readings(
        np.concatenate([r.station for r in runs]),
        np.concatenate([r.observed for r in runs]),
        np.concatenate([r.values.T for r in runs], axis=1).T,
        np.concatenate([r.status for r in runs]),
        np.concatenate([r.part for r in runs]),
        np.concatenate([r.offset for r in runs]),
        Concatenated(runs),
        _joined([run.records for run in runs], runs),
        _joined([run.notes for run in runs], runs),
    )


def _joined(columns: Sequence[Objects | None], runs: Sequence[Readings]) -> Objects | None:
    """Put columns of runs one after another, with None for a run that left its own out."""
    if all(column is None for column in columns):
        return None
    return np.concatenate(
        [np.full(len(run), None) if column is None else column for column, run in zip(columns, runs, strict=True)]
    )


def no_readings(measured: Measured = AIR) -> Readings:
    """Make zero rows."""
    return Readings(
        np.empty(0, np.int32),
        np.empty(0, np.int64),
        np.empty((0, len(measured.values)), order="F"),
        np.empty((0, len(measured.gridded)), np.uint8),
        np.empty(0, np.int32),
        np.empty(0, np.int64),
        InMemory(()),
    )


def record_readings(measured: Measured, records: Sequence[Record], part: I32, offset: I64) -> Readings:
    """Make rows of records, which have no values; the original bytes are left out.

    Args:
        measured: the kind of reading that they stand beside.
        records: n of them.
        part: index of the partition of each, shape (n,).
        offset: of each, shape (n,).
    """
    n = len(records)
    column = np.empty(n, object)
    column[:] = records
    return Readings(
        np.full(n, NO_INSTRUMENT, np.int32),
        np.array([micros(getattr(record.data, record.kind.time_field)) for record in records], np.int64),
        np.full((n, len(measured.values)), np.nan, order="F"),
        np.zeros((n, len(measured.gridded)), np.uint8),
        part,
        offset,
        InMemory([b""] * n),
        column,
    )


@dataclass(slots=True)
class SideBatch(Generic[T]):
    """Records of a side input, and the messages refused: read beside the readings, not booked in the ledger."""

    parts: Sequence[InputPartition]
    """Partitions of the side input, to which the rejects refer."""
    records: list[T]
    rejects: list[Reject]


@dataclass(slots=True)
class SourceBatch:
    """One item from a source: everything it read since the last one.

    Every message read is in ``readings`` or in ``rejects``, and counted in ``offsets``.
    """

    parts: Sequence[InputPartition]
    """The input partitions; it only grows, so that an index keeps its meaning for ever."""
    received: int
    """When they reached the pipeline, microseconds since 1970 UTC."""
    readings: Readings = field(default_factory=no_readings)
    rejects: list[Reject] = field(default_factory=list)
    offsets: list[OffsetRange] = field(default_factory=list)
    end_of_input: bool = False
    """The input is bounded and this is its end: close what is still open."""
