"""What became of a batch of readings of one zone."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from flows.analyses.base import Results
from flows.arrays import U8, Whole
from flows.decode.batch import InputPartition, Readings, Record
from flows.signals.base import SignalBatch
from schemas.rejected import Reject


@dataclass(slots=True)
class Accepted:
    """Readings accepted, with the flags of their own values, shape (n, P)."""

    readings: Readings
    flags: U8


@dataclass(slots=True)
class AcceptedRecord:
    """A record accepted, and where it stood."""

    record: Record
    part: int
    offset: int


@dataclass(slots=True)
class ZoneResult:
    """What became of a batch of readings.

    Attributes:
        parts: input partitions, by the indices that readings and rejects bear.
        accepted: readings, in their order.
        records: records, in their order.
        rejects: what was refused.
        results: what the analyses say.
        signals: what lights and people are told.
        waiting: the partition of each reading in the early buffer.
    """

    parts: Sequence[InputPartition] = ()
    accepted: list[Accepted] = field(default_factory=list)
    records: list[AcceptedRecord] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    results: Results = field(default_factory=Results)
    signals: SignalBatch = field(default_factory=SignalBatch)
    waiting: Whole = field(default_factory=lambda: np.empty(0, np.int32))
