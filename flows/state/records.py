"""Records of people and systems in the state of a zone: by kind, each at the slot in which its time lies."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from flows.decode.batch import Record
from schemas.measured import Recorded
from schemas.slots import NEVER


class Records:
    """Records of the last days, which analyses read beside the grid.

    A record is known by its id for as long as it is here; a second one of the same id is a duplicate.

    Args:
        kinds: of records that the flow takes.

    >>> from schemas.odor import OdorReport
    >>> from datetime import UTC, datetime
    >>> kind = Recorded("env.odor.report.v1", "odor_reports", "report_id", "reported_at", OdorReport)
    >>> report = OdorReport(report_id="r-1", reported_at=datetime(2026, 3, 1, tzinfo=UTC), lat=35.2, lon=128.9)
    >>> records = Records([kind])
    >>> records.take(7, Record(kind, report)), records.take(7, Record(kind, report))
    (True, False)
    >>> records.put(7, Record(kind, report))
    >>> [slot for slot, _ in records.between(kind.topic, 6, 7)]
    [7]
    """

    def __init__(self, kinds: Sequence[Recorded]) -> None:
        self._kinds = {kind.topic: kind for kind in kinds}
        self._seen: dict[str, dict[str, int]] = {kind.topic: {} for kind in kinds}
        self._held: dict[str, dict[tuple[int, str], Struct]] = {kind.topic: {} for kind in kinds}

    def take(self, slot: int, record: Record) -> bool:
        """Take a record's id; false if it was taken before."""
        seen = self._seen[record.kind.topic]
        if record.id in seen:
            return False
        seen[record.id] = slot
        return True

    def put(self, slot: int, record: Record) -> None:
        """Let a record take effect at its slot."""
        self._held[record.kind.topic][slot, record.id] = record.kind.retained(record.data)

    @property
    def newest(self) -> int:
        """Newest slot at which a record stands; NEVER where there is none."""
        return max((slot for held in self._held.values() for slot, _ in held), default=NEVER)

    def between(self, topic: str, after: int, until: int) -> Iterator[tuple[int, Struct]]:
        """Yield slot and record of a kind in (after, until], by slot and id."""
        for (slot, _), data in sorted(self._held[topic].items(), key=lambda item: item[0]):
            if after < slot <= until:
                yield slot, data

    def forget(self, before: int) -> None:
        """Drop what lies before a slot."""
        for topic in self._kinds:
            self._seen[topic] = {name: slot for name, slot in self._seen[topic].items() if slot >= before}
            self._held[topic] = {at: data for at, data in self._held[topic].items() if at[0] >= before}

    def snapshot(self) -> dict[str, Any]:
        """Plain data."""
        return {
            topic: {
                "seen": dict(self._seen[topic]),
                "held": [(slot, msgspec.to_builtins(data)) for (slot, _), data in self._held[topic].items()],
            }
            for topic in self._kinds
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from a snapshot; kinds that the flow no longer takes are dropped."""
        for topic, kind in self._kinds.items():
            if topic in kept:
                self._seen[topic] = dict(kept[topic]["seen"])
                for slot, data in kept[topic]["held"]:
                    record = msgspec.convert(data, kind.contract)
                    self._held[topic][slot, str(getattr(record, kind.id_field))] = record
