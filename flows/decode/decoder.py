"""Bytes to columns: thousands of messages at once, and one bad message costs only itself.

The wire tolerates: unknown fields are skipped, null and sentinels are missing values. What breaks the contract
becomes a reject with the field's path and the reason.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from flows.arrays import F64, I32, I64, U8
from flows.decode import fast_path as scan
from flows.decode.batch import InMemory, RawMessages, Readings, concatenate
from flows.decode.timestamps import EARLIEST, LATEST, NO_TIME, Times, bad_time
from schemas.city import City
from schemas.measured import AIR
from schemas.reading import Status
from schemas.rejected import MAX_KEPT_BYTES, MAX_MESSAGE_BYTES, Reason, Reject

NAN = float("nan")
TEXT_SENTINELS = frozenset({"-"})
"""AirKorea writes "-" where an instrument gave nothing."""


class _Wire(Struct, gc=False):
    """An air reading as fast as it can be decoded; NaN where a value is absent."""

    station_id: str
    observed_at: str
    pm10: float | None = NAN
    pm25: float | None = NAN
    o3: float | None = NAN
    no2: float | None = NAN
    co: float | None = NAN
    so2: float | None = NAN
    temperature: float | None = NAN
    humidity: float | None = NAN
    status: Status | dict[str, Status] | None = None


class _Lenient(_Wire):
    """The same with texts for numbers, to find sentinels such as "-"."""

    pm10: float | str | None = NAN  # type: ignore[assignment]
    pm25: float | str | None = NAN  # type: ignore[assignment]
    o3: float | str | None = NAN  # type: ignore[assignment]
    no2: float | str | None = NAN  # type: ignore[assignment]
    co: float | str | None = NAN  # type: ignore[assignment]
    so2: float | str | None = NAN  # type: ignore[assignment]
    temperature: float | str | None = NAN  # type: ignore[assignment]
    humidity: float | str | None = NAN  # type: ignore[assignment]


@dataclass(slots=True)
class Columns:
    """Typed columns of n rows, as Parquet and CSV give them.

    Attributes:
        station_id: distinct names (None: no name), and the index of each row's name, shape (n,).
        observed: microseconds since 1970 UTC, shape (n,); ``NO_TIME`` where there is none.
        values: in the order of ``VALUES``, shape (n, 8), Fortran order; NaN where not measured.
        status: shape (n, 6).
    """

    station_id: tuple[Sequence[str | None], I32]
    observed: I64
    values: F64
    status: U8


class Decoder:
    """Decodes what stations of one city send.

    A decoder remembers only the times it has seen, to read each spelling once.
    """

    def __init__(self, city: City) -> None:
        self.measured = AIR
        self._stations = {station.id: i for i, station in enumerate(city.stations)}
        self._sentinels = scan.sentinels([limits.sentinels for limits in city.limits()])
        self._strict = msgspec.json.Decoder(_Wire)
        self._lenient = msgspec.json.Decoder(_Lenient)
        self._times = Times()
        self._scanner = scan.Scanner(list(self._stations))

    def lines(
        self, part: int, first: int, chunk: bytes, count: int | None = None
    ) -> tuple[Readings, list[Reject], int]:
        r"""Decode whole lines of NDJSON.

        Args:
            part: index of their input partition.
            first: number of the first line; line ``i`` of the chunk has ``koff = first + i``.
            chunk: lines, each ended by ``\n``.
            count: of lines, where it is known.

        Returns:
            The readings and rejects, both in the order of their lines, and how many lines there were.
        """
        count = chunk.count(b"\n") if count is None else count
        found = self._scanner.read(chunk, count)
        payloads = _Lines(chunk, found.begin, found.end)
        status, koff = np.repeat(found.status[:, None], len(AIR.gridded), axis=1), np.arange(first, first + count)
        readings = Readings(found.station, found.observed, found.values, status, _same(part, koff), koff, payloads)
        scan.unset(readings.values, self._sentinels)
        if found.plain.all():
            return readings, [], count
        rest = np.flatnonzero(~found.plain)
        others, rejects = self.messages(part, koff[rest], payloads.take(rest))
        readings = concatenate([readings.take(found.plain), others])
        return readings.take(np.argsort(readings.offset, kind="stable")), rejects, count

    def messages(self, part: int, koff: I64, payloads: Sequence[bytes]) -> tuple[Readings, list[Reject]]:
        """Decode messages one by one, each with its offset in ``koff``."""
        rows, kept, rejects = [], [], []
        decode = self._strict.decode
        for i, payload in enumerate(payloads):
            try:
                if len(payload) > MAX_MESSAGE_BYTES:
                    raise _Refused("too_large", f"{len(payload):,} bytes, over {MAX_MESSAGE_BYTES:,}")
                try:
                    rows.append(decode(payload))
                except (msgspec.MsgspecError, ValueError, RecursionError) as err:
                    rows.append(self._forgive(payload, err))
                kept.append(i)
            except _Refused as refused:
                rejects.append(Reject(part, int(koff[i]), refused.reason, refused.detail, payload[:MAX_KEPT_BYTES]))
        texts = InMemory(payloads if len(kept) == len(payloads) else [payloads[i] for i in kept])
        readings, more = self._columns_of(part, koff[kept], rows, texts)
        return readings, sorted(rejects + more, key=lambda reject: reject.offset)

    def columns(self, part: int, koff: I64, columns: Columns, payloads: RawMessages) -> tuple[Readings, list[Reject]]:
        """Judge rows that came typed; ``koff`` has the offset of each, ``payloads`` what to keep of one refused."""
        names, codes = columns.station_id
        index = np.array([self._stations.get(name, -1) if name else -1 for name in names], np.int32)
        station = index[codes] if codes.size else np.empty(0, np.int32)

        def name_of(row: int) -> str | None:
            return names[int(codes[row])]

        readings = Readings(
            station, columns.observed, columns.values, columns.status, _same(part, koff), koff, payloads
        )
        return self._judge(readings, name_of, lambda _: "Expected a time with its zone - at `$.observed_at`", {})

    def _forgive(self, payload: bytes, err: Exception) -> _Wire:
        """Decode a message whose only fault is a sentinel written as text."""
        if not isinstance(err, msgspec.ValidationError):
            raise _Refused("undecodable", str(err) or type(err).__name__) from err
        try:
            row = self._lenient.decode(payload)
        except msgspec.ValidationError as other:
            raise _Refused("contract", str(other).replace("float | str | null", "float | null")) from other
        except (msgspec.MsgspecError, ValueError, RecursionError) as other:
            raise _Refused("undecodable", str(other) or type(other).__name__) from other
        for name in AIR.values:
            value: object = getattr(row, name)
            if isinstance(value, str):
                if value not in TEXT_SENTINELS:
                    raise _Refused("contract", f"Expected `float | null`, got `str` - at `$.{name}`") from err
                setattr(row, name, None)
        return row

    def _columns_of(
        self, part: int, koff: I64, rows: Sequence[_Wire], payloads: RawMessages
    ) -> tuple[Readings, list[Reject]]:
        n = len(rows)
        station = np.fromiter(map(self._stations.get, [r.station_id for r in rows], repeat(-1)), np.int32, n)
        observed = np.fromiter(map(self._times.__getitem__, [r.observed_at for r in rows]), np.int64, n)
        values = np.empty((n, len(AIR.values)), order="F")
        # Written out, because a loop over names costs a third more in this, the hottest place of all.
        values[:, 0] = [r.pm10 for r in rows]
        values[:, 1] = [r.pm25 for r in rows]
        values[:, 2] = [r.o3 for r in rows]
        values[:, 3] = [r.no2 for r in rows]
        values[:, 4] = [r.co for r in rows]
        values[:, 5] = [r.so2 for r in rows]
        values[:, 6] = [r.temperature for r in rows]
        values[:, 7] = [r.humidity for r in rows]
        status, status_keys = _status([r.status for r in rows])
        twins = _twins(payloads, 2 * (4 + np.count_nonzero(~np.isnan(values), axis=1) + status_keys))
        self._times.forget()
        readings = Readings(station, observed, values, status, _same(part, koff), koff, payloads)
        return self._judge(
            readings, lambda row: rows[row].station_id, lambda row: bad_time(rows[row].observed_at), twins
        )

    def _judge(
        self, readings: Readings, name_of: Any, bad_time: Any, refused: dict[int, "_Refused"]
    ) -> tuple[Readings, list[Reject]]:
        """Set sentinels to NaN and part the readings that break the contract from those that keep it."""
        scan.unset(readings.values, self._sentinels)
        for row in np.flatnonzero(readings.observed == NO_TIME).tolist():
            refused.setdefault(row, _Refused("contract", bad_time(row)))
        outside = (readings.observed < EARLIEST) | (readings.observed >= LATEST)
        for row in np.flatnonzero(outside).tolist():
            refused.setdefault(row, _Refused("contract", "Expected a time from 1970 to 2099 - at `$.observed_at`"))
        for row in np.flatnonzero(readings.station < 0).tolist():
            name = name_of(row)
            detail = f"{name[:64]!r} is not in the city file" if name else "no station named"
            refused.setdefault(row, _Refused("unknown_station", f"{detail} - at `$.station_id`"))
        if not refused:
            return readings, []
        order = sorted(refused)
        texts = readings.payloads.take(order)
        rejects = [
            Reject(
                int(readings.part[row]),
                int(readings.offset[row]),
                refused[row].reason,
                refused[row].detail,
                text[:MAX_KEPT_BYTES],
            )
            for row, text in zip(order, texts, strict=True)
        ]
        good = np.ones(len(readings), bool)
        good[order] = False
        return readings.take(good), rejects


class _Refused(Exception):  # noqa: N818 - it is a verdict on a message, not an error of ours
    """Why a message is refused."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail


class _Lines(RawMessages):
    """RawMessages of lines of a chunk; cut only where one is asked for."""

    def __init__(self, chunk: bytes, begin: I64, end: I64) -> None:
        self._chunk, self._begin, self._end = chunk, begin, end

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        return [self._chunk[self._begin[row] : self._end[row]] for row in rows]


def _same(part: int, koff: I64) -> I32:
    return np.full(koff.size, part, np.int32)


def _status(given: Sequence[int | dict[str, int] | None]) -> tuple[U8, I64]:
    """Instrument status by pollutant, shape (n, 6), and how many keys of each message gave it, shape (n,)."""
    n = len(given)
    status = np.zeros((n, len(AIR.gridded)), np.uint8)
    kinds = set(map(type, given))
    if kinds == {int}:
        status[:] = np.fromiter(given, np.uint8, n)[:, None]
        return status, np.ones(n, np.int64)
    keys = np.zeros(n, np.int64)
    if kinds - {type(None)}:
        for row, one in enumerate(given):
            if isinstance(one, dict):
                keys[row] = 1 + len(one)
                for p, name in enumerate(AIR.gridded):
                    status[row, p] = one.get(name, 0)
            elif one is not None:
                keys[row] = 1
                status[row] = one
    return status, keys


def _twins(payloads: RawMessages, quotes: I64) -> dict[int, _Refused]:
    """Find messages in which a key stands twice: the decoder would silently take the last.

    Every key and every text takes two quotes. A message with just the quotes that its values account for, shape
    (n,), has no key twice. Of any other (a null, an unknown field, a twin) keys are counted, or it is read once more.
    """
    texts = payloads.take(range(quotes.size))
    found = np.fromiter((text.count(b'"') for text in texts), np.int64, quotes.size)
    suspects = np.flatnonzero(found != quotes)
    twins = {}
    for row, text in zip(suspects.tolist(), [texts[row] for row in suspects], strict=True):
        keys = _KEY.findall(text)
        if len(set(keys)) == len(keys) == found[row] // 2 - len(scan.TEXTS) and b"\\" not in text:
            continue  # every quote is of one of these keys or of the two texts
        try:
            _read_slowly.decode(text.decode())
        except _Refused as refused:
            twins[row] = refused
        except (ValueError, RecursionError) as err:
            twins[row] = _Refused("undecodable", str(err) or type(err).__name__)
    return twins


def _no_twins(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) == len(pairs):
        return
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise _Refused("contract", f"Key stands twice - at `$.{key[:64]}`")
        seen.add(key)


_KEY = re.compile(rb'"(\w+)"\s*:')
_read_slowly = json.JSONDecoder(object_pairs_hook=_no_twins)
