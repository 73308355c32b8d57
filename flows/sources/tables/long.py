"""Rows in long form: a row is one value, and several rows make a reading.

These four make two readings, of the stations ``a`` and ``b``::

    station,time,item,value
    a,3600,PM10,41
    a,3600,O3,30
    b,3600,PM10,42
    b,3600,O3,28
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flows.arrays import B1, F64, I32, I64, U8, Objects, Whole
from flows.decode.batch import RawMessages, no_readings
from flows.decode.decoder import Columns, Decoder
from flows.decode.values import LooseValue, ValueNotes
from flows.sources.base import START, Block, block, decode_columns, too_large
from flows.sources.files.lines import Chunk
from flows.sources.tables.cells import A_STATUS, read_numbers, read_stations, read_status, read_times
from flows.sources.tables.column_map import Layout
from flows.sources.tables.rows import RowSplitter

JOIN_ROWS = 4096
"""How far below its first row, in rows of the file, a reading may still gain values. The Seoul files have the rows of a
reading side by side; those farther apart make several readings, which the grid joins all the same."""


class LongRows(NamedTuple):
    """Rows of a long form that later rows may still join: columns of n rows, in the order of the file."""

    row: I64
    """Its number in the file."""
    station: I32
    """Index of its station's name."""
    observed: I64
    """Microseconds since 1970 UTC."""
    item: I32
    """Index into the values of a reading; -1 for a row that has none of them."""
    value: F64
    status: U8
    alone: B1
    """A message of its own: at fault, or repeating an item that its reading has."""
    line: Objects
    """Its bytes."""
    fault: Objects
    """What is wrong with it, a text; None otherwise."""
    noted: Objects
    """Values of it that cannot be read, a list of one or two; None otherwise."""
    too_large: B1

    def select(self, rows: B1) -> "LongRows":
        """Return the rows where ``rows``, shape (n,), is true."""
        return LongRows._make(column[rows] for column in self)

    def append(self, other: "LongRows") -> "LongRows":
        """Return these rows and then those of ``other``."""
        return LongRows._make(np.concatenate([column, other[i]]) for i, column in enumerate(self))


class LongReader:
    """Reads a CSV or TSV file in long form; an offset is the number of a reading, from 0, by its first row.

    Rows of one station and time make one reading if they stand within ``JOIN_ROWS`` rows of the first of them; a row
    that repeats an item, or of which more than the value cannot be read, is a message of its own. This does not depend
    on how the file is cut. Its
    place is always the start, because how rows were joined cannot be seen from the middle.

    Args:
        path: the file.
        part: index of the input partition.
        decoder: judges the readings.
        layout: how it is cut, and what its columns mean.
        join_rows: instead of ``JOIN_ROWS``.
    """

    def __init__(self, path: Path, part: int, decoder: Decoder, layout: Layout, *, join_rows: int = JOIN_ROWS) -> None:
        self._path, self._part, self._decoder, self._layout = path, part, decoder, layout
        self._join_rows = join_rows
        self._measured = decoder.measured
        self._items = {rule.item: self._measured.values.index(name) for name, rule in layout.values.items()}
        self._stations: dict[str | None, int] = {}
        self._rows: RowSplitter | None = None
        self._open: LongRows | None = None
        self._rows_read = 0
        self._messages_made = 0
        self._ended = False
        self.place = START

    def read(self, rows: int) -> Block | None:
        """Return the next block, the readings that no later row can join; None at the end."""
        self._rows = self._rows or RowSplitter(self._path, self._layout, START)
        chunk = None if self._ended else self._rows.read(rows)
        if chunk is None:
            self._ended = True
            if self._open is None:
                return None
        elif chunk.lines:
            new = self._too_large_row(chunk) if chunk.too_large else self._read_rows(self._rows, chunk)
            self._open = self._open.append(new) if self._open else new
            self._rows_read += chunk.lines
        if self._open is None:
            return block(no_readings(self._measured), [], self._messages_made, self._messages_made, START)
        return self._join(self._open)

    def pause(self) -> None:
        """Release what the operating system lends."""
        if self._rows:
            self._rows.pause()

    def _read_rows(self, rows: RowSplitter, chunk: Chunk) -> LongRows:
        layout, long = self._layout, self._layout.long
        assert long is not None
        cells = rows.cut(chunk)
        misshapen = list(cells.faults)
        texts, codes = cells.coded(long.item)
        item = np.array([self._items.get(text, -1) for text in texts], np.int32)[codes]
        names, codes = read_stations(cells, layout.station)
        station = np.array([self._station(name) for name in names], np.int32)[codes]
        observed = read_times(cells, layout.time)
        value = np.full(cells.rows, np.nan)
        for name, rule in layout.values.items():
            of_item = item == self._measured.values.index(name)
            sent = read_numbers(cells, long.value, layout.missing + rule.missing, name, of_item)
            value[of_item] = sent[of_item] * rule.scale + rule.offset
        status = np.zeros(cells.rows, np.uint8)
        if long.status is not None:
            status, bad = read_status(cells, long.status, layout.status, layout.missing)
            value[bad] = np.nan
            for name in layout.values:
                cells.note(bad & (item == self._measured.values.index(name)), name, long.status, A_STATUS)
        fault = np.full(cells.rows, None, object)
        fault[list(cells.faults)] = list(cells.faults.values())
        alone = np.zeros(cells.rows, bool)
        alone[list(cells.faults)] = True
        noted = np.full(cells.rows, None, object)
        for at, values in cells.noted.items():
            noted[at] = values
        row = np.arange(self._rows_read, self._rows_read + cells.rows)
        line = np.array(chunk.data.split(b"\n")[:-1], object)
        large = np.zeros(cells.rows, bool)
        read = LongRows(row, station, observed, item, value, status, alone, line, fault, noted, large)
        mapped = item >= 0  # an item that the map does not name is passed over, like an unknown column
        mapped[misshapen] = True
        return read if mapped.all() else read.select(mapped)

    def _too_large_row(self, chunk: Chunk) -> LongRows:
        return LongRows(
            row=np.array([self._rows_read]),
            station=np.array([self._station(None)], np.int32),
            observed=np.zeros(1, np.int64),
            item=np.array([-1], np.int32),
            value=np.array([np.nan]),
            status=np.zeros(1, np.uint8),
            alone=np.ones(1, bool),
            line=np.array([chunk.data], object),
            fault=np.array([too_large(self._part, 0, chunk).detail], object),
            noted=np.full(1, None, object),
            too_large=np.ones(1, bool),
        )

    def _station(self, name: str | None) -> int:
        return self._stations.setdefault(name, len(self._stations))

    def _join(self, rows: LongRows) -> Block:
        """Make readings of rows, and keep open those that later rows may join."""
        measured, first = self._measured, self._messages_made
        message, starts, alone = _messages(rows, self._join_rows, len(measured.values))
        count = starts.size if self._ended else int(np.searchsorted(starts, self._rows_read - self._join_rows, "right"))
        closed = message < count
        self._open = None if closed.all() else rows._replace(alone=alone).select(~closed)
        self._messages_made = first + count
        rows, message = rows.select(closed), message[closed]
        begin = np.flatnonzero(np.isin(rows.row, starts[:count]))  # in the order of the messages, as rows are
        values: F64 = np.full((count, len(measured.values)), np.nan, order="F")
        status: U8 = np.zeros((count, len(measured.gridded)), np.uint8)
        named = rows.item >= 0
        values[message[named], rows.item[named]] = rows.value[named]
        gridded = named & (rows.item < len(measured.gridded))
        status[message[gridded], rows.item[gridded]] = rows.status[gridded]
        notes = _notes(rows, message)
        columns = Columns((list(self._stations), rows.station[begin]), rows.observed[begin], values, status, notes)
        faults = {int(message[i]): text for i, text in enumerate(rows.fault.tolist()) if text is not None}
        payloads = MultiLine(rows.line, message, count)
        readings, rejects = decode_columns(self._decoder, self._part, first, columns, payloads, faults)
        large = set((first + message[rows.too_large]).tolist())
        rejects = [r._replace(reason="too_large") if r.offset in large else r for r in rejects]
        return block(readings, rejects, first, self._messages_made, self.place)


def _notes(rows: LongRows, message: I64) -> dict[int, ValueNotes]:
    """What is to be noted of each message, given the message of each row."""
    of_message: dict[int, list[LooseValue]] = {}
    for at in np.flatnonzero(rows.noted != None).tolist():  # noqa: E711 - of each element
        of_message.setdefault(int(message[at]), []).extend(rows.noted[at])
    noted = {number: ValueNotes.of(values) for number, values in of_message.items()}
    return {number: notes for number, notes in noted.items() if notes is not None}


class MultiLine(RawMessages):
    """Raw messages that consist of several lines each, in the order of the file.

    Args:
        lines: the bytes of n lines.
        message: the message of each line, shape (n,).
        count: of messages.
    """

    def __init__(self, lines: Objects, message: I64, count: int) -> None:
        self._lines = lines
        self._order = np.argsort(message, kind="stable")
        self._bounds = np.searchsorted(message[self._order], np.arange(count + 1))

    def take(self, rows: Sequence[int] | Whole) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        spans = [self._order[self._bounds[row] : self._bounds[row + 1]] for row in map(int, rows)]
        return [b"\n".join(self._lines[span].tolist()) for span in spans]


def _messages(rows: LongRows, join_rows: int, items: int) -> tuple[I64, I64, B1]:
    """Find which rows make one message.

    Args:
        rows: n of them.
        join_rows: rows of one station and time that stand this far from the first of them begin another message.
        items: how many values a reading may have.

    Returns:
        The message of each row, shape (n,); the number in the file of each message's first row, rising, which is the
        order of messages; and which rows are alone, those that repeat an item among them, shape (n,).
    """
    joint = np.flatnonzero(~rows.alone)
    order = joint[np.lexsort((rows.row[joint], rows.observed[joint], rows.station[joint]))]
    row = rows.row[order]
    new = np.ones(order.size, bool)
    new[1:] = (np.diff(rows.station[order]) != 0) | (np.diff(rows.observed[order]) != 0)
    run = np.cumsum(new) - 1
    starts = np.flatnonzero(new)
    for far in np.unique(run[row - row[starts][run] >= join_rows]).tolist():  # rare: the same hour again, far below
        begin, end = starts[far], starts[far + 1] if far + 1 < starts.size else order.size
        first = begin
        for i in range(begin, end):
            if row[i] - row[first] >= join_rows:
                new[i], first = True, i
    run = np.cumsum(new) - 1
    _, firsts = np.unique(run * items + rows.item[order], return_index=True)
    repeats = np.ones(order.size, bool)
    repeats[firsts] = False
    alone = rows.alone.copy()
    alone[order[repeats]] = True
    lead = rows.row.copy()  # of every row, the number of its message's first row
    lead[order] = row[np.flatnonzero(new)][run]
    lead[alone] = rows.row[alone]
    starts, message = np.unique(lead, return_inverse=True)
    return message, starts, alone
