"""What a source hands on: decoded readings, refusals, and a receipt for every message taken."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from flows.arrays import F64, I32, I64, U8
from schemas.measured import AIR
from schemas.rejected import NO_ENVELOPE, Envelope, Reject

T = TypeVar("T")


class InputPartition(NamedTuple):
    """An input partition: a topic's, or a file. ``topic`` is the file's path relative to what was given."""

    topic: str
    number: int


class OffsetRange(NamedTuple):
    """Receipt for messages taken from one partition, counted where they came in."""

    part: int
    first: int
    last: int
    number: int
    gap: int = 0
    """Offsets between them that the broker does not have."""


class RawMessages(ABC):
    """The original bytes of messages, made only for the few that are refused."""

    @abstractmethod
    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> list[bytes]:
        """Return the bytes of each of ``rows``."""

    def envelopes(self, rows: Sequence[int] | NDArray[np.integer]) -> list[Envelope]:
        """Return what each of ``rows`` came in; only topics have such a thing."""
        return [NO_ENVELOPE] * len(rows)


class InMemory(RawMessages):
    """RawMessages at hand as bytes, each perhaps with its envelope."""

    def __init__(self, texts: Sequence[bytes], envelopes: Sequence[Envelope] | None = None) -> None:
        self._texts, self._envelopes = texts, envelopes

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        return [self._texts[int(row)] for row in rows]

    def envelopes(self, rows: Sequence[int] | NDArray[np.integer]) -> list[Envelope]:
        """Return what each of ``rows`` came in."""
        return [self._envelopes[int(row)] for row in rows] if self._envelopes else super().envelopes(rows)


class Subset(RawMessages):
    """RawMessages of some rows of others: row ``i`` is their row ``rows[i]``."""

    def __init__(self, of: RawMessages, rows: NDArray[np.integer]) -> None:
        self._of, self._rows = of, rows

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        return self._of.take(self._rows[np.asarray(rows, np.int64)])

    def envelopes(self, rows: Sequence[int] | NDArray[np.integer]) -> list[Envelope]:
        """Return what each of ``rows`` came in."""
        return self._of.envelopes(self._rows[np.asarray(rows, np.int64)])


class Concatenated(RawMessages):
    """RawMessages of several runs of readings, one after another."""

    def __init__(self, runs: "Sequence[Readings]") -> None:
        self._runs = [run.payloads for run in runs]
        self._ends = list(accumulate(map(len, runs)))

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        return self._each(rows, lambda run, some: run.take(some))

    def envelopes(self, rows: Sequence[int] | NDArray[np.integer]) -> list[Envelope]:
        """Return what each of ``rows`` came in."""
        return self._each(rows, lambda run, some: run.envelopes(some))

    def _each(self, rows: Sequence[int] | NDArray[np.integer], ask: Callable[[RawMessages, I64], list[T]]) -> list[T]:
        """Ask each run once, and put what it says in the order of ``rows``."""
        asked = np.asarray(rows, np.int64)
        run_of = np.searchsorted(self._ends, asked, "right")
        found: dict[int, T] = {}
        for run in np.unique(run_of).tolist():
            at = np.flatnonzero(run_of == run)
            some = asked[at] - (self._ends[run - 1] if run else 0)
            found.update(zip(at.tolist(), ask(self._runs[run], some), strict=True))
        return [found[i] for i in range(asked.size)]


@dataclass(slots=True)
class Readings:
    """Readings in the order they count: columns of n rows.

    Attributes:
        station: index into the city's ``stations``, shape (n,).
        observed: end of the interval, microseconds since 1970 UTC, shape (n,).
        values: in the order of ``VALUES``, shape (n, 8), Fortran order; NaN where not measured.
        status: instrument status by pollutant, shape (n, 6); 0 normal.
        part: index into the arrivals' ``parts``, shape (n,).
        offset: in the partition, shape (n,).
        payloads: the original bytes, row by row.
    """

    station: I32
    observed: I64
    values: F64
    status: U8
    part: I32
    offset: I64
    payloads: RawMessages

    def __len__(self) -> int:
        return self.station.size

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "Readings":
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
    )


def no_readings() -> Readings:
    """Make zero rows."""
    return Readings(
        np.empty(0, np.int32),
        np.empty(0, np.int64),
        np.empty((0, len(AIR.values)), order="F"),
        np.empty((0, len(AIR.gridded)), np.uint8),
        np.empty(0, np.int32),
        np.empty(0, np.int64),
        InMemory(()),
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
    """One item from a source: everything it took since the last one.

    Every message taken is in ``readings`` or in ``rejects``, and counted in ``offsets``.
    """

    parts: Sequence[InputPartition]
    """The input partitions; it only grows, so that an index keeps its meaning for ever."""
    received: int
    """When they reached the pipeline, microseconds since 1970 UTC."""
    readings: Readings = field(default_factory=no_readings)
    rejects: list[Reject] = field(default_factory=list)
    offsets: list[OffsetRange] = field(default_factory=list)
    backlog: bool = False
    """Further messages are at hand, so that evaluation may wait and do up to a day in one go."""
    end_of_input: bool = False
    """The input is bounded and this is its end: close what is still open."""
