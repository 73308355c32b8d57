"""Cells of a table, all texts, to numbers, times, stations and status: whole columns at once.

A column of measured air holds few different texts, so each is read once and then looked up. A cell that cannot be
read is a fault of its row alone.
"""

import csv
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from flows.arrays import F64, I32, I64, U8
from flows.sources.tables.column_map import OFFSET, Layout, Status, Time
from flows.sources.tables.column_map import Station as StationRule

SECOND = 1_000_000
DAY = 86_400 * SECOND
CHANGES = np.iinfo(np.int64).min
"""In place of an offset: it is not the same all day."""
UNIX_RANGE = (-62_135_596_800.0, 253_402_300_800.0)
"""Seconds of the years 1 to 9999."""
FIRST_DAY, LAST_DAY = -25_567, 84_006
"""1900 and 2200: beyond them an offset is taken as at their ends."""
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
NAIVE_EPOCH = datetime(1970, 1, 1)
RFC3339 = (
    r"^(?P<Y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})[Tt ](?P<H>[01]\d|2[0-3]):(?P<M>\d{2}):(?P<S>\d{2})"
    r"(?:\.(?P<f>\d{1,9})\d*)?(?P<z>[Zz]|[+-]\d{2}:?\d{2})$"
)
DIRECTIVES = {
    "Y": r"\d{4}", "f": r"\d{1,9}", "p": "[AaPp][Mm]", "z": r"[Zz]|[+-]\d{2}:?\d{2}", "b": "[A-Za-z]{3}", "y": r"\d{2}",
}  # fmt: skip

Faults = dict[int, str]
"""What is wrong with a row, by its number; the first thing found."""


class Cells:
    """Subset columns of a run of rows as texts, trimmed of spaces where they are read.

    Attributes:
        rows: how many.
        faults: rows that do not have the right number of columns; their cells are empty.
    """

    def __init__(self, columns: dict[str, Any], rows: int, faults: Faults) -> None:
        self._columns, self.rows, self.faults = columns, rows, faults
        self._coded: dict[str, tuple[list[str], I32]] = {}

    def coded(self, column: str) -> tuple[list[str], I32]:
        """Return the different texts of a column, and which of them each row holds."""
        if column not in self._coded:
            coded = pc.dictionary_encode(self._columns[column])
            self._coded[column] = pc.utf8_trim_whitespace(coded.dictionary).to_pylist(), coded.indices.to_numpy()
        return self._coded[column]

    def joined(self, columns: list[str]) -> tuple[Any, I32]:
        """Return the different texts of columns joined by a space, as an Arrow array, and which each row holds."""
        parts = [self._columns[column] for column in columns]
        coded = pc.dictionary_encode(parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, " "))
        return pc.utf8_trim_whitespace(coded.dictionary), coded.indices.to_numpy()

    def fault(self, bad: NDArray[np.bool_], expected: str, column: str, texts: list[str], codes: I32) -> None:
        """Note the rows of ``bad``, unless they have a fault already."""
        for row in np.flatnonzero(bad).tolist():
            got = texts[codes[row]]
            self.faults.setdefault(row, f"Expected {expected}, got {got[:64]!r} - at column `{column}`")


def parse(data: bytes, lines: int, names: list[str], layout: Layout, delimiter: str) -> Cells:
    """Cut lines into the cells that a layout needs.

    Args:
        data: lines, each ended by a newline and none empty.
        lines: how many.
        names: the columns of a line.
        layout: names the columns that are needed.
        delimiter: what stands between cells.
    """
    text = data if layout.utf8 else data.decode(layout.encoding, "replace").encode()
    wanted = {name: str(names.index(name)) for name in layout.columns()}
    keys = [str(i) for i in range(len(names))]
    if data.count(b"\r") == data.count(b"\r\n"):  # elsewhere Arrow ends a row at a lone return
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(text),
                read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=keys),
                parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, ignore_empty_lines=False),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(keys, pa.string()), include_columns=list(wanted.values())
                ),
            )
            if table.num_rows == lines:
                return Cells({name: table[key].combine_chunks() for name, key in wanted.items()}, lines, {})
        except pa.ArrowInvalid:
            pass
    return _parse_one_by_one(data, names, wanted, layout.encoding, delimiter)


def _parse_one_by_one(data: bytes, names: list[str], wanted: dict[str, str], encoding: str, delimiter: str) -> Cells:
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
    columns = {name: pa.array([row[int(key)] for row in rows], pa.string()) for name, key in wanted.items()}
    return Cells(columns, len(rows), faults)


def numbers(cells: Cells, column: str, missing: tuple[str | float, ...], rows: NDArray[np.bool_] | None = None) -> F64:
    """Read a column of numbers, shape (rows,): NaN where one of ``missing``, empty, or at fault.

    Args:
        cells: the table.
        column: its name.
        missing: texts and numbers that mean *not measured*.
        rows: the only rows that may be at fault; none means all.
    """
    texts, codes = cells.coded(column)
    words = {text for text in missing if isinstance(text, str)} | {""}
    sentinels = {float(number) for number in missing if not isinstance(number, str)}
    values, bad = _numbers(texts, words)
    if sentinels:
        values[np.isin(values, list(sentinels))] = np.nan
    if bad.any():
        cells.fault(bad[codes] if rows is None else bad[codes] & rows, "a number", column, texts, codes)
    return values[codes]


def _numbers(texts: list[str], words: set[str]) -> tuple[F64, NDArray[np.bool_]]:
    gone = np.fromiter((text in words for text in texts), bool, len(texts))
    try:
        array = pc.cast(pa.array(texts, pa.string(), mask=gone), pa.float64())
        values = np.array(array.to_numpy(zero_copy_only=False), np.float64)
    except pa.ArrowInvalid:
        values = np.fromiter((_number(text) for text in texts), np.float64, len(texts))
    bad = ~np.isfinite(values) & ~gone
    values[bad | gone] = np.nan
    return values, bad


def _number(text: str) -> float:
    try:
        return float(text) if text.isascii() and "_" not in text else np.nan
    except ValueError:
        return np.nan


def status(cells: Cells, column: str, rule: Status, missing: tuple[str | float, ...]) -> U8:
    """Read a column of instrument status, shape (rows,): 0 where empty or at fault."""
    texts, codes = cells.coded(column)
    words = {text for text in missing if isinstance(text, str)} | {""}
    found = np.zeros(len(texts), np.uint8)
    bad = np.zeros(len(texts), bool)
    for i, text in enumerate(texts):
        if text in rule.codes:
            found[i] = rule.codes[text]
        elif rule.codes or not (text.isascii() and text.isdecimal() and int(text) <= 255):
            bad[i] = text not in words
        else:
            found[i] = int(text)
    if bad.any():
        cells.fault(bad[codes], "an instrument status", column, texts, codes)
    return found[codes]


def stations(cells: Cells, rule: StationRule) -> tuple[list[str | None], I32]:
    """Return the different station ids, None where there is none, and which of them each row has."""
    if rule.column is None:
        return [rule.id], np.zeros(cells.rows, np.int32)
    texts, codes = cells.coded(rule.column)
    names = [rule.ids.get(text, text) for text in texts]
    return [rule.prefix + (name.lower() if rule.lower else name) if name else None for name in names], codes


def times(cells: Cells, rule: Time) -> I64:
    """Read when each row's interval ended, microseconds since 1970 UTC, shape (rows,); 0 where at fault."""
    texts, codes = cells.joined(rule.sources)
    observed, bad = instants(texts, rule.pattern, rule.timezone)
    if bad.any():
        expected = f"a time like {rule.format}" + (f" in {rule.timezone}" if rule.timezone else "")
        cells.fault(bad[codes], expected, " ".join(rule.sources), texts.to_pylist(), codes)
    return (observed + rule.to_end)[codes]


def instants(texts: Any, pattern: str, timezone: str | None) -> tuple[I64, NDArray[np.bool_]]:
    """Read an Arrow array of stamps.

    Returns:
        Microseconds since 1970 UTC, 0 where a stamp cannot be read; and which cannot.
    """
    if pattern in ("unix", "unix_ms"):
        seconds, _ = _numbers(texts.to_pylist(), set())
        if pattern == "unix_ms":
            seconds = seconds / 1000
        bad = ~((seconds >= UNIX_RANGE[0]) & (seconds < UNIX_RANGE[1]))
        return np.rint(np.where(bad, 0, seconds) * SECOND).astype(np.int64), bad
    found = pc.extract_regex(texts, _regex(pattern))
    bad = ~np.asarray(found.is_valid())
    found = found.filter(pa.array(~bad))
    parts = {field.name: found.field(i) for i, field in enumerate(found.type)}
    local, wrong = _compose(parts, len(found))
    if "z" in parts:
        local -= _offsets(parts["z"])
    elif timezone is not None:
        local, none = _zone(timezone).to_utc(local)
        wrong |= none
    local[wrong] = 0
    observed = np.zeros(len(bad), np.int64)
    observed[~bad] = local
    bad[~bad] = wrong
    return observed, bad


@lru_cache(64)
def _regex(pattern: str) -> str:
    """Turn a strptime format into an expression with a group for each directive."""
    if pattern == "rfc3339":
        return RFC3339
    words = re.findall(r"%.|[^%]+", pattern)
    parts = ["^"]
    for i, word in enumerate(words):
        if not word.startswith("%"):
            parts.append(re.escape(word))
        elif word == "%%":
            parts.append("%")
        else:
            # Digits may be left out where something else ends a number: 8/1/2019 7:11.
            packed = any(0 <= j < len(words) and words[j].startswith("%") for j in (i - 1, i + 1))
            digits = r"\d{2}" if packed else r"\d{1,2}"
            parts.append(f"(?P<{word[1]}>{DIRECTIVES.get(word[1], digits)})")
    return "".join([*parts, "$"])


def _compose(parts: dict[str, Any], n: int) -> tuple[I64, NDArray[np.bool_]]:
    """Put years, months, days and hours together: microseconds since 1970 of the stamp's own clock."""

    def part(name: str, default: int) -> I64:
        if name not in parts:
            return np.full(n, default, np.int64)
        return np.array(pc.cast(parts[name], pa.int64()).to_numpy(zero_copy_only=False), np.int64)

    year = part("Y", 1970) if "y" not in parts else part("y", 0)
    if "y" in parts:
        year += np.where(year < 69, 2000, 1900)  # as POSIX strptime does
    month = part("m", 1)
    if "b" in parts:
        month = np.array([MONTHS.index(b) + 1 if b in MONTHS else 0 for b in pc.utf8_lower(parts["b"]).to_pylist()])
    day, hour, minute, second = part("d", 1), part("H", 0), part("M", 0), part("S", 0)
    if "I" in parts:
        hour = part("I", 0)
        wrong = (hour < 1) | (hour > 12)
        late = np.array(pc.equal(pc.utf8_lower(parts["p"]), "pm")) if "p" in parts else np.zeros(n, bool)
        hour = hour % 12 + 12 * late
    else:
        wrong = np.zeros(n, bool)
    micros = np.zeros(n, np.int64)
    if "f" in parts:
        micros = np.array(pc.cast(pc.utf8_rpad(parts["f"], 9, "0"), pa.int64())) // 1000
    wrong |= (year < 1) | (month < 1) | (month > 12) | (minute > 59) | (second > 59)
    wrong |= (hour > 24) | ((hour == 24) & (minute + second + micros > 0))  # hour 24 is midnight of the next day
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first: I64 = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
    length: I64 = (months + 1).astype("M8[M]").astype("M8[D]").astype(np.int64) - first
    wrong |= (day < 1) | (day > length)
    local: I64 = (first + day - 1) * DAY + (hour * 3600 + minute * 60 + second) * SECOND + micros
    return local, wrong


def _offsets(texts: Any) -> I64:
    coded = pc.dictionary_encode(texts)
    known = [_offset(text) for text in coded.dictionary.to_pylist()]
    index: I32 = coded.indices.to_numpy()
    return np.array(known, np.int64)[index]


def _offset(text: str) -> int:
    if text in ("Z", "z"):
        return 0
    digits = text[1:].replace(":", "")
    away = (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * SECOND
    return -away if text[0] == "-" else away


class _Zone:
    """A local clock. Of an hour that comes twice the first is meant; one that never comes is no time."""

    def __init__(self, name: str) -> None:
        self._fixed = _offset(name) if re.match(OFFSET, name) else None
        self._zone = ZoneInfo(name) if self._fixed is None else None
        self._days: dict[int, int] = {}

    def to_utc(self, local: I64) -> tuple[I64, NDArray[np.bool_]]:
        """Return microseconds since 1970 UTC, and which stamps the clock never shows."""
        none = np.zeros(local.size, bool)
        if self._fixed is not None:
            return local - self._fixed, none
        days, of = np.unique(local // DAY, return_inverse=True)
        offset = np.array([self._of_day(day) for day in days.tolist()], np.int64)[of]
        for row in np.flatnonzero(offset == CHANGES).tolist():
            at = self._of_stamp(NAIVE_EPOCH + timedelta(microseconds=int(local[row])))
            none[row], offset[row] = at is None, at or 0
        return local - offset, none

    def _of_day(self, day: int) -> int:
        found = self._days.get(day)
        if found is None:
            start = NAIVE_EPOCH + timedelta(days=min(max(day, FIRST_DAY), LAST_DAY))
            ends = [at.replace(fold=fold) for at in (start, start + timedelta(days=1)) for fold in (0, 1)]
            offsets = {at.replace(tzinfo=self._zone).utcoffset() for at in ends}
            self._days[day] = found = _micros(offsets.pop()) if len(offsets) == 1 else CHANGES
        return found

    def _of_stamp(self, at: datetime) -> int | None:
        local = at.replace(tzinfo=self._zone)
        if local.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None, fold=0) != at:
            return None
        return _micros(local.utcoffset())


@lru_cache(64)
def _zone(name: str) -> _Zone:
    return _Zone(name)


def _micros(offset: timedelta | None) -> int:
    assert offset is not None
    return offset // timedelta(microseconds=1)
