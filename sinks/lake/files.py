"""Data files of one epoch: written while it lasts, so that memory does not grow with it."""

import json
import time
import uuid
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from flows import arrays
from flows.arrays import I64
from schemas.tables import TABLES, Table
from sinks import recovery_store
from sinks.lake.dates import LocalDates, iso_date
from sinks.lake.settings import LakeSettings

PAGE_BYTES = 8 << 20
"""A row group is one page of each column: readers skip groups, and every page costs the compressor a start."""
ENCODED_ROWS = 16_384
"""Rows that are encoded at once."""
SNAPPY_ROWS = 2048
"""A file that begins with so few rows at most is packed by snappy: zstd takes a start for every column."""


class PendingFile(NamedTuple):
    """A finished data file that is not committed yet: what its Delta add action says."""

    path: str
    """Relative to the table."""
    size: int
    """Bytes."""
    dt: str
    """Its day, in ISO form."""
    stats: str
    """Statistics as Delta's JSON: number of rows, least and greatest values, number of nulls."""


class EpochFiles:
    """The data files of one epoch, one for each table and day; more where too many would be open.

    Files are written by a thread beside the worker: Arrow needs no Python for it.

    Args:
        root: the lake.
        prefix: start of the files' names, as ``layout.file_prefix`` makes it.
        dates: of the city's time zone.
        settings: limits of memory and of open files.

    >>> import tempfile
    >>> schema = TABLES["ledger"].schema.remove_metadata()
    >>> row = dict.fromkeys(schema.names, 0) | {"flow": "air", "topic": "air", "received_at": 1_772_500_000_000_000}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     files = EpochFiles(Path(folder), "air-00000007", LocalDates("Asia/Seoul"))
    ...     files.add("ledger", pa.RecordBatch.from_pylist([row], schema))
    ...     [file] = files.finish()["ledger"]
    >>> file.dt, file.path.rsplit("-", 1)[0], json.loads(file.stats)["numRecords"]
    ('2026-03-03', 'dt=2026-03-03/air-00000007', 1)
    """

    def __init__(self, root: Path, prefix: str, dates: LocalDates, settings: LakeSettings | None = None) -> None:
        self._root, self._dates, self._settings = root, dates, settings or LakeSettings()
        self._buffers: dict[tuple[str, int], _Buffer] = {}
        """By table and day, rows that do not make a row group yet."""
        self._newest_day: dict[str, int] = {}
        self._buffered_rows = 0
        self._open_files = _OpenFiles(root, prefix, self._settings)
        self._thread: ThreadPoolExecutor | None = None
        self._writes: deque[tuple[Future[None], int]] = deque()
        """Row groups that the thread writes, and how many rows each has."""
        self._rows_in_writes = 0

    def add(self, table: str, batch: pa.RecordBatch) -> None:
        """Add rows of a table; they may stay in memory until they make a row group.

        Raises:
            OSError: earlier ones could not be written.
        """
        settings, now = self._settings, time.monotonic()
        for day, rows in self._by_day(table, batch):
            buffer = self._buffers.setdefault((table, day), _Buffer(now, now))
            buffer.batches.append(rows)
            buffer.rows += rows.num_rows
            buffer.newest_at = now
            self._newest_day[table] = max(day, self._newest_day.get(table, day))
            self._buffered_rows += rows.num_rows
        for (of_table, day), buffer in list(self._buffers.items()):
            is_past = day < self._newest_day[of_table] and now - buffer.newest_at > settings.past_day_buffered_s
            is_old = now - buffer.oldest_at > settings.max_buffered_s
            if is_past or is_old or buffer.rows >= settings.row_group_rows:
                self._write(of_table, day)
        if self._buffered_rows > settings.max_buffered_rows:
            fullest_first = sorted(self._buffers, key=lambda key: -self._buffers[key].rows)
            for of_table, day in fullest_first[: len(fullest_first) // 2 + 1]:
                self._write(of_table, day)
        self.wait(settings.max_buffered_rows)

    def wait(self, most: int = 0) -> None:
        """Wait until at most ``most`` rows are being written, and raise what made a write fail."""
        while self._writes and (self._writes[0][0].done() or self._rows_in_writes > most):
            write, rows = self._writes.popleft()
            self._rows_in_writes -= rows
            write.result()

    def finish(self) -> dict[str, list[PendingFile]]:
        """Write what is buffered, close and fsync; return the epoch's files by table.

        Raises:
            OSError: something could not be written.
        """
        for table, day in list(self._buffers):
            self._write(table, day)
        self.wait()
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
        finished = self._open_files.finish()
        day_folders = {(self._root / table / file.path).parent for table, file in finished}
        for folder in day_folders | {folder.parent for folder in day_folders}:
            recovery_store.fsync(folder)
        by_table: dict[str, list[PendingFile]] = {}
        for table, file in finished:
            by_table.setdefault(table, []).append(file)
        return by_table

    def _by_day(self, table: str, batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield a day and its rows; a day may come more than once."""
        days = self._dates.of(arrays.plain(batch.column(TABLES[table].time), np.int64))
        if not days.size:
            return
        changes = np.flatnonzero(days[1:] != days[:-1]) + 1
        # Rows come nearly in order: what stands before the first change and after the last needs no picking.
        bounds = [0, *sorted({*changes[:1].tolist(), *changes[-1:].tolist()}), days.size]
        for begin, end in pairwise(bounds):
            within = days[begin:end]
            first = within.min()
            if within[0] == first == within.max():
                yield int(first), batch.slice(begin, end - begin)
                continue
            for day in np.flatnonzero(np.bincount(within - first)) + first:
                yield int(day), batch.take(arrays.numbers(begin + np.flatnonzero(within == day), pa.int64()))

    def _write(self, table: str, day: int) -> None:
        """Hand the buffer of a table and day to the thread."""
        buffer = self._buffers.pop((table, day))
        self._buffered_rows -= buffer.rows
        self._thread = self._thread or ThreadPoolExecutor(1, "lake-write")
        write = self._thread.submit(self._open_files.write, table, day, buffer.batches)
        self._writes.append((write, buffer.rows))
        self._rows_in_writes += buffer.rows


@dataclass(slots=True)
class _Buffer:
    """Rows of a table and day that do not make a row group yet; times are of the monotonic clock."""

    oldest_at: float
    newest_at: float
    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0


class _OpenFiles:
    """The files of an epoch, some of them open; used by one thread at a time."""

    def __init__(self, root: Path, prefix: str, settings: LakeSettings) -> None:
        self._root, self._prefix, self._settings = root, prefix, settings
        self._open: dict[tuple[str, int], _FileWriter] = {}
        """By table and day, the least recently used first."""
        self._finished: list[tuple[str, PendingFile]] = []

    def write(self, table: str, day: int, batches: list[pa.RecordBatch]) -> None:
        """Append a row group to the file of a table and day."""
        file = self._open.pop((table, day), None)
        if file is None:
            while len(self._open) >= self._settings.max_open_files:
                self._close(next(iter(self._open)))
            rows = sum(batch.num_rows for batch in batches)
            file = _FileWriter(
                self._root / table, TABLES[table], iso_date(day), self._prefix, rows, self._settings.max_buffered_rows
            )
        self._open[table, day] = file
        file.write(batches)

    def finish(self) -> list[tuple[str, PendingFile]]:
        """Close all files; return the table and file of each."""
        for key in list(self._open):
            self._close(key)
        return self._finished

    def _close(self, key: tuple[str, int]) -> None:
        self._finished.append((key[0], self._open.pop(key).finish()))


class _FileWriter:
    """A Parquet file being written, and the ranges of the columns that the log keeps.

    Args:
        folder: of the table.
        table: says how its columns are stored.
        dt: the day.
        prefix: start of the file's name.
        rows: rows of the first row group, which decide how the file is packed.
        max_page_rows: no row group has more rows.
    """

    def __init__(self, folder: Path, table: Table, dt: str, prefix: str, rows: int, max_page_rows: int) -> None:
        self._table, self._dt = table, dt
        self._relative = f"dt={dt}/{prefix}-{uuid.uuid4().hex[:12]}.parquet"
        self._path = folder / self._relative
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._schema = _file_schema(table)
        packing = {"compression": "zstd", "compression_level": 1} if rows > SNAPPY_ROWS else {"compression": "snappy"}
        self._writer = pq.ParquetWriter(self._path, self._schema, **_options(table, max_page_rows), **packing)
        self._rows = 0
        self._ranges: dict[str, tuple[Any, Any]] = {}

    def write(self, batches: list[pa.RecordBatch]) -> None:
        """Append a row group."""
        rows = pa.Table.from_batches(batches).unify_dictionaries()
        rows = pa.Table.from_arrays(rows.columns, schema=self._schema)
        for column in (self._table.time, *self._table.storage.ranges):
            self._widen(column, rows.column(column))
        self._rows += rows.num_rows
        self._writer.write_table(rows, row_group_size=rows.num_rows)

    def finish(self) -> PendingFile:
        """Close the file and make it durable."""
        self._writer.close()
        recovery_store.fsync(self._path)
        low = {column: self._written(column, least) for column, (least, _) in self._ranges.items()}
        high = {column: self._written(column, greatest) for column, (_, greatest) in self._ranges.items()}
        stats = json.dumps(
            {"numRecords": self._rows, "minValues": low, "maxValues": high, "nullCount": dict.fromkeys(low, 0)}
        )
        return PendingFile(self._relative, self._path.stat().st_size, self._dt, stats)

    def _widen(self, column: str, values: pa.ChunkedArray) -> None:
        """Widen the range of a column by these values."""
        if pa.types.is_dictionary(values.type):
            used = np.unique(np.concatenate([_used(chunk) for chunk in values.chunks]))
            values = values.chunk(0).dictionary.take(arrays.numbers(used, pa.int64()))
        elif pa.types.is_timestamp(values.type):
            values = values.cast(pa.int64())
        span = pc.min_max(values).as_py()
        low, high = self._ranges.get(column, (span["min"], span["max"]))
        self._ranges[column] = (min(low, span["min"]), max(high, span["max"]))

    def _written(self, column: str, value: Any) -> Any:
        """A least or greatest value, as the log writes it."""
        return f"{np.datetime64(value, 'us')}Z" if pa.types.is_timestamp(self._schema.field(column).type) else value


def _used(texts: pa.DictionaryArray) -> I64:
    """Indices of the dictionary's texts that occur."""
    return np.flatnonzero(np.bincount(arrays.plain(texts.indices, np.int32)))


def _file_schema(table: Table) -> pa.Schema:
    """Schema in the file; where a value is always there, its marks for nulls are spared."""
    schema, nullable = table.schema.remove_metadata(), table.storage.nullable
    return schema if nullable is None else pa.schema([f.with_nullable(f.name in nullable) for f in schema])


def _options(table: Table, max_page_rows: int) -> dict[str, Any]:
    """How files of a table are written, whatever packs them."""
    storage, texts = table.storage, (f.name for f in table.schema if pa.types.is_dictionary(f.type))
    return {
        "use_dictionary": [*storage.dictionary, *texts],
        "column_encoding": dict(storage.encodings),
        "write_statistics": [table.time, *storage.statistics],
        "write_page_index": False,
        "write_batch_size": ENCODED_ROWS,
        "data_page_size": PAGE_BYTES,
        "max_rows_per_page": max_page_rows,
    }
