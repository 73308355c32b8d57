"""Data files of one epoch: written while it lasts, so that memory does not grow with it."""

import json
import os
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flows import arrow
from schemas.reading import VALUES
from schemas.tables import TABLES
from sinks import dates, store
from sinks.dates import LocalDates

ROW_GROUP = 131_072
"""Rows kept back until they make a row group; less packs worse, more costs memory."""
MOST_KEPT = 4 * ROW_GROUP
"""Rows kept back over all tables and days."""
MOST_OPEN = 64
"""Files open at once; a backfill of years touches thousands of days in one epoch."""
DICTIONARY = {*VALUES, "coverage"}
"""Numbers of few different values; looking each up costs more than the writing of other numbers."""
ENCODING = {"mean": "BYTE_STREAM_SPLIT", "koff": "DELTA_BINARY_PACKED", "count": "DELTA_BINARY_PACKED"}
"""The rest is plain: repeats are left to the compression."""
STATISTICS = {"station_id", "parameter", "koff", "revision"}
"""Columns beside the time by whose range a reader may skip groups of rows."""
PAGE_BYTES = 8 << 20
"""A group of rows is a page of each column: readers skip groups, and every page costs the compressor a start."""
BATCH_ROWS = 16_384
"""Rows that are encoded at once."""
NULLABLE: dict[str, set[str]] = {"air_readings": {*VALUES}, "rolling": set()}
"""Columns of the large tables that may hold nulls; of the others all may."""
RANGES = ("revision", "koff", "station_id")
"""Columns beside the time whose least and greatest value a reader may skip files by."""


@dataclass(slots=True)
class DataFile:
    """A finished data file: what its Delta add action says."""

    path: str
    """Relative to the table."""
    size: int
    dt: str
    stats: str

    def plain(self) -> list[Any]:
        """As plain data, for a snapshot."""
        return [self.path, self.size, self.dt, self.stats]


class _Open:
    """A file being written, and the ranges of what is in it."""

    def __init__(self, root: Path, table: str, dt: str, name: str) -> None:
        self.path = f"dt={dt}/{name}-{uuid.uuid4().hex[:12]}.parquet"
        self.dt, self._table, self._full = dt, table, root / table / self.path
        self._full.parent.mkdir(parents=True, exist_ok=True)
        self._schema = _file_schema(table)
        self._writer = pq.ParquetWriter(
            self._full,
            self._schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=[f.name for f in self._schema if f.name in DICTIONARY or pa.types.is_dictionary(f.type)],
            column_encoding={name: ENCODING[name] for name in self._schema.names if name in ENCODING},
            write_statistics=[name for name in self._schema.names if name in STATISTICS or name == TABLES[table].time],
            write_page_index=False,
            write_batch_size=BATCH_ROWS,
            data_page_size=PAGE_BYTES,
            max_rows_per_page=MOST_KEPT,
        )
        self._rows = 0
        self._ranges: dict[str, tuple[Any, Any]] = {}

    def write(self, batches: list[pa.RecordBatch]) -> None:
        rows = pa.Table.from_batches(batches).unify_dictionaries()
        rows = pa.Table.from_arrays(rows.columns, schema=self._schema)
        for column in (TABLES[self._table].time, *RANGES):
            if column in rows.schema.names:
                self._widen(column, rows.column(column))
        self._rows += rows.num_rows
        self._writer.write_table(rows, row_group_size=rows.num_rows)

    def finish(self) -> DataFile:
        self._writer.close()
        store.fsync(self._full)
        time = TABLES[self._table].time
        low, high = ({c: _iso(span[i]) if c == time else span[i] for c, span in self._ranges.items()} for i in (0, 1))
        stats = json.dumps(
            {"numRecords": self._rows, "minValues": low, "maxValues": high, "nullCount": dict.fromkeys(low, 0)}
        )
        return DataFile(self.path, os.stat(self._full).st_size, self.dt, stats)  # noqa: PTH116

    def _widen(self, column: str, values: pa.ChunkedArray) -> None:
        if pa.types.is_dictionary(values.type):
            used = np.unique(np.concatenate([_seen(chunk) for chunk in values.chunks]))
            values = values.chunk(0).dictionary.take(arrow.numbers(used, pa.int64()))
        elif pa.types.is_timestamp(values.type):
            values = values.cast(pa.int64())
        span = pc.min_max(values).as_py()
        low, high = span["min"], span["max"]
        if column in self._ranges:
            low, high = min(low, self._ranges[column][0]), max(high, self._ranges[column][1])
        self._ranges[column] = (low, high)


def _seen(names: pa.DictionaryArray) -> NDArray[np.int64]:
    """Which of the names occur."""
    return np.flatnonzero(np.bincount(arrow.plain(names.indices, np.int32)))


def _file_schema(table: str) -> pa.Schema:
    """Schema in the file; where a value is always there, its marks for nulls are spared."""
    schema = TABLES[table].schema.remove_metadata()
    return pa.schema([f.with_nullable(f.name in NULLABLE.get(table, schema.names)) for f in schema])


def _iso(microseconds: int) -> str:
    return f"{np.datetime64(microseconds, 'us')}Z"


@dataclass(slots=True)
class EpochFiles:
    """What one epoch writes.

    Args:
        root: the lake.
        prefix: start of the data files' names: flow and sequence.
        days: dates of the city's time zone.
    """

    root: Path
    prefix: str
    days: LocalDates
    _kept: dict[tuple[str, int], list[pa.RecordBatch]] = field(default_factory=dict)
    _sizes: Counter[tuple[str, int]] = field(default_factory=Counter)
    _open: dict[tuple[str, int], _Open] = field(default_factory=dict)
    _done: list[tuple[str, DataFile]] = field(default_factory=list)
    _rows: int = 0

    def add(self, table: str, batch: pa.RecordBatch) -> None:
        """Add rows of a table; they may stay in memory until they make a row group."""
        for day, rows in self._by_day(table, batch):
            key = (table, day)
            self._kept.setdefault(key, []).append(rows)
            self._sizes[key] += rows.num_rows
            self._rows += rows.num_rows
            if self._sizes[key] >= ROW_GROUP:
                self._write(key)
        if self._rows > MOST_KEPT:
            fullest = [key for key, _ in self._sizes.most_common()]
            for key in fullest[: len(fullest) // 2 + 1]:
                self._write(key)

    def finish(self) -> dict[str, list[DataFile]]:
        """Write what is kept, close and fsync; by table, the files of the epoch."""
        for key in list(self._kept):
            self._write(key)
        for key in list(self._open):
            self._close(key)
        folders = {(self.root / table / file.path).parent for table, file in self._done}
        for folder in folders:
            store.fsync(folder)
        for parent in {folder.parent for folder in folders}:
            store.fsync(parent)
        files: dict[str, list[DataFile]] = {}
        for table, file in self._done:
            files.setdefault(table, []).append(file)
        return files

    def _by_day(self, table: str, batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
        times = arrow.plain(batch.column(TABLES[table].time), np.int64)
        day = self.days.of(times)
        if not day.size:
            return
        changes = np.flatnonzero(day[1:] != day[:-1]) + 1
        # Rows come nearly in order: what stands before the first change and after the last needs no picking.
        bounds = [0, *sorted({*changes[:1].tolist(), *changes[-1:].tolist()}), day.size]
        for begin, end in pairwise(bounds):
            within = day[begin:end]
            if within[0] == within.min() == within.max():
                yield int(within[0]), batch.slice(begin, end - begin)
                continue
            for one in np.flatnonzero(np.bincount(within - within.min())) + within.min():
                yield int(one), batch.take(arrow.numbers(begin + np.flatnonzero(within == one), pa.int64()))

    def _write(self, key: tuple[str, int]) -> None:
        batches = self._kept.pop(key)
        self._rows -= self._sizes.pop(key)
        file = self._open.pop(key, None)
        if file is None:
            while len(self._open) >= MOST_OPEN:
                self._close(next(iter(self._open)))
            file = _Open(self.root, key[0], dates.name(key[1]), self.prefix)
        self._open[key] = file  # the last used goes last: the first is closed first
        file.write(batches)

    def _close(self, key: tuple[str, int]) -> None:
        self._done.append((key[0], self._open.pop(key).finish()))
