"""Data files of one epoch: written while it lasts, so that memory does not grow with it."""

import json
import os
import time
import uuid
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flows import arrays as arrow
from schemas.measured import AIR
from schemas.tables import TABLES
from sinks import recovery_store as store
from sinks.lake import dates
from sinks.lake.dates import LocalDates

ROW_GROUP = 131_072
"""Rows kept back until they make a row group; less packs worse, more costs memory."""
MOST_KEPT = 4 * ROW_GROUP
"""Rows kept back over all tables and days, and as many that are being written."""
LONGEST_KEPT = 2.0
"""Seconds that rows are kept back: then little is left to be written at an epoch's end, where all else waits."""
QUIET = 0.25
"""The same for a day that its table has gone past, counted from its last rows."""
MOST_OPEN = 64
"""Files open at once; a backfill of years touches thousands of days in one epoch."""
DICTIONARY = {*AIR.values, "coverage"}
"""Numbers of few different values; looking each up costs more than the writing of other numbers."""
ENCODING = {"mean": "BYTE_STREAM_SPLIT", "koff": "DELTA_BINARY_PACKED", "count": "DELTA_BINARY_PACKED"}
"""The rest is plain: repeats are left to the compression."""
STATISTICS = {"station_id", "parameter", "koff", "revision"}
"""Columns beside the time by whose range a reader may skip groups of rows."""
PAGE_BYTES = 8 << 20
"""A group of rows is a page of each column: readers skip groups, and every page costs the compressor a start."""
BATCH_ROWS = 16_384
"""Rows that are encoded at once."""
FEW_ROWS = 2048
"""A file that begins with so few rows at most is packed by snappy: zstd takes a start for every column."""
NULLABLE: dict[str, set[str]] = {"air_readings": {*AIR.values}, "rolling": set()}
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

    def __init__(self, root: Path, table: str, dt: str, name: str, rows: int) -> None:
        self.path = f"dt={dt}/{name}-{uuid.uuid4().hex[:12]}.parquet"
        self.dt, self._table, self._full = dt, table, root / table / self.path
        self._full.parent.mkdir(parents=True, exist_ok=True)
        self._schema = _file_schema(table)
        packing = {"compression": "zstd", "compression_level": 1} if rows > FEW_ROWS else {"compression": "snappy"}
        self._writer = pq.ParquetWriter(self._full, self._schema, **_options(table, self._schema), **packing)
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
        at = TABLES[self._table].time
        low, high = ({c: _iso(span[i]) if c == at else span[i] for c, span in self._ranges.items()} for i in (0, 1))
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


def _options(table: str, schema: pa.Schema) -> dict[str, Any]:
    """How files of a table are written, whatever packs them."""
    return {
        "use_dictionary": [f.name for f in schema if f.name in DICTIONARY or pa.types.is_dictionary(f.type)],
        "column_encoding": {name: ENCODING[name] for name in schema.names if name in ENCODING},
        "write_statistics": [name for name in schema.names if name in STATISTICS or name == TABLES[table].time],
        "write_page_index": False,
        "write_batch_size": BATCH_ROWS,
        "data_page_size": PAGE_BYTES,
        "max_rows_per_page": MOST_KEPT,
    }


def _iso(microseconds: int) -> str:
    return f"{np.datetime64(microseconds, 'us')}Z"


class EpochFiles:
    """What one epoch writes. Files are written by a thread beside the worker: Arrow needs no Python for it.

    Args:
        root: the lake.
        prefix: start of the data files' names: flow and sequence.
        days: dates of the city's time zone.
    """

    def __init__(self, root: Path, prefix: str, days: LocalDates) -> None:
        self._root, self._days = root, days
        self._kept: dict[tuple[str, int], _Kept] = {}
        self._newest: dict[str, int] = {}
        """By table, the newest day that has rows."""
        self._rows = 0
        self._files = _Files(root, prefix)
        self._thread: ThreadPoolExecutor | None = None
        self._under_way: deque[tuple[Future[None], int]] = deque()
        self._rows_under_way = 0

    def add(self, table: str, batch: pa.RecordBatch) -> None:
        """Add rows of a table; they may stay in memory until they make a row group.

        Raises:
            OSError: earlier ones could not be written.
        """
        now = time.monotonic()
        for day, rows in self._by_day(table, batch):
            kept = self._kept.setdefault((table, day), _Kept(now, now))
            kept.batches.append(rows)
            kept.rows += rows.num_rows
            kept.newest = now
            self._newest[table] = max(day, self._newest.get(table, day))
            self._rows += rows.num_rows
        for key, kept in list(self._kept.items()):
            past = key[1] < self._newest[key[0]] and now - kept.newest > QUIET
            if past or kept.rows >= ROW_GROUP or now - kept.since > LONGEST_KEPT:
                self._write(key)
        if self._rows > MOST_KEPT:
            fullest = sorted(self._kept, key=lambda key: -self._kept[key].rows)
            for key in fullest[: len(fullest) // 2 + 1]:
                self._write(key)
        self.wait(MOST_KEPT)

    def finish(self) -> dict[str, list[DataFile]]:
        """Write what is kept, close and fsync; by table, the files of the epoch.

        Raises:
            OSError: something could not be written.
        """
        for key in list(self._kept):
            self._write(key)
        self.wait()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        done = self._files.finish()
        folders = {(self._root / table / file.path).parent for table, file in done}
        for folder in folders:
            store.fsync(folder)
        for parent in {folder.parent for folder in folders}:
            store.fsync(parent)
        files: dict[str, list[DataFile]] = {}
        for table, file in done:
            files.setdefault(table, []).append(file)
        return files

    def _by_day(self, table: str, batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
        times = arrow.plain(batch.column(TABLES[table].time), np.int64)
        day = self._days.of(times)
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
        kept = self._kept.pop(key)
        self._rows -= kept.rows
        self._thread = self._thread or ThreadPoolExecutor(1, "lake-write")
        self._under_way.append((self._thread.submit(self._files.write, key, kept.batches), kept.rows))
        self._rows_under_way += kept.rows

    def wait(self, most: int = 0) -> None:
        """Wait until at most so many rows are under way, and raise what made one fail."""
        while self._under_way and (self._under_way[0][0].done() or self._rows_under_way > most):
            written, rows = self._under_way.popleft()
            self._rows_under_way -= rows
            written.result()


@dataclass(slots=True)
class _Kept:
    """Rows of a table and day that do not make a row group yet."""

    since: float
    newest: float
    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0


class _Files:
    """The epoch's files, of which the thread has some open."""

    def __init__(self, root: Path, prefix: str) -> None:
        self._root, self._prefix = root, prefix
        self._open: dict[tuple[str, int], _Open] = {}
        self._done: list[tuple[str, DataFile]] = []

    def write(self, key: tuple[str, int], batches: list[pa.RecordBatch]) -> None:
        """Append a row group to the file of a table and day."""
        file = self._open.pop(key, None)
        if file is None:
            while len(self._open) >= MOST_OPEN:
                self._close(next(iter(self._open)))
            rows = sum(batch.num_rows for batch in batches)
            file = _Open(self._root, key[0], dates.name(key[1]), self._prefix, rows)
        self._open[key] = file  # the last used goes last: the first is closed first
        file.write(batches)

    def finish(self) -> list[tuple[str, DataFile]]:
        """Close all files: table and file of each."""
        for key in list(self._open):
            self._close(key)
        return self._done

    def _close(self, key: tuple[str, int]) -> None:
        self._done.append((key[0], self._open.pop(key).finish()))
