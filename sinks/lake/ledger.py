"""The books of a flow: what was taken of each input partition, and what became of it."""

from collections import Counter
from typing import Any

import pyarrow as pa

from flows.decode.batch import InputPartition
from flows.outputs.lake_rows import LakeBatch, ledger


class EpochLedger:
    """Of each input partition what was taken, what became of it, and what still waits.

    Args:
        kept: as ``plain`` gave it.
    """

    def __init__(self, kept: dict[str, Any]) -> None:
        self._last: dict[InputPartition, int] = {InputPartition(*key): last for key, last in kept.get("last", [])}
        self._waiting: dict[str, Counter[InputPartition]] = {
            zone: Counter({InputPartition(*key): n for key, n in waits}) for zone, waits in kept.get("waiting", [])
        }
        self._before = self._total()
        self._taken: dict[InputPartition, list[int]] = {}
        self._judged: Counter[tuple[InputPartition, str]] = Counter()
        self._received = 0

    def enter(self, landing: LakeBatch) -> None:
        """Enter what one item says."""
        self._received = max(self._received, landing.received)
        for partition, taken in landing.offsets:
            entry = self._taken.setdefault(partition, [taken.first, taken.last, 0, 0])
            entry[1] = taken.last
            entry[2] += taken.number
            entry[3] += taken.gap
        self._judged.update(landing.dispositions)
        if landing.waiting:
            self._waiting[landing.waiting[0]] = landing.waiting[1]

    def close(self) -> pa.RecordBatch | None:
        """Close the books of an epoch: its rows of the ledger.

        Raises:
            AssertionError: a message disappeared, or came twice: a bug of ours.
        """
        now, before = self._total(), self._before
        rows: list[dict[str, Any]] = []
        touched = (
            set(self._taken)
            | {partition for partition, _ in self._judged}
            | {p for p in now | before if now[p] != before[p]}
        )
        for partition in sorted(touched):
            last = self._last.get(partition, -1)
            first, last, count, gap = self._taken.get(partition, [last + 1, last, 0, 0])
            self._last[partition] = last
            became = {name: self._judged[partition, name] for name in ("stored", "rejected", "duplicate", "too_late")}
            received = count + before[partition] - now[partition]
            assert received == sum(became.values()), (
                f"the books of {partition} do not balance: received {received}, became {became}"
            )
            rows.append(
                {
                    "topic": partition.topic,
                    "kpart": partition.number,
                    "first_offset": first,
                    "last_offset": last,
                    "received": received,
                    **became,
                    "gap": gap,
                    "waiting": now[partition],
                    "received_at": self._received,
                }
            )
        self._taken, self._judged, self._before = {}, Counter(), now
        return ledger(rows) if rows else None

    def plain(self) -> dict[str, Any]:
        """As plain data, for a snapshot."""
        return {
            "last": [(tuple(partition), last) for partition, last in self._last.items()],
            "waiting": [(zone, [(tuple(key), n) for key, n in waits.items()]) for zone, waits in self._waiting.items()],
        }

    def _total(self) -> Counter[InputPartition]:
        return sum(self._waiting.values(), Counter())
