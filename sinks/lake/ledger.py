"""The ledger of a flow: which offsets of each input partition were read, and what became of their messages."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from flows.decode.batch import InputPartition, OffsetRange
from flows.outputs.lake_rows import LakeBatch, ledger
from schemas.rejected import OTHER

DISPOSITIONS = ("stored", "rejected", "duplicate", "too_late")
"""What becomes of a message that is received; each is a column of the ledger."""


@dataclass(slots=True)
class _EpochOffsets:
    """Offsets of one partition that were read in the epoch."""

    first: int
    last: int
    messages: int = 0
    gap: int = 0

    def add(self, offsets: OffsetRange) -> None:
        self.last = offsets.last
        self.messages += offsets.number
        self.gap += offsets.gap


class EpochLedger:
    """Offset accounting per epoch: of each input partition what was read, what became of it, and what still waits.

    Args:
        flow: whose ledger it is.
        snapshot: as ``snapshot()`` gave it; empty in a new store.

    >>> air = InputPartition("air", 0)
    >>> accounts = EpochLedger("air", {})
    >>> accounts.add(LakeBatch(7, offsets=[(air, OffsetRange(0, 0, 2, 3))], dispositions=Counter({(air, "stored"): 3})))
    >>> [row] = accounts.close().to_pylist()
    >>> row["first_offset"], row["last_offset"], row["received"], row["stored"], row["waiting"]
    (0, 2, 3, 3, 0)
    """

    def __init__(self, flow: str, snapshot: dict[str, Any]) -> None:
        self._flow = flow
        self._last_offset: dict[InputPartition, int] = {
            InputPartition(*key): offset for key, offset in snapshot.get("last", [])
        }
        self._waiting: dict[str, Counter[InputPartition]] = {
            zone: Counter({InputPartition(*key): count for key, count in counts})
            for zone, counts in snapshot.get("waiting", [])
        }
        """By zone, the messages in its early buffer."""
        self._waiting_before = self._total_waiting()
        """Messages that waited when the epoch began."""
        self._offsets: dict[InputPartition, _EpochOffsets] = {}
        self._dispositions: Counter[tuple[InputPartition, str]] = Counter()
        self._received_at = 0

    def add(self, batch: LakeBatch) -> None:
        """Enter the messages behind a batch of rows."""
        self._received_at = max(self._received_at, batch.received)
        for partition, offsets in batch.offsets:
            self._offsets.setdefault(partition, _EpochOffsets(offsets.first, offsets.last)).add(offsets)
        self._dispositions.update(batch.dispositions)
        if batch.waiting:
            zone, counts = batch.waiting
            self._waiting[zone] = counts

    def close(self) -> pa.RecordBatch | None:
        """End the epoch; return its rows of the table ``ledger``, None if nothing happened.

        Raises:
            AssertionError: a message was lost or doubled: a bug of ours.
        """
        waiting = self._total_waiting()
        changed = {p for p in waiting | self._waiting_before if waiting[p] != self._waiting_before[p]}
        judged = {partition for partition, _ in self._dispositions}
        rows = [self._row(partition, waiting[partition]) for partition in sorted({*self._offsets, *judged, *changed})]
        self._offsets, self._dispositions, self._waiting_before = {}, Counter(), waiting
        return ledger(rows) if rows else None

    def snapshot(self) -> dict[str, Any]:
        """Return the newest offset of each partition, and what waits, as plain data."""
        return self.snapshot_of(self._last_offset, self._waiting)

    @staticmethod
    def snapshot_of(
        last_offset: Mapping[InputPartition, int], waiting: Mapping[str, Mapping[InputPartition, int]]
    ) -> dict[str, Any]:
        """Make a snapshot from the newest offset of each partition, and what waits in each zone."""
        return {
            "last": [(tuple(partition), offset) for partition, offset in last_offset.items()],
            "waiting": [
                (zone, [(tuple(partition), count) for partition, count in counts.items()])
                for zone, counts in waiting.items()
            ],
        }

    def _row(self, partition: InputPartition, waiting: int) -> dict[str, Any]:
        """Balance a partition's epoch: what was read, and what waited, became something, or waits now."""
        last = self._last_offset.get(partition, -1)
        offsets = self._offsets.get(partition, _EpochOffsets(last + 1, last))
        self._last_offset[partition] = offsets.last
        counts = {name: self._dispositions[partition, name] for name in DISPOSITIONS}
        other = self._dispositions[partition, OTHER]
        received = offsets.messages - other + self._waiting_before[partition] - waiting
        assert received == sum(counts.values()), (
            f"the books of {partition} do not balance: received {received}, became {counts}"
        )
        return {
            "flow": self._flow,
            "topic": partition.topic,
            "kpart": partition.number,
            "first_offset": offsets.first,
            "last_offset": offsets.last,
            "received": received,
            **counts,
            "other": other,
            "gap": offsets.gap,
            "waiting": waiting,
            "received_at": self._received_at,
        }

    def _total_waiting(self) -> Counter[InputPartition]:
        return sum(self._waiting.values(), Counter())
