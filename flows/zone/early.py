"""Readings beyond the horizon ahead of the watermark.

After a gap in the whole city they are the first of the new time; from one sensor alone they come from a wild clock.
Which of the two shows when the watermark comes near, or goes on without them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
import numpy as np

from flows.arrays import B1, I32, I64
from flows.decode.batch import InMemory, Readings, Record, concatenate, no_readings
from flows.decode.values import ValueNotes, notes_column
from flows.kernels.watermark import NO_ROW
from flows.state.grid import second_of, slot_of
from flows.zone.watermark import WatermarkTrace
from schemas.measured import Measured, Recorded
from schemas.rejected import Envelope, kept_part
from schemas.slots import NEVER

MAX_BYTES = 16 << 20
"""Bytes of messages in the early buffer of a zone, which every snapshot holds: 70,000 readings as sensors send them."""
MAX_NEW_ROWS = 256
"""Early readings that are looked at together: where the buffer is full, each of them ends a run."""


def plain_slots(readings: Readings) -> I64:
    """Slots in which the times of readings lie, shape (n,)."""
    return slot_of(second_of(readings.observed))


class Admission(NamedTuple):
    """What a run of readings does to the buffer.

    Attributes:
        last: the last row of the run that is taken.
        admitted: buffered readings that go to the grid after it; none where there are none.
        expired: readings that were buffered in vain.
    """

    last: int
    admitted: Readings | None
    expired: Readings


class EarlyBuffer:
    """Readings of one zone that are too far ahead of the watermark, in their order.

    Args:
        measured: the kind of reading.
        horizon: slots ahead of the watermark from which readings are buffered.
        max_wait: slots that the watermark may advance meanwhile; then their clock is wild.
        capacity: readings that may be buffered at once; beyond it the oldest expires.
        slots_of: slot of each reading.
        max_bytes: the same for the bytes of their messages, of which no more is kept than of those refused.

    A reading two hours ahead, of a horizon of one, waits until the watermark comes near:

    >>> from schemas.measured import AIR
    >>> buffer = EarlyBuffer(AIR, horizon=60, max_wait=60, capacity=1000)
    >>> reading = Readings(np.zeros(1, np.int32), np.array([120 * 60_000_000]), np.zeros((1, 8)),
    ...     np.zeros((1, 6), np.uint8), np.zeros(1, np.int32), np.zeros(1, np.int64), InMemory([b"{}"]))
    >>> trace = WatermarkTrace(np.array([10]), np.array([True]), np.array([10]), np.zeros(1, np.int32), np.array([120]))
    >>> buffer.admit(reading, np.array([120]), np.array([True]), trace).admitted is None, len(buffer)
    (True, 1)
    """

    def __init__(
        self,
        measured: Measured,
        horizon: int,
        max_wait: int,
        capacity: int,
        slots_of: Callable[[Readings], I64] = plain_slots,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._measured, self._slots_of = measured, slots_of
        self._horizon, self._max_wait, self._capacity = horizon, max_wait, capacity
        self._max_bytes = max_bytes
        self.readings = no_readings(measured)
        self._since, self._bytes = np.empty(0, np.int64), np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.readings)

    def admit(self, run: Readings, slot: I64, early: B1, trace: WatermarkTrace) -> Admission:
        """Buffer the early readings of a run, and stop at the first row whose watermark admits a buffered one.

        Args:
            run: n readings.
            slot: of each, shape (n,).
            early: which of them are too far ahead, shape (n,).
            trace: the watermark over the run.
        """
        n, watermark = len(run), trace.watermark
        new = np.flatnonzero(early)
        last = int(new[MAX_NEW_ROWS]) - 1 if new.size > MAX_NEW_ROWS else n - 1
        new = new[:MAX_NEW_ROWS]
        early_run, new_bytes = _kept(run.take(new))
        everyone = concatenate([self.readings, early_run]) if new.size else self.readings
        slots = np.concatenate([self._slots_of(self.readings), slot[new]])
        row = np.concatenate([np.full(len(self), -1), new])
        since = np.concatenate([self._since, watermark[new]])
        since[since == NEVER] = watermark[np.argmax(watermark > NEVER)]
        near = np.maximum(row, np.searchsorted(watermark, slots - self._horizon))
        expires = np.where(since == NEVER, NO_ROW, np.searchsorted(watermark, since + self._max_wait))
        admits = np.where((near <= expires) & (near < n), near, NO_ROW)
        sizes = np.concatenate([self._bytes, new_bytes])
        over = (np.arange(1, sizes.size + 1) > self._capacity) | (np.cumsum(sizes) > self._max_bytes)
        last = int(min(admits.min(initial=NO_ROW), row[over & (row >= 0)].min(initial=last)))
        here = row <= last
        admitted, expired = here & (admits == last), here & (admits != last) & (expires <= last)
        stays = np.flatnonzero(here & ~admitted & ~expired)
        fits = (np.arange(stays.size, 0, -1) <= self._capacity) & (
            np.cumsum(sizes[stays][::-1])[::-1] <= self._max_bytes
        )
        expired[stays[~fits]] = True
        stays = stays[fits]
        self.readings, self._since, self._bytes = everyone.take(stays), since[stays], sizes[stays]
        # They keep their own texts, or whole batches would stay in memory for their sake.
        payloads, rows = self.readings.payloads, range(stays.size)
        self.readings.payloads = InMemory(payloads.take(rows), payloads.envelopes(rows))
        return Admission(last, everyone.take(admitted) if admitted.any() else None, everyone.take(expired))

    def drain(self) -> Readings:
        """Take out all readings."""
        readings, self.readings = self.readings, no_readings(self._measured)
        self._since, self._bytes = np.empty(0, np.int64), np.empty(0, np.int64)
        return readings

    def snapshot(self, column: I32) -> dict[str, Any]:
        """Plain data; instruments by their ``column`` in the zone, partitions by their index among the zone's."""
        buffered = self.readings
        rows = range(len(buffered))
        state: dict[str, Any] = {
            "column": np.where(buffered.station >= 0, column[buffered.station], buffered.station),
            "rows": [buffered.observed, buffered.values, buffered.status, buffered.part, buffered.offset],
            "texts": buffered.payloads.take(rows),
            "envelopes": [
                (each.key, list(each.headers), each.cut, each.bare) for each in buffered.payloads.envelopes(rows)
            ],
            "since": self._since.copy(),
        }
        if buffered.records is not None:
            state["records"] = [
                None if record is None else (record.kind.topic, msgspec.to_builtins(record.data))
                for record in buffered.records.tolist()
            ]
        if buffered.notes is not None:
            state["notes"] = [
                None if note is None else (note.text, note.unreadable, note.texts) for note in buffered.notes.tolist()
            ]
        return state

    def restore(
        self, kept: dict[str, Any], column_now: I32, stations: I32, recorded: Mapping[str, Recorded]
    ) -> Readings:
        """Go on from a snapshot.

        Args:
            kept: the snapshot.
            column_now: of each column then, the column now, -1 where the instrument has left.
            stations: index in the city of each column now.
            recorded: kinds of records by topic.

        Returns:
            Readings of instruments that have left, and records of kinds that the flow no longer takes.
        """
        then = kept["column"]
        is_record = then < 0
        column = np.where(is_record, 0, column_now[np.maximum(then, 0)] if column_now.size else -1)
        left = ~is_record & (column < 0)
        station = np.where(is_record, then, np.where(left, 0, _indices(stations, column))).astype(np.int32)
        observed, values, status, part, offset = kept["rows"]
        envelopes = [Envelope(key, tuple(headers), *cut) for key, headers, *cut in kept["envelopes"]]
        records = None
        if "records" in kept:
            records = _records(kept["records"], recorded)
            left |= is_record & np.array([record is None for record in records.tolist()], bool)
        noted = {row: ValueNotes(*note) for row, note in enumerate(kept.get("notes", ())) if note is not None}
        notes = notes_column(station.size, noted)
        everyone = Readings(
            station, observed, values, status, part, offset, InMemory(kept["texts"], envelopes), records, notes
        )
        self.readings, self._bytes = _kept(everyone.take(~left))
        self._since = kept["since"][~left]
        return everyone.take(left)


def _kept(readings: Readings) -> tuple[Readings, I64]:
    """Readings with as much of their messages as is kept of those refused, and how many bytes that is, shape (n,)."""
    if not len(readings):
        return readings, np.empty(0, np.int64)
    payloads, rows = readings.payloads, range(len(readings))
    parts = [kept_part(*each) for each in zip(payloads.take(rows), payloads.envelopes(rows), strict=True)]
    sizes = [len(payload) + envelope.size for payload, envelope in parts]
    texts = InMemory([payload for payload, _ in parts], [envelope for _, envelope in parts])
    return replace(readings, payloads=texts), np.array(sizes, np.int64)


def _indices(stations: I32, column: I64) -> I32:
    return stations[np.maximum(column, 0)] if stations.size else np.zeros(column.size, np.int32)


def _records(kept: Sequence[Any], recorded: Mapping[str, Recorded]) -> Any:
    column = np.full(len(kept), None)
    for i, record in enumerate(kept):
        if record is not None and record[0] in recorded:
            kind = recorded[record[0]]
            column[i] = Record(kind, msgspec.convert(record[1], kind.contract))
    return column
