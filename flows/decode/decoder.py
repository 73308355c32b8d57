"""Bytes to columns: thousands of messages at once, and one bad message costs only itself.

The wire tolerates: unknown fields are skipped, null and sentinels are missing values, and a value that cannot be read
costs itself alone. What breaks the contract becomes a reject with the field's path and the reason.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from flows.arrays import F64, I32, I64, U8, Whole
from flows.decode import fast_path
from flows.decode.batch import InMemory, RawMessages, Readings, Record, concatenate, record_readings
from flows.decode.duplicate_keys import duplicate_keys
from flows.decode.refused import Refused
from flows.decode.timestamps import EARLIEST, LATEST, NO_TIME, Times, bad_time
from flows.decode.values import ValueNotes, notes_column, read_json, read_status, read_text
from flows.decode.wire import loose_type, text_type, wire_type
from schemas.measured import Measured, Recorded
from schemas.rejected import MAX_KEPT_BYTES, MAX_MESSAGE_BYTES, OTHER, Reject

UNKNOWN = -2
"""In place of an instrument's index: the city file does not name it."""
NO_NOTES: Mapping[int, ValueNotes] = MappingProxyType({})


@dataclass(slots=True)
class Columns:
    """Typed columns of n rows, as Parquet and tables give them.

    Attributes:
        names: distinct instrument ids (None: no id), and the index of each row's id, shape (n,).
        observed: microseconds since 1970 UTC, shape (n,); ``NO_TIME`` where there is none.
        values: in the order of ``Measured.values``, shape (n, V), Fortran order; NaN where not measured.
        status: shape (n, P).
        notes: what values were that are no plain numbers, by row.
    """

    names: tuple[Sequence[str | None], I32]
    observed: I64
    values: F64
    status: U8
    notes: Mapping[int, ValueNotes] = field(default_factory=dict)


class Decoder:
    r"""Decoder of what one flow takes: readings of its instruments, and records of people.

    It remembers only the spellings of times it has seen, to read each once.

    Args:
        measured: the kind of reading.
        instruments: their ids, in the order of their indices.
        sentinels: numbers that mean *not measured*, of each value; values left out at the end have none.
        recorded: kinds of records; each is known by its id field.
        other_kinds: id fields of what other flows take from the same input; such messages are passed over.

    >>> from schemas.measured import AIR
    >>> decoder = Decoder(AIR, ["park"], [[-999.0]] * 6)
    >>> line = b'{"station_id":"park","observed_at":"2026-11-22T09:00:00+09:00","pm10":41.0,"pm25":-999}'
    >>> readings, rejects, lines = decoder.lines(0, 0, line + b"\nnot JSON\n")
    >>> readings.values[0, :2].tolist(), rejects[0].reason, lines
    ([41.0, nan], 'undecodable', 2)
    """

    def __init__(
        self,
        measured: Measured,
        instruments: Sequence[str],
        sentinels: Sequence[Sequence[float]],
        recorded: Sequence[Recorded] = (),
        other_kinds: Iterable[str] = (),
    ) -> None:
        self.measured = measured
        self._index = {name: i for i, name in enumerate(instruments)}
        self._sentinels = fast_path.sentinel_rows(sentinels)
        self._row = wire_type(measured)
        self._strict = msgspec.json.Decoder(self._row)
        self._texts = msgspec.json.Decoder(text_type(measured))
        self._loose = msgspec.json.Decoder(loose_type(measured))
        self._records = {kind.id_field: (kind, msgspec.json.Decoder(kind.contract)) for kind in recorded}
        self._other_kinds = {*other_kinds} - {measured.id_field, *self._records}
        self._keys = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._id_of = attrgetter(measured.id_field)
        self._values_of = [attrgetter(name) for name in measured.values]
        self._times = Times()
        self._scanner = fast_path.Scanner(list(instruments), measured)

    def lines(
        self, part: int, first: int, chunk: bytes, count: int | None = None
    ) -> tuple[Readings, list[Reject], int]:
        r"""Decode whole lines of NDJSON.

        Args:
            part: index of their input partition.
            first: number of the first line; line ``i`` of the chunk has offset ``first + i``.
            chunk: lines, each ended by ``\n``.
            count: of lines, where it is known.

        Returns:
            The readings and rejects, both in the order of their lines, and how many lines there were.
        """
        count = chunk.count(b"\n") if count is None else count
        scanned = self._scanner.read(chunk, count)
        payloads = _Lines(chunk, scanned.begin, scanned.end)
        status, offset = (
            np.repeat(scanned.status[:, None], len(self.measured.gridded), axis=1),
            first + np.arange(count),
        )
        readings = Readings(
            scanned.station, scanned.observed, scanned.values, status, _all(part, offset), offset, payloads
        )
        fast_path.mask_sentinels(readings.values, self._sentinels)
        if scanned.plain.all():
            return readings, [], count
        rest = np.flatnonzero(~scanned.plain)
        others, rejects = self.messages(part, offset[rest], payloads.take(rest))
        readings = concatenate([readings.take(scanned.plain), others])
        return readings.take(np.argsort(readings.offset, kind="stable")), rejects, count

    def messages(self, part: int, offset: I64, payloads: Sequence[bytes]) -> tuple[Readings, list[Reject]]:
        """Decode messages one by one, each with its offset."""
        rows: list[Any] = []
        notes: dict[int, ValueNotes] = {}
        accepted, rejects = [], []
        decode = self._strict.decode
        for i, payload in enumerate(payloads):
            try:
                if len(payload) > MAX_MESSAGE_BYTES:
                    raise Refused("too_large", f"{len(payload):,} bytes, over {MAX_MESSAGE_BYTES:,}")
                try:
                    rows.append(decode(payload))
                except (msgspec.MsgspecError, ValueError, RecursionError) as err:
                    row, noted = self._second_look(payload, err)
                    if noted is not None:
                        notes[len(rows)] = noted
                    rows.append(row)
                accepted.append(i)
            except Refused as refused:
                text = b"" if refused.reason == OTHER else payload[:MAX_KEPT_BYTES]
                rejects.append(Reject(part, int(offset[i]), refused.reason, refused.detail, text))
        texts = payloads if len(accepted) == len(payloads) else [payloads[i] for i in accepted]
        readings, more = self._columns_of(part, offset[accepted], rows, InMemory(texts), notes)
        return readings, sorted(rejects + more, key=lambda reject: reject.offset)

    def columns(self, part: int, offset: I64, columns: Columns, payloads: RawMessages) -> tuple[Readings, list[Reject]]:
        """Judge rows that came typed; ``payloads`` has what to keep of one that is refused."""
        names, codes = columns.names
        index = np.array([self._index.get(name, UNKNOWN) if name else UNKNOWN for name in names], np.int32)
        station = index[codes] if codes.size else np.empty(0, np.int32)
        readings = Readings(
            station, columns.observed, columns.values, columns.status, _all(part, offset), offset, payloads
        )
        readings.notes = notes_column(offset.size, columns.notes)
        return self._judge(
            readings,
            lambda row: names[int(codes[row])],
            lambda _: "Expected a time with its zone - at `$.observed_at`",
            {},
        )

    def _second_look(self, payload: bytes, err: Exception) -> tuple[Any, ValueNotes | None]:
        """Decode a message that is no plain reading: a record, or a reading with values that are no plain numbers."""
        if not isinstance(err, msgspec.ValidationError):
            raise Refused("undecodable", str(err) or type(err).__name__) from err
        if (self._records or self._other_kinds) and (record := self._record(payload)) is not None:
            return record, None
        try:
            try:
                return self._with_texts(self._texts.decode(payload))
            except msgspec.ValidationError:
                return self._value_by_value(self._loose.decode(payload))
        except msgspec.ValidationError as other:
            raise Refused("contract", str(other)) from other
        except (msgspec.MsgspecError, ValueError, RecursionError) as other:
            raise Refused("undecodable", str(other) or type(other).__name__) from other

    def _with_texts(self, row: Any) -> tuple[Any, ValueNotes | None]:
        """Read the values of a message that are texts."""
        read = []
        for name in self.measured.values:
            value: object = getattr(row, name)
            if isinstance(value, str):
                read.append(read_text(name, value))
                setattr(row, name, read[-1].number)
        return row, ValueNotes.of(read)

    def _value_by_value(self, loose: Any) -> tuple[Any, ValueNotes | None]:
        """Read each value of a message, and say how those that are no plain numbers were taken."""
        values = {name: read_json(name, bytes(getattr(loose, name))) for name in self.measured.values}
        status, of_status = read_status(bytes(loose.status), self.measured.gridded)
        values.update({name: value for name, value in of_status.items() if value.fault})
        read = [value for value in of_status.values() if not value.fault]
        notes = ValueNotes.of([*values.values(), *read])
        numbers = {name: value.number for name, value in values.items()}
        keys = {self.measured.id_field: self._id_of(loose), "observed_at": loose.observed_at}
        return self._row(**keys, **numbers, status=status), notes

    def _record(self, payload: bytes) -> Record | None:
        """Decode a message as the record that its id field names; none where it is a reading, or has no such field.

        Raises:
            Refused: it breaks the contract of its kind, or is of another flow's.
        """
        try:
            present = self._keys.decode(payload)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None  # what is wrong with it is said where readings are decoded
        if self.measured.id_field in present:
            return None
        for id_field, (kind, decoder) in self._records.items():
            if id_field in present:
                return _checked(kind, decoder, payload)
        if self._other_kinds & present.keys():
            raise Refused(OTHER, "")
        return None

    def _columns_of(
        self,
        part: int,
        offset: I64,
        rows: Sequence[Any],
        payloads: RawMessages,
        notes: Mapping[int, ValueNotes] = NO_NOTES,
    ) -> tuple[Readings, list[Reject]]:
        if self._records and any(isinstance(row, Record) for row in rows):
            return self._with_records(part, offset, rows, payloads, notes)
        n = len(rows)
        station = np.fromiter(map(self._index.get, map(self._id_of, rows), repeat(UNKNOWN)), np.int32, n)
        observed = np.fromiter(map(self._times.__getitem__, [r.observed_at for r in rows]), np.int64, n)
        values = np.empty((n, len(self._values_of)), order="F")
        for i, value_of in enumerate(self._values_of):
            values[:, i] = [value_of(row) for row in rows]
        status, status_keys = _status([r.status for r in rows], self.measured.gridded)
        refused = duplicate_keys(payloads, 2 * (4 + np.count_nonzero(~np.isnan(values), axis=1) + status_keys))
        self._times.forget()
        readings = Readings(station, observed, values, status, _all(part, offset), offset, payloads)
        readings.notes = notes_column(n, notes)
        return self._judge(
            readings,
            lambda row: str(self._id_of(rows[row])),
            lambda row: bad_time(rows[row].observed_at),
            refused,
        )

    def _with_records(
        self, part: int, offset: I64, rows: Sequence[Any], payloads: RawMessages, notes: Mapping[int, ValueNotes]
    ) -> tuple[Readings, list[Reject]]:
        """Make columns of readings and records, in their order."""
        is_record = np.array([isinstance(row, Record) for row in rows], bool)
        plain, at = np.flatnonzero(~is_record), np.flatnonzero(is_record)
        noted = {i: notes[row] for i, row in enumerate(plain.tolist()) if row in notes}
        readings, rejects = self._columns_of(
            part, offset[plain], [rows[i] for i in plain.tolist()], InMemory(payloads.take(plain)), noted
        )
        people = record_readings(self.measured, [rows[i] for i in at.tolist()], _all(part, offset[at]), offset[at])
        people.payloads = InMemory(payloads.take(at))
        twice = duplicate_keys(people.payloads, np.full(at.size, -1))
        people, more = self._judge(people, lambda _: None, lambda _: "", twice)
        both = concatenate([readings, people])
        both = both.take(np.argsort(both.offset, kind="stable"))
        return both, sorted(rejects + more, key=lambda reject: reject.offset)

    def _judge(
        self,
        readings: Readings,
        name_of: Callable[[int], str | None],
        time_fault: Callable[[int], str],
        refused: dict[int, Refused],
    ) -> tuple[Readings, list[Reject]]:
        """Set sentinels to NaN and part the readings that break the contract from those that keep it."""
        fast_path.mask_sentinels(readings.values, self._sentinels)
        readings.values += 0.0  # of minus nought it makes nought, and of no other number another
        if readings.notes is not None:
            for row in np.flatnonzero(readings.notes != None).tolist():  # noqa: E711 - of each element
                if readings.notes[row].fault and np.isnan(readings.values[row]).all():
                    refused.setdefault(row, Refused("contract", readings.notes[row].fault))
        for row in np.flatnonzero(readings.observed == NO_TIME).tolist():
            refused.setdefault(row, Refused("contract", time_fault(row)))
        outside = (readings.observed < EARLIEST) | (readings.observed >= LATEST)
        for row in np.flatnonzero(outside).tolist():
            refused.setdefault(row, Refused("contract", "Expected a time from 1970 to 2099 - at `$.observed_at`"))
        for row in np.flatnonzero(readings.station == UNKNOWN).tolist():
            name = name_of(row)
            detail = f"{name[:64]!r} is not in the city file" if name else "no station named"
            refused.setdefault(row, Refused("unknown_station", f"{detail} - at `$.{self.measured.id_field}`"))
        if not refused:
            return readings, []
        order = sorted(refused)
        good = np.ones(len(readings), bool)
        good[order] = False
        return readings.take(good), [
            Reject(
                int(readings.part[row]),
                int(readings.offset[row]),
                refused[row].reason,
                refused[row].detail,
                text[:MAX_KEPT_BYTES],
            )
            for row, text in zip(order, readings.payloads.take(order), strict=True)
        ]


def _checked(kind: Recorded, decoder: Any, payload: bytes) -> Record:
    """Decode a record by its kind's contract.

    Raises:
        Refused: it breaks the contract, or cannot be decoded.
    """
    try:
        return Record(kind, decoder.decode(payload))
    except msgspec.ValidationError as err:
        raise Refused("contract", str(err)) from err
    except (msgspec.MsgspecError, ValueError, RecursionError) as err:
        raise Refused("undecodable", str(err) or type(err).__name__) from err


class _Lines(RawMessages):
    """Lines of a chunk; cut only where one is asked for."""

    def __init__(self, chunk: bytes, begin: I64, end: I64) -> None:
        self._chunk, self._begin, self._end = chunk, begin, end

    def take(self, rows: Sequence[int] | Whole) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        return [self._chunk[self._begin[row] : self._end[row]] for row in rows]


def _all(part: int, offset: I64) -> I32:
    return np.full(offset.size, part, np.int32)


def _status(given: Sequence[int | dict[str, int] | None], gridded: Sequence[str]) -> tuple[U8, NDArray[np.int64]]:
    """Instrument status by gridded value, shape (n, P), and how many keys of each message gave it, shape (n,)."""
    n = len(given)
    status = np.zeros((n, len(gridded)), np.uint8)
    kinds = set(map(type, given))
    if kinds == {int}:
        status[:] = np.fromiter(given, np.uint8, n)[:, None]
        return status, np.ones(n, np.int64)
    keys = np.zeros(n, np.int64)
    if kinds - {type(None)}:
        for row, code in enumerate(given):
            if isinstance(code, dict):
                keys[row] = 1 + len(code)
                status[row] = [code.get(name, 0) for name in gridded]
            elif code is not None:
                keys[row] = 1
                status[row] = code
    return status, keys
