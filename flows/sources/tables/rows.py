"""Readers of CSV and TSV through a column map: wide form, a row is a reading; long form, several rows are."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flows.arrays import F64, I32, I64, U8
from flows.decode.batch import InMemory, RawMessages, no_readings
from flows.decode.decoder import Columns, Decoder
from flows.sources.base import START, Block, Place, block, judged, too_large
from flows.sources.files.lines import ByteSource, GzipBytes, Lines, Piece, PlainBytes
from flows.sources.tables import cells as cell
from flows.sources.tables.cells import Cells
from flows.sources.tables.column_map import Layout
from schemas.errors import ConfigurationError
from schemas.measured import AIR

SPAN = 4096
"""In long form, so many rows apart rows of one station and time may stand to make one reading. The Seoul files have
them side by side; where they stand farther apart they make several readings, which the grid joins all the same."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def open_bytes(path: Path, offset: int) -> ByteSource:
    """Open a file, plain or .gz, at an offset of its content."""
    return GzipBytes(path, offset) if path.suffix == ".gz" else PlainBytes(path, offset)


class _Rows:
    """What both forms share: the header, and pieces of lines without the empty ones."""

    def __init__(self, path: Path, layout: Layout, place: Place) -> None:
        self.layout = layout
        self.delimiter = layout.delimiter or ("\t" if ".tsv" in path.suffixes else ",")
        self.names, start = _header(path, layout, self.delimiter)
        for column, key in layout.columns().items():
            if self.names.count(column) != 1:
                known = ", ".join(self.names)
                raise ConfigurationError(
                    f"{path}: needs one column {column!r} ({key} of the map); its columns are {known}"
                )
        self.offset = max(start, place["offset"])
        self.lines = Lines(open_bytes(path, self.offset), self.offset, unended=bool(place["unended"]))

    def read(self, rows: int) -> Piece | None:
        """Return the next lines, without those that are empty."""
        piece = self.lines.read(rows)
        if piece is None or piece.too_large or not _has_empty(piece.data):
            return piece
        kept = [line for line in piece.data.split(b"\n")[:-1] if line not in (b"", b"\r")]
        return piece._replace(data=b"".join(line + b"\n" for line in kept), lines=len(kept))

    def parse(self, piece: Piece) -> Cells:
        """Cut lines into cells."""
        return cell.parse(piece.data, piece.lines, self.names, self.layout, self.delimiter)


class WideReader:
    """A row is a reading; ``koff`` is the row, from 0; empty lines are none."""

    def __init__(self, path: Path, part: int, decoder: Decoder, layout: Layout, place: Place = START) -> None:
        self._path, self._part, self._decoder, self._layout = path, part, decoder, layout
        self._rows: _Rows | None = None
        self.place = place

    def read(self, rows: int) -> Block | None:
        """Return the next block of up to ``rows`` rows, None at the end."""
        self._rows = self._rows or _Rows(self._path, self._layout, self.place)
        place, first = self.place, self.place["koff"]
        piece = self._rows.read(rows)
        if piece is None:
            return None
        end = first + piece.lines
        self.place = {"koff": end, "offset": piece.end, "unended": int(self._rows.lines.unended)}
        if piece.too_large:
            return block(no_readings(), [too_large(self._part, first, piece)], first, end, place)
        if not piece.lines:
            return block(no_readings(), [], first, first, place)
        cells = self._rows.parse(piece)
        columns = self._columns(cells)
        texts = InMemory(piece.data.split(b"\n"))
        readings, rejects = judged(self._decoder, self._part, first, columns, texts, cells.faults)
        return block(readings, rejects, first, end, place)

    def pause(self) -> None:
        """Give back what the operating system lends."""
        if self._rows:
            self._rows.lines.pause()

    def _columns(self, cells: Cells) -> Columns:
        layout = self._layout
        station = cell.stations(cells, layout.station)
        observed = cell.times(cells, layout.time)
        values: F64 = np.full((cells.rows, len(AIR.values)), np.nan, order="F")
        status: U8 = np.zeros((cells.rows, len(AIR.gridded)), np.uint8)
        if layout.status.column is not None:
            status[:] = cell.status(cells, layout.status.column, layout.status, layout.missing)[:, None]
        for name, rule in layout.values.items():
            missing = layout.missing + rule.missing
            sent = [cell.numbers(cells, column, missing) for column in rule.sources]
            values[:, AIR.values.index(name)] = _mean(sent) * rule.scale + rule.offset
            if rule.status is not None:
                status[:, AIR.gridded.index(name)] = cell.status(cells, rule.status, layout.status, layout.missing)
        return Columns(station, observed, values, status)


@dataclass(slots=True)
class _Held:
    """Rows of a long form that may still be joined: columns of n rows."""

    row: I64
    station: I32
    observed: I64
    item: I32
    """Index into ``VALUES``; -1 for a row that makes no value."""
    value: F64
    status: U8
    alone: NDArray[np.bool_]
    """A message of its own: at fault, or repeating what its reading has."""
    line: list[bytes]
    fault: dict[int, str]
    """By the row's number in the file."""
    large: set[int]
    """Numbers of lines too large."""

    def choose(self, kept: NDArray[np.bool_]) -> "_Held":
        rows = set(self.row[kept].tolist())
        return _Held(
            self.row[kept],
            self.station[kept],
            self.observed[kept],
            self.item[kept],
            self.value[kept],
            self.status[kept],
            self.alone[kept],
            [line for line, keep in zip(self.line, kept.tolist(), strict=True) if keep],
            {row: fault for row, fault in self.fault.items() if row in rows},
            self.large & rows,
        )


class LongReader:
    """Several rows are a reading; ``koff`` is the reading, from 0, where its first row stands.

    Rows of one station and time belong together if they stand within ``SPAN`` rows of the first of them; a row that
    repeats an item, or cannot be read, is a message of its own. This does not depend on how the file is cut.
    """

    def __init__(self, path: Path, part: int, decoder: Decoder, layout: Layout, place: Place = START) -> None:
        self._path, self._part, self._decoder, self._layout = path, part, decoder, layout
        self._items = {rule.item: AIR.values.index(name) for name, rule in layout.values.items()}
        self._names: dict[str | None, int] = {}
        self._rows: _Rows | None = None
        self._held: _Held | None = None
        self._read = 0  # rows
        self._made = 0  # messages
        self._ended = False
        self.place = START  # always: how rows were joined cannot be told from the middle

    def read(self, rows: int) -> Block | None:
        """Return the next block, the readings that no later row can join; None at the end."""
        self._rows = self._rows or _Rows(self._path, self._layout, START)
        piece = None if self._ended else self._rows.read(rows)
        if piece is None:
            self._ended = True
            if self._held is None:
                return None
        elif piece.lines:
            new = self._too_large_row(piece) if piece.too_large else self._rows_of(piece)
            self._held = _append(self._held, new) if self._held else new
            self._read += piece.lines
        return self._join() if self._held else block(no_readings(), [], self._made, self._made, START)

    def pause(self) -> None:
        """Give back what the operating system lends."""
        if self._rows:
            self._rows.lines.pause()

    def _rows_of(self, piece: Piece) -> _Held:
        assert self._rows is not None
        assert self._layout.long is not None
        layout, long, cells = self._layout, self._layout.long, self._rows.parse(piece)
        misshapen = list(cells.faults)
        texts, of = cells.coded(long.item)
        item = np.array([self._items.get(text, -1) for text in texts], np.int32)[of]
        names, codes = cell.stations(cells, layout.station)
        station = np.array([self._names.setdefault(name, len(self._names)) for name in names], np.int32)[codes]
        observed = cell.times(cells, layout.time)
        value = np.full(cells.rows, np.nan)
        for name, rule in layout.values.items():
            of_item = item == AIR.values.index(name)
            sent = cell.numbers(cells, long.value, layout.missing + rule.missing, of_item)
            value[of_item] = sent[of_item] * rule.scale + rule.offset
        status = np.zeros(cells.rows, np.uint8)
        if long.status is not None:
            status = cell.status(cells, long.status, layout.status, layout.missing)
        alone = np.zeros(cells.rows, bool)
        alone[list(cells.faults)] = True
        row = np.arange(self._read, self._read + cells.rows)
        fault = {self._read + row: text for row, text in cells.faults.items()}
        held = _Held(row, station, observed, item, value, status, alone, piece.data.split(b"\n")[:-1], fault, set())
        kept = item >= 0  # what nobody asked for is passed over, like an unknown column
        kept[misshapen] = True
        return held if kept.all() else held.choose(kept)

    def _too_large_row(self, piece: Piece) -> _Held:
        none = self._names.setdefault(None, len(self._names))
        fault = too_large(self._part, 0, piece).detail
        return _Held(
            np.array([self._read]),
            np.array([none], np.int32),
            np.zeros(1, np.int64),
            np.array([-1], np.int32),
            np.array([np.nan]),
            np.zeros(1, np.uint8),
            np.ones(1, bool),
            [piece.data],
            {self._read: fault},
            {self._read},
        )

    def _join(self) -> Block:
        """Make readings of the rows held, and keep those that later rows may join."""
        assert self._held is not None
        held, first = self._held, self._made
        message, starts = _messages(held)
        count = starts.size if self._ended else int(np.searchsorted(starts, self._read - SPAN, "right"))
        now = message < count
        out = held if now.all() else held.choose(now)
        self._held = None if now.all() else held.choose(~now)
        self._made = first + count
        message = message[now]
        begin = np.flatnonzero(np.isin(out.row, starts[:count]))  # in the order of the messages, as rows are
        names = list(self._names)
        values: F64 = np.full((count, len(AIR.values)), np.nan, order="F")
        status: U8 = np.zeros((count, len(AIR.gridded)), np.uint8)
        named = out.item >= 0
        values[message[named], out.item[named]] = out.value[named]
        graded = named & (out.item < len(AIR.gridded))
        status[message[graded], out.item[graded]] = out.status[graded]
        columns = Columns((names, out.station[begin]), out.observed[begin], values, status)
        of_row = dict(zip(out.row.tolist(), message.tolist(), strict=True))
        faults = {of_row[row]: fault for row, fault in out.fault.items()}
        large = {first + of_row[row] for row in out.large}
        payloads = _MultiLine(out.line, message, count)
        readings, rejects = judged(self._decoder, self._part, first, columns, payloads, faults)
        rejects = [r._replace(reason="too_large") if r.offset in large else r for r in rejects]
        return block(readings, rejects, first, self._made, self.place)


class _MultiLine(RawMessages):
    """RawMessages of readings made of several lines."""

    def __init__(self, lines: list[bytes], message: I64, count: int) -> None:
        self._lines = lines
        self._order = np.argsort(message, kind="stable")
        self._bounds = np.searchsorted(message[self._order], np.arange(count + 1))

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        spans = [self._order[self._bounds[row] : self._bounds[row + 1]].tolist() for row in map(int, rows)]
        return [b"\n".join(self._lines[i] for i in span) for span in spans]


def _messages(held: _Held) -> tuple[I64, I64]:
    """Say which rows make one message.

    Returns:
        The message of each row, shape (n,), and the number of each message's first row in the file; messages are in
        the order of their first rows. Marks rows that repeat an item as ``alone``.
    """
    joint = np.flatnonzero(~held.alone)
    order = joint[np.lexsort((held.row[joint], held.observed[joint], held.station[joint]))]
    row = held.row[order]
    new = np.ones(order.size, bool)
    new[1:] = (np.diff(held.station[order]) != 0) | (np.diff(held.observed[order]) != 0)
    run = np.cumsum(new) - 1
    starts = np.flatnonzero(new)
    for far in np.unique(run[row - row[starts][run] >= SPAN]).tolist():  # rare: the same hour again, far below
        begin, end = starts[far], starts[far + 1] if far + 1 < starts.size else order.size
        since = begin
        for i in range(begin, end):
            if row[i] - row[since] >= SPAN:
                new[i], since = True, i
    run = np.cumsum(new) - 1
    _, firsts = np.unique(run * len(AIR.values) + held.item[order], return_index=True)
    repeats = np.ones(order.size, bool)
    repeats[firsts] = False
    held.alone[order[repeats]] = True
    lead = held.row.copy()  # of every row, the number of its message's first row
    lead[order] = row[np.flatnonzero(new)][run]
    lead[held.alone] = held.row[held.alone]
    starts, message = np.unique(lead, return_inverse=True)
    return message, starts


def _append(a: _Held, b: _Held) -> _Held:
    return _Held(
        np.concatenate([a.row, b.row]),
        np.concatenate([a.station, b.station]),
        np.concatenate([a.observed, b.observed]),
        np.concatenate([a.item, b.item]),
        np.concatenate([a.value, b.value]),
        np.concatenate([a.status, b.status]),
        np.concatenate([a.alone, b.alone]),
        a.line + b.line,
        a.fault | b.fault,
        a.large | b.large,
    )


def _mean(sent: list[F64]) -> F64:
    """Mean of those present, shape (n,); a single column as it is."""
    if len(sent) == 1:
        return sent[0]
    table = np.stack(sent)
    there = ~np.isnan(table)
    total = np.where(there, table, 0).sum(axis=0)
    count = there.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _has_empty(data: bytes) -> bool:
    return data.startswith((b"\n", b"\r\n")) or b"\n\n" in data or b"\n\r\n" in data


def _header(path: Path, layout: Layout, delimiter: str) -> tuple[list[str], int]:
    """Read the names of the columns, and where the first row begins."""
    lines = Lines(open_bytes(path, 0))
    wanted = layout.skip_lines + (layout.names is None)
    text, mark = "", False
    for number in range(max(1, wanted)):
        piece = lines.read(1)
        if piece is None and wanted:
            raise ConfigurationError(f"{path}: ends before its header, line {wanted}")
        data = piece.data if piece else b""
        mark = mark or (number == 0 and layout.utf8 and data.startswith(BYTE_ORDER_MARK))
        text = data.decode(layout.encoding, "replace").removeprefix("\ufeff").rstrip("\r\n")
    lines.pause()
    start = lines.offset if wanted else len(BYTE_ORDER_MARK) * mark
    if layout.names is not None:
        return layout.names, start
    return [name.strip() for name in next(csv.reader([text], delimiter=delimiter), [])], start
