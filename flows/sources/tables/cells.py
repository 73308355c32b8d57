"""Cells of rows, all texts, to numbers, times, stations and status: whole columns at once.

A column of measured air holds few different texts, so each is read once and then looked up. A value that cannot be
read costs itself alone, and is noted; any other such cell is a fault of its row.
"""

import csv

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from flows.arrays import B1, F64, I32, I64, U8
from flows.decode.values import NOT_MEASURED, LooseValue, ValueNotes, quoted, unreadable, unreadable_status
from flows.sources.tables.column_map import Layout, StationColumn, StatusColumn, TimeColumn
from flows.sources.tables.numbers import to_floats
from flows.sources.tables.timestamps import read_timestamps

Faults = dict[int, str]
"""What is wrong with a row, by its number; the first fault of several."""
A_NUMBER, A_STATUS = "a number", "an instrument status"
"""What is expected of a cell."""


class Cells:
    """Columns of n rows as texts, trimmed of spaces where they are read.

    >>> cells = Cells({"O3": pa.array(["30", " 31", "30"])}, 3)
    >>> texts, codes = cells.coded("O3")
    >>> texts, codes.tolist()
    (['30', '31'], [0, 1, 0])

    Attributes:
        rows: how many.
        faults: rows that do not have the right number of columns, and what was found while reading; the cells of
            the former are empty.
        noted: values that cannot be read, by row.
    """

    def __init__(self, columns: dict[str, pa.Array], rows: int, faults: Faults | None = None) -> None:
        self._columns, self.rows = columns, rows
        self.faults: Faults = {} if faults is None else faults
        self.noted: dict[int, list[LooseValue]] = {}
        self._coded: dict[str, tuple[list[str], I32]] = {}

    def coded(self, column: str) -> tuple[list[str], I32]:
        """Return the different texts of a column, and the index of each row's, shape (n,)."""
        if column not in self._coded:
            coded = pc.dictionary_encode(self._columns[column])
            self._coded[column] = pc.utf8_trim_whitespace(coded.dictionary).to_pylist(), coded.indices.to_numpy()
        return self._coded[column]

    def joined(self, columns: list[str]) -> tuple[pa.Array, I32]:
        """Return the different texts of columns joined by a space, as an Arrow array, and the index of each row's."""
        parts = [self._columns[column] for column in columns]
        coded = pc.dictionary_encode(parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, " "))
        return pc.utf8_trim_whitespace(coded.dictionary), coded.indices.to_numpy()

    def fault(self, bad: B1, expected: str, column: str, texts: list[str], codes: I32) -> None:
        """Note the rows of ``bad``, unless they have a fault already."""
        for row in np.flatnonzero(bad).tolist():
            self.faults.setdefault(row, _fault(expected, texts[codes[row]], column))

    def note(self, bad: B1, name: str, column: str, expected: str = A_NUMBER) -> None:
        """Note that a value, or its status, cannot be read in the rows of ``bad``."""
        texts, codes = self.coded(column)
        write = unreadable if expected == A_NUMBER else unreadable_status
        for row in np.flatnonzero(bad).tolist():
            got = texts[codes[row]]
            value = LooseValue(NOT_MEASURED, write(name, quoted(got)), _fault(expected, got, column))
            self.noted.setdefault(row, []).append(value)

    def notes(self) -> dict[int, ValueNotes]:
        """Return what is to be noted of each row that has no fault."""
        noted = {row: ValueNotes.of(values) for row, values in self.noted.items() if row not in self.faults}
        return {row: notes for row, notes in noted.items() if notes is not None}


def cut_cells(data: bytes, lines: int, names: list[str], layout: Layout, delimiter: str) -> Cells:
    """Cut lines into the cells that a layout needs.

    Args:
        data: lines, each ended by a newline and none empty.
        lines: how many.
        names: the columns of a line.
        layout: names the columns that are needed.
        delimiter: what stands between cells.
    """
    text = data if layout.utf8 else data.decode(layout.encoding, "replace").encode()
    needed = {name: str(names.index(name)) for name in layout.columns()}
    keys = [str(i) for i in range(len(names))]
    if data.count(b"\r") == data.count(b"\r\n"):  # elsewhere Arrow ends a row at a lone return
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(text),
                read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=keys),
                parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, ignore_empty_lines=False),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(keys, pa.string()), include_columns=list(needed.values())
                ),
            )
            if table.num_rows == lines:
                return Cells({name: table[key].combine_chunks() for name, key in needed.items()}, lines)
        except pa.ArrowInvalid:
            pass
    return _cut_one_by_one(data, names, needed, layout.encoding, delimiter)


def _cut_one_by_one(data: bytes, names: list[str], needed: dict[str, str], encoding: str, delimiter: str) -> Cells:
    """Find the few rows that spoil a run: of another width, with a lone quote, or not in their encoding."""
    rows, faults = [], {}
    empty = [""] * len(names)
    for i, line in enumerate(data.split(b"\n")[:-1]):
        try:
            text = line.decode(encoding, "replace").removesuffix("\r")
            row = next(csv.reader([text], delimiter=delimiter), [])
            fault = f"Expected {len(names)} columns, got {len(row)}" if len(row) != len(names) else None
        except csv.Error as err:
            row, fault = [], str(err)
        if fault is not None:
            faults[i] = fault
            row = empty
        rows.append(row)
    columns = {name: pa.array([row[int(key)] for row in rows], pa.string()) for name, key in needed.items()}
    return Cells(columns, len(rows), faults)


def read_numbers(cells: Cells, column: str, missing: tuple[str | float, ...], name: str, rows: B1 | None = None) -> F64:
    """Read a column of numbers, shape (n,): NaN where one of ``missing``, empty, or no number, which is noted.

    Args:
        cells: the rows.
        column: its name.
        missing: texts and numbers that mean *not measured*.
        name: of the value.
        rows: the only rows that hold this value, shape (n,); None for all.
    """
    texts, codes = cells.coded(column)
    values, bad = to_floats(texts, _texts_of(missing))
    sentinels = [float(number) for number in missing if not isinstance(number, str)]
    if sentinels:
        values[np.isin(values, sentinels)] = np.nan
    if bad.any():
        cells.note(bad[codes] if rows is None else bad[codes] & rows, name, column)
    return values[codes]


def read_status(cells: Cells, column: str, rule: StatusColumn, missing: tuple[str | float, ...]) -> tuple[U8, B1]:
    """Read a column of instrument status, shape (n,): 0 where empty or none; and where it is none, shape (n,)."""
    texts, codes = cells.coded(column)
    absent = _texts_of(missing)
    status = np.zeros(len(texts), np.uint8)
    bad = np.zeros(len(texts), bool)
    for i, text in enumerate(texts):
        if text in rule.codes:
            status[i] = rule.codes[text]
        elif rule.codes or not (text.isascii() and text.isdecimal() and int(text) <= 255):
            bad[i] = text not in absent
        else:
            status[i] = int(text)
    return status[codes], bad[codes]


def read_stations(cells: Cells, rule: StationColumn) -> tuple[list[str | None], I32]:
    """Return the different station ids, None where there is none, and the index of each row's, shape (n,)."""
    if rule.column is None:
        return [rule.id], np.zeros(cells.rows, np.int32)
    texts, codes = cells.coded(rule.column)
    names = [rule.ids.get(text, text) for text in texts]
    return [rule.prefix + (name.lower() if rule.lower else name) if name else None for name in names], codes


def read_times(cells: Cells, rule: TimeColumn) -> I64:
    """Read when each row's interval ended, microseconds since 1970 UTC, shape (n,); at fault, any time."""
    texts, codes = cells.joined(rule.sources)
    observed, bad = read_timestamps(texts, rule.pattern, rule.timezone)
    if bad.any():
        expected = f"a time like {rule.format}" + (f" in {rule.timezone}" if rule.timezone else "")
        cells.fault(bad[codes], expected, " ".join(rule.sources), texts.to_pylist(), codes)
    return (observed + rule.to_end_us)[codes]


def _texts_of(missing: tuple[str | float, ...]) -> set[str]:
    return {text for text in missing if isinstance(text, str)} | {""}


def _fault(expected: str, got: str, column: str) -> str:
    return f"Expected {expected}, got {got[:64]!r} - at column `{column}`"
