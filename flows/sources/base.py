"""Readers: one file to blocks of decoded readings, from any place on.

Every message of a file is in exactly one block, as a reading or as a reject, in the order of its offsets.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flows import arrays as arrow
from flows.arrays import F64, I32, I64, U8
from flows.decode.batch import RawMessages, Readings, concatenate, no_readings
from flows.decode.decoder import Columns, Decoder
from flows.sources.files.lines import Lines, Piece
from flows.sources.tables.cells import SECOND, UNIX_RANGE, instants
from schemas.errors import ConfigurationError
from schemas.measured import AIR
from schemas.rejected import MAX_KEPT_BYTES, MAX_MESSAGE_BYTES, Reject
from schemas.slots import EPOCH

Place = dict[str, int]
"""Where in a file to go on: plain numbers, ``koff`` (offset of the message that stands there) among them."""
START: Place = {"koff": 0, "offset": 0, "unended": 0}
SORTED_ROWS = 65_536


@dataclass(slots=True)
class Block:
    """A run of a file's messages, offsets ``first`` to ``end`` - 1. Without any: nothing has come yet."""

    readings: Readings
    rejects: list[Reject]
    first: int
    end: int
    place: Place
    """A reader put here gives this block again."""


class Reader(Protocol):
    """Gives the blocks of one file.

    Attributes:
        place: where the next block begins.
    """

    place: Place

    def read(self, rows: int) -> Block | None:
        """Return the next block of about ``rows`` messages, None at the end."""

    def pause(self) -> None:
        """Give back what the operating system lends, until the next read."""


def block(readings: Readings, rejects: list[Reject], first: int, end: int, place: Place) -> Block:
    """Make a block.

    Raises:
        RuntimeError: a message is missing or is there twice, which would be a bug of ours.
    """
    if len(readings) + len(rejects) != end - first:
        raise RuntimeError(f"{end - first} messages became {len(readings)} readings and {len(rejects)} rejects")
    return Block(readings, rejects, first, end, place)


def too_large(part: int, koff: int, piece: Piece) -> Reject:
    """Refuse a line over the limit."""
    detail = f"a line of {piece.too_large:,} bytes, over {MAX_MESSAGE_BYTES:,}"
    return Reject(part, koff, "too_large", detail, piece.data[:MAX_KEPT_BYTES])


class NdjsonReader:
    """JSON objects, one a line; ``koff`` is the line, from 0."""

    def __init__(self, lines: Lines, part: int, decoder: Decoder, place: Place = START) -> None:
        self._lines, self._part, self._decoder = lines, part, decoder
        self.place = place

    def read(self, rows: int) -> Block | None:
        """Return the next block of up to ``rows`` lines, None at the end."""
        place, first = self.place, self.place["koff"]
        piece = self._lines.read(rows)
        if piece is None:
            return None
        end = first + piece.lines
        self.place = {"koff": end, "offset": piece.end, "unended": int(self._lines.unended)}
        if piece.too_large:
            return block(no_readings(), [too_large(self._part, first, piece)], first, end, place)
        if not piece.lines:
            return block(no_readings(), [], first, first, place)
        readings, rejects, _ = self._decoder.lines(self._part, first, piece.data)
        return block(readings, rejects, first, end, place)

    def pause(self) -> None:
        """Give back what the operating system lends."""
        self._lines.pause()


class ParquetReader:
    """A Parquet file with the wire's field names; ``koff`` is the row, from 0.

    Raises:
        ConfigurationError: it is no Parquet file, or its columns do not fit.
    """

    def __init__(self, path: Path, part: int, decoder: Decoder, place: Place = START) -> None:
        self._path, self._part, self._decoder = path, part, decoder
        self.place = place
        self._batches: Iterator[Any] | None = None
        self._rows = 0

    def read(self, rows: int) -> Block | None:
        """Return the next block of up to ``rows`` rows, None at the end."""
        if self._batches is None or rows != self._rows:
            self._rows, self._batches = rows, self._open(self.place["koff"], rows)
        try:
            batch = next(self._batches, None)
        except (pa.ArrowException, OSError) as err:
            raise ConfigurationError(f"{self._path}: cannot be read from row {self.place['koff']} on: {err}") from err
        if batch is None:
            self._batches = None
            return None
        place, first = self.place, self.place["koff"]
        end = first + batch.num_rows
        self.place = {"koff": end}
        columns, faults = _columns(batch)
        readings, rejects = judged(self._decoder, self._part, first, columns, ParquetRows(batch), faults)
        return block(readings, rejects, first, end, place)

    def pause(self) -> None:
        """Close the file."""
        self._batches = None

    def _open(self, row: int, batch_rows: int) -> Iterator[Any]:
        """Batches from a row on; groups of rows that end before it are not read."""
        try:
            file = pq.ParquetFile(self._path)
            wanted = self._check(file.schema_arrow)
            file = pq.ParquetFile(self._path, metadata=file.metadata, read_dictionary=["station_id"])
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            ends = np.cumsum([0, *sizes])
            group = int(np.searchsorted(ends[1:], row, "right"))
            if group == len(sizes):
                return iter(())
            batches = file.iter_batches(batch_rows, list(range(group, len(sizes))), wanted, use_threads=False)
            return _from_row(batches, row - int(ends[group]))
        except (pa.ArrowException, OSError) as err:
            raise ConfigurationError(f"{self._path}: not a Parquet file that can be read: {err}") from err

    def _check(self, schema: Any) -> list[str]:
        def refuse(column: str, why: str) -> ConfigurationError:
            return ConfigurationError(f"{self._path}: column `{column}` {why}")

        for column in ("station_id", "observed_at"):
            if schema.names.count(column) != 1:
                raise refuse(column, f"is needed once; its columns are {', '.join(schema.names)}")
        kind = _plain(schema.field("station_id").type)
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise refuse("station_id", f"must hold texts, not {kind}")
        kind = _plain(schema.field("observed_at").type)
        if pa.types.is_timestamp(kind) and kind.tz is None:
            raise refuse("observed_at", "is a timestamp without a zone; write it with one, for instance as UTC")
        if not (pa.types.is_timestamp(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise refuse("observed_at", f"must be a timestamp with its zone, or RFC 3339 texts, not {kind}")
        values = [name for name in AIR.values if name in schema.names]
        if not values:
            raise ConfigurationError(f"{self._path}: no column holds a value; name some of {', '.join(AIR.values)}")
        for column in values:
            kind = schema.field(column).type
            if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
                raise refuse(column, f"must hold numbers, not {kind}")
        if "status" in schema.names and not pa.types.is_integer(schema.field("status").type):
            raise refuse("status", f"must hold integers, not {schema.field('status').type}")
        return ["station_id", "observed_at", *values, *(["status"] if "status" in schema.names else [])]


class SortedReader:
    """A file in no order of time, read whole and sorted: ``koff`` is the place in that order, rejects come last.

    Args:
        reader: of the file, at its start.
        place: where to go on.
    """

    def __init__(self, reader: Reader, place: Place = START) -> None:
        self._reader, self.place = reader, place
        self._sorted: tuple[Readings, list[Reject]] | None = None

    def read(self, rows: int) -> Block | None:
        """Return the next block of up to ``rows`` messages, None at the end."""
        readings, rejects = self._sorted = self._sorted or self._sort()
        place, first, n = self.place, self.place["koff"], len(readings)
        end = min(first + rows, n + len(rejects))
        if end == first:
            return None
        self.place = {"koff": end, "offset": 0, "unended": 0}
        part = readings.take(np.arange(min(first, n), min(end, n)))
        return block(part, rejects[max(0, first - n) : max(0, end - n)], first, end, place)

    def pause(self) -> None:
        """Give back what the operating system lends."""
        self._reader.pause()

    def _sort(self) -> tuple[Readings, list[Reject]]:
        runs, rejects = [no_readings()], []
        while (found := self._reader.read(SORTED_ROWS)) is not None:
            runs.append(found.readings)
            rejects += found.rejects
        readings = concatenate(runs)
        readings = readings.take(np.argsort(readings.observed, kind="stable"))
        n = len(readings)
        readings.offset = np.arange(n)
        return readings, [reject._replace(offset=n + i) for i, reject in enumerate(rejects)]


def judged(
    decoder: Decoder, part: int, first: int, columns: Columns, payloads: RawMessages, faults: dict[int, str]
) -> tuple[Readings, list[Reject]]:
    """Hand typed rows to the decoder, but those whose cells cannot be read.

    Args:
        decoder: judges the rest.
        part: index of the input partition.
        first: offset of the first row.
        columns: the rows, in the order of their offsets.
        payloads: their original bytes.
        faults: what is wrong with which row.
    """
    n = columns.observed.size
    koff = np.arange(first, first + n)
    if not faults:
        return decoder.columns(part, koff, columns, payloads)
    bad = sorted(faults)
    rejects = [
        Reject(part, first + row, "contract", faults[row], text[:MAX_KEPT_BYTES])
        for row, text in zip(bad, payloads.take(bad), strict=True)
    ]
    good = np.delete(np.arange(n), bad)
    names, codes = columns.names
    rest = Columns(
        (names, codes[good]),
        columns.observed[good],
        np.asfortranarray(columns.values[good]),
        columns.status[good],
    )
    readings, more = decoder.columns(part, koff[good], rest, Chosen(payloads, good))
    return readings, sorted(rejects + more, key=lambda reject: reject.offset)


class Chosen(RawMessages):
    """RawMessages of some rows of others."""

    def __init__(self, payloads: RawMessages, rows: NDArray[np.integer]) -> None:
        self._payloads, self._rows = payloads, rows

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        return self._payloads.take(self._rows[np.asarray(rows, np.int64)])


class ParquetRows(RawMessages):
    """Rows of a record batch as they would stand on the wire."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        return [self._wire(int(row)) for row in rows]

    def _wire(self, row: int) -> bytes:
        found: dict[str, Any] = {}
        for name, column in zip(self._batch.schema.names, self._batch.columns, strict=True):
            if name == "observed_at" and pa.types.is_timestamp(column.type):
                at = int(_micros(column.slice(row, 1))[0]) if column[row].is_valid else None
                found[name] = at and _rfc3339(at)
            else:
                found[name] = column[row].as_py()
        return msgspec.json.encode({name: value for name, value in found.items() if value is not None})


def _rfc3339(at: int) -> str:
    try:
        return (EPOCH + timedelta(microseconds=at)).isoformat()
    except OverflowError:
        return f"{at} µs since 1970"


def _plain(kind: Any) -> Any:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _from_row(batches: Iterator[Any], skip: int) -> Iterator[Any]:
    for batch in batches:
        if skip < batch.num_rows:
            yield batch.slice(skip) if skip else batch
        skip = max(0, skip - batch.num_rows)


def _columns(batch: Any) -> tuple[Columns, dict[int, str]]:
    """Turn a record batch into typed columns, and say which rows cannot be."""
    n = batch.num_rows
    faults: dict[int, str] = {}
    observed = _observed(batch.column("observed_at"), faults)
    values: F64 = np.full((n, len(AIR.values)), np.nan, order="F")
    for j, name in enumerate(AIR.values):
        if name in batch.schema.names:
            column = batch.column(name)
            if not pa.types.is_float64(column.type):
                column = pc.cast(column, pa.float64(), safe=False)
            values[:, j] = arrow.plain(column, np.float64, np.nan)
            for row in np.flatnonzero(np.isinf(values[:, j])).tolist():
                faults.setdefault(row, f"Expected a number, got '{values[row, j]}' - at column `{name}`")
    status: U8 = np.zeros((n, len(AIR.gridded)), np.uint8)
    if "status" in batch.schema.names:
        given: I64 = arrow.plain(pc.cast(batch.column("status"), pa.int64(), safe=False), np.int64)
        for row in np.flatnonzero((given < 0) | (given > 255)).tolist():
            faults.setdefault(row, f"Expected an instrument status, got '{given[row]}' - at column `status`")
        status[:] = given.astype(np.uint8)[:, None]
    return Columns(_station_id(batch.column("station_id")), observed, values, status), faults


def _station_id(column: Any) -> tuple[list[str | None], I32]:
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    names: list[str | None] = column.dictionary.to_pylist()
    codes = column.indices
    if codes.null_count:
        codes = pc.fill_null(codes, len(names))
        names.append(None)
    return names, arrow.plain(pc.cast(codes, pa.int32()), np.int32)


def _observed(column: Any, faults: dict[int, str]) -> I64:
    """Return microseconds since 1970 UTC, shape (n,)."""
    if pa.types.is_timestamp(column.type):
        found, wrong = _micros(column), ~arrow.valid(column)
        limits = np.array(UNIX_RANGE) * SECOND
        wrong = wrong | (found < limits[0]) | (found >= limits[1])
        faulty = [
            f"{found[row]} µs since 1970" if column[row].is_valid else None for row in np.flatnonzero(wrong).tolist()
        ]
    else:
        coded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
        at, unread = instants(coded.dictionary, "rfc3339", None)
        index = pc.fill_null(coded.indices, at.size).to_numpy()
        found, wrong = np.append(at, 0)[index], np.append(unread, True)[index]
        faulty = [column[row].as_py() for row in np.flatnonzero(wrong).tolist()]
    for row, got in zip(np.flatnonzero(wrong).tolist(), faulty, strict=True):
        faults.setdefault(row, f"Expected a time with its offset, got {got!r} - at column `observed_at`")
    return found


def _micros(column: Any) -> I64:
    """Microseconds of timestamps in any unit, rounded down; nonsense where they would not fit."""
    count: I64 = arrow.plain(pc.cast(column, pa.int64()), np.int64)
    if column.type.unit == "ns":
        return count // 1000
    scale = {"us": 1, "ms": 1000, "s": SECOND}[column.type.unit]
    limit = np.iinfo(np.int64).max // scale
    return np.clip(count, -limit, limit) * scale
