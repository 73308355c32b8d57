"""Rows in wide form: a row is a reading, a column a value."""

from pathlib import Path

import numpy as np

from flows.arrays import F64, U8
from flows.decode.batch import InMemory, no_readings
from flows.decode.decoder import Columns, Decoder
from flows.sources.base import START, Block, Place, block, decode_columns, too_large
from flows.sources.tables.cells import A_STATUS, Cells, read_numbers, read_stations, read_status, read_times
from flows.sources.tables.column_map import Layout, RowMap
from flows.sources.tables.rows import RowSplitter
from schemas.measured import Measured


class WideReader:
    """Reads a CSV or TSV file in wide form; an offset is the number of a row, from 0, without empty lines.

    Args:
        path: the file.
        part: index of the input partition.
        decoder: judges the readings.
        layout: how it is cut, and what its columns mean.
        place: where reading begins.
    """

    def __init__(self, path: Path, part: int, decoder: Decoder, layout: Layout, place: Place = START) -> None:
        self._path, self._part, self._decoder, self._layout = path, part, decoder, layout
        self._rows: RowSplitter | None = None
        self.place = place

    def read(self, rows: int) -> Block | None:
        """Return the next block of up to ``rows`` rows, None at the end."""
        self._rows = self._rows or RowSplitter(self._path, self._layout, self.place)
        place, first = self.place, self.place["koff"]
        chunk = self._rows.read(rows)
        if chunk is None:
            return None
        end = first + chunk.lines
        self.place = {"koff": end, "offset": chunk.end, "unended": int(self._rows.unended)}
        if chunk.too_large:
            return block(no_readings(self._decoder.measured), [too_large(self._part, first, chunk)], first, end, place)
        if not chunk.lines:
            return block(no_readings(self._decoder.measured), [], first, first, place)
        cells = self._rows.cut(chunk)
        columns = read_wide(cells, self._layout, self._decoder.measured)
        payloads = InMemory(chunk.data.split(b"\n"))
        readings, rejects = decode_columns(self._decoder, self._part, first, columns, payloads, cells.faults)
        return block(readings, rejects, first, end, place)

    def pause(self) -> None:
        """Release what the operating system lends."""
        if self._rows:
            self._rows.pause()


def read_wide(cells: Cells, row_map: RowMap, measured: Measured) -> Columns:
    """Read rows in wide form as typed columns; rows that cannot be read are noted in the faults of ``cells``."""
    station = read_stations(cells, row_map.station)
    observed = read_times(cells, row_map.time)
    values: F64 = np.full((cells.rows, len(measured.values)), np.nan, order="F")
    status: U8 = np.zeros((cells.rows, len(measured.gridded)), np.uint8)
    if row_map.status.column is not None:
        column = row_map.status.column
        codes, bad = read_status(cells, column, row_map.status, row_map.missing)
        cells.fault(bad, A_STATUS, column, *cells.coded(column))
        status[:] = codes[:, None]
    for name, rule in row_map.values.items():
        missing = row_map.missing + rule.missing
        sent = [read_numbers(cells, column, missing, name) for column in rule.sources]
        value = _mean(sent) * rule.scale + rule.offset
        if rule.status is not None:
            codes, bad = read_status(cells, rule.status, row_map.status, row_map.missing)
            cells.note(bad, name, rule.status, A_STATUS)
            value = np.where(bad, np.nan, value)
            status[:, measured.gridded.index(name)] = codes
        values[:, measured.values.index(name)] = value
    return Columns(station, observed, values, status, cells.notes())


def _mean(sent: list[F64]) -> F64:
    """Mean of those present, shape (n,); a single column as it is."""
    if len(sent) == 1:
        return sent[0]
    table = np.stack(sent)
    present = ~np.isnan(table)
    total = np.where(present, table, 0).sum(axis=0)
    count = present.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
