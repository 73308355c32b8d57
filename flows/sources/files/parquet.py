"""Parquet as input: a row is a message, its columns have the wire's field names."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows import arrays
from flows.arrays import F64, I32, I64, U8, Whole
from flows.decode.batch import RawMessages
from flows.decode.decoder import Columns, Decoder
from flows.decode.values import NOT_MEASURED, LooseValue, ValueNotes, read_text, unreadable
from flows.sources.base import START, Block, Place, block, decode_columns
from flows.sources.tables.timestamps import UNIX_RANGE_S, read_timestamps
from schemas.errors import ConfigurationError
from schemas.measured import Measured
from schemas.slots import EPOCH, MILLISECOND_US, SECOND_US

NUMBERS = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, pa.types.is_null)
UNIT_US = {"us": 1, "ms": MILLISECOND_US, "s": SECOND_US}


class ParquetReader:
    """Reads a Parquet file; an offset is the number of a row, from 0.

    Args:
        path: the file.
        part: index of the input partition.
        decoder: judges the rows; its kind of reading says which columns are looked for.
        place: where reading begins.
    """

    def __init__(self, path: Path, part: int, decoder: Decoder, place: Place = START) -> None:
        self._path, self._part, self._decoder = path, part, decoder
        self.place = place
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._rows = 0

    def read(self, rows: int) -> Block | None:
        """Return the next block of up to ``rows`` rows, None at the end.

        Raises:
            ConfigurationError: it is no Parquet file, or its columns do not fit.
        """
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
        measured = self._decoder.measured
        columns, faults = _columns(batch, measured)
        payloads = ParquetRows(batch)
        readings, rejects = decode_columns(self._decoder, self._part, first, columns, payloads, faults)
        return block(readings, rejects, first, end, place)

    def pause(self) -> None:
        """Close the file."""
        self._batches = None

    def _open(self, row: int, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Batches from a row on; groups of rows that end before it are not read."""
        measured = self._decoder.measured
        try:
            file = pq.ParquetFile(self._path)
            columns = _check(self._path, file.schema_arrow, measured)
            file = pq.ParquetFile(self._path, metadata=file.metadata, read_dictionary=[measured.id_field])
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            ends = np.cumsum([0, *sizes])
            group = int(np.searchsorted(ends[1:], row, "right"))
            if group == len(sizes):
                return iter(())
            batches = file.iter_batches(batch_rows, list(range(group, len(sizes))), columns, use_threads=False)
            return _from_row(batches, row - int(ends[group]))
        except (pa.ArrowException, OSError) as err:
            raise ConfigurationError(f"{self._path}: not a Parquet file that can be read: {err}") from err


class ParquetRows(RawMessages):
    """Rows of a record batch, written as messages of the wire."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch

    def take(self, rows: Sequence[int] | Whole) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        return [self._message(int(row)) for row in rows]

    def _message(self, row: int) -> bytes:
        fields: dict[str, Any] = {}
        for name, column in zip(self._batch.schema.names, self._batch.columns, strict=True):
            if name == "observed_at" and pa.types.is_timestamp(column.type):
                fields[name] = _rfc3339(int(_micros(column.slice(row, 1))[0])) if column[row].is_valid else None
            else:
                fields[name] = column[row].as_py()
        return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})


def _check(path: Path, schema: pa.Schema, measured: Measured) -> list[str]:
    """Return the columns to read.

    Raises:
        ConfigurationError: a column is missing, or of a type that cannot be read.
    """

    def refuse(column: str, why: str) -> ConfigurationError:
        return ConfigurationError(f"{path}: column `{column}` {why}")

    for column in (measured.id_field, "observed_at"):
        if schema.names.count(column) != 1:
            raise refuse(column, f"is needed once; its columns are {', '.join(schema.names)}")
    kind = _decoded(schema.field(measured.id_field).type)
    if not _is_text(kind):
        raise refuse(measured.id_field, f"must hold texts, not {kind}")
    kind = _decoded(schema.field("observed_at").type)
    if pa.types.is_timestamp(kind) and kind.tz is None:
        raise refuse("observed_at", "is a timestamp without a zone; write it with one, for instance as UTC")
    if not (pa.types.is_timestamp(kind) or _is_text(kind)):
        raise refuse("observed_at", f"must be a timestamp with its zone, or RFC 3339 texts, not {kind}")
    values = [name for name in measured.values if name in schema.names]
    if not values:
        raise ConfigurationError(f"{path}: no column holds a value; name some of {', '.join(measured.values)}")
    for column in values:
        kind = _decoded(schema.field(column).type)
        if not (_is_text(kind) or any(of(kind) for of in NUMBERS)):
            raise refuse(column, f"must hold numbers, or texts of numbers, not {kind}")
    if "status" in schema.names and not pa.types.is_integer(schema.field("status").type):
        raise refuse("status", f"must hold integers, not {schema.field('status').type}")
    return [measured.id_field, "observed_at", *values, *(["status"] if "status" in schema.names else [])]


def _decoded(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _from_row(batches: Iterator[pa.RecordBatch], skip: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if skip < batch.num_rows:
            yield batch.slice(skip) if skip else batch
        skip = max(0, skip - batch.num_rows)


def _columns(batch: pa.RecordBatch, measured: Measured) -> tuple[Columns, dict[int, str]]:
    """Turn a record batch into typed columns, and say which rows cannot be."""
    n = batch.num_rows
    faults: dict[int, str] = {}
    observed = _observed(batch.column("observed_at"), faults)
    noted: dict[int, list[LooseValue]] = {}
    values: F64 = np.full((n, len(measured.values)), np.nan, order="F")
    for j, name in enumerate(measured.values):
        if name in batch.schema.names:
            values[:, j] = _numbers(batch.column(name), name, noted)
    status: U8 = np.zeros((n, len(measured.gridded)), np.uint8)
    if "status" in batch.schema.names:
        codes: I64 = arrays.plain(pc.cast(batch.column("status"), pa.int64(), safe=False), np.int64)
        for row in np.flatnonzero((codes < 0) | (codes > 255)).tolist():
            faults.setdefault(row, f"Expected an instrument status, got '{codes[row]}' - at column `status`")
        status[:] = codes.astype(np.uint8)[:, None]
    notes = {row: note for row, each in noted.items() if (note := ValueNotes.of(each)) is not None}
    return Columns(_coded(batch.column(measured.id_field)), observed, values, status, notes), faults


def _numbers(column: pa.Array, name: str, noted: dict[int, list[LooseValue]]) -> F64:
    """Return a column of values, shape (n,): NaN where null or no number; and add what is to be noted, by row."""
    if _is_text(_decoded(column.type)):
        coded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
        texts: list[str | None] = coded.dictionary.to_pylist()
        read = [LooseValue(NOT_MEASURED) if text is None else read_text(name, text) for text in texts]
        read.append(LooseValue(NOT_MEASURED))  # of a null
        codes = pc.fill_null(pc.cast(coded.indices, pa.int64()), len(read) - 1).to_numpy()
        for row in np.flatnonzero(np.array([bool(value.note) for value in read])[codes]).tolist():
            noted.setdefault(row, []).append(read[codes[row]])
        of_texts: F64 = np.array([value.number for value in read])[codes]
        return of_texts
    if not pa.types.is_float64(column.type):
        column = pc.cast(column, pa.float64(), safe=False)
    numbers: F64 = arrays.plain(column, np.float64, np.nan)
    infinite = np.isinf(numbers)
    if not infinite.any():
        return numbers
    for row in np.flatnonzero(infinite).tolist():
        fault = f"Expected a number, got '{numbers[row]}' - at column `{name}`"
        noted.setdefault(row, []).append(LooseValue(NOT_MEASURED, unreadable(name, f"{numbers[row]}"), fault))
    finite: F64 = np.where(infinite, np.nan, numbers)
    return finite


def _coded(column: pa.Array) -> tuple[list[str | None], I32]:
    """Return the different texts of a column, and the index of each row's."""
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    names: list[str | None] = column.dictionary.to_pylist()
    codes = column.indices
    if codes.null_count:
        codes = pc.fill_null(codes, len(names))
        names.append(None)
    return names, arrays.plain(pc.cast(codes, pa.int32()), np.int32)


def _observed(column: pa.Array, faults: dict[int, str]) -> I64:
    """Return microseconds since 1970 UTC, shape (n,), and note in ``faults`` the rows that have no such time."""
    if pa.types.is_timestamp(column.type):
        observed, bad = _micros(column), ~arrays.valid(column)
        earliest, latest = np.array(UNIX_RANGE_S) * SECOND_US
        bad = bad | (observed < earliest) | (observed >= latest)
        rows = np.flatnonzero(bad).tolist()
        shown = [f"{observed[row]} µs since 1970" if column[row].is_valid else None for row in rows]
    else:
        coded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
        times, unreadable = read_timestamps(coded.dictionary, "rfc3339", None)
        index = pc.fill_null(coded.indices, times.size).to_numpy()
        observed, bad = np.append(times, 0)[index], np.append(unreadable, True)[index]
        rows = np.flatnonzero(bad).tolist()
        shown = [column[row].as_py() for row in rows]
    for row, got in zip(rows, shown, strict=True):
        faults.setdefault(row, f"Expected a time with its offset, got {got!r} - at column `observed_at`")
    return observed


def _micros(column: pa.Array) -> I64:
    """Microseconds of timestamps in any unit, rounded down; nonsense where they would not fit."""
    count: I64 = arrays.plain(pc.cast(column, pa.int64()), np.int64)
    if column.type.unit == "ns":
        return count // 1000
    scale = UNIT_US[column.type.unit]
    limit = np.iinfo(np.int64).max // scale
    return np.clip(count, -limit, limit) * scale


def _rfc3339(at: int) -> str:
    try:
        return (EPOCH + timedelta(microseconds=at)).isoformat()
    except OverflowError:
        return f"{at} µs since 1970"
