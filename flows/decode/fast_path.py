"""Plain lines, byte by byte: what nearly every device sends, read without making an object of any value.

A line is plain if it is one object of known fields, each at most once: texts without escapes, decimal numbers without
an exponent, or null. Everything else (an unknown field, a nested status, garbage) is left to the decoder that reads
message by message, so that nothing is accepted here that it would refuse, and no value differs.

Why it is here at all, beside msgspec: docs/decisions/0023. It indexes without checks, so every loop ends at the chunk's
last newline; ``python -m tests.chaos.mutated_lines`` holds it against the plain way on millions of broken lines.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.arrays import F64, I32, I64, U8
from flows.decode.timestamps import EARLIEST, LATEST
from flows.kernels.compiled import compiled, jitable
from schemas.measured import Measured
from schemas.rejected import MAX_MESSAGE_BYTES
from schemas.slots import DAY_S, SECOND_US

INSTRUMENT, OBSERVED, FIRST_VALUE = 0, 1, 2
"""Places among the fields: the two texts that are always there, the values, and last the status."""
BOTH_TEXTS = 0b11
INVALID = -1
NOT_A_NUMBER = -1_000_000
"""Where -1 would be a number: no digits, no offset from UTC."""
NEWLINE, SPACE, TAB, RETURN = b"\n \t\r"
QUOTE, COLON, COMMA, OPEN, CLOSE, ESCAPE, MINUS, PLUS, DOT, ZERO, NINE, LETTER_T, LETTER_Z = b'":,{}\\-+.09TZ'
NULL = np.frombuffer(b"null", np.uint8)
CONTROL = 0x20
"""Bytes below are no part of a text."""
MOST_DIGITS = 15
"""So many digits are exact in a float, and over an exact power of ten the quotient is correctly rounded."""
POWERS = 10.0 ** np.arange(MOST_DIGITS + 1)
LARGEST_STATUS = 255
SHORTEST_TIME = 20
FIRST_YEAR, DAYS_TO_1970 = 1, 719_468
MONTH_DAYS = np.array([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
BYTE, TOP, HALF, GOLDEN = np.uint64(8), np.uint64(59), np.uint64(32), np.uint64(0x9E3779B97F4A7C15)
"""Of the hash: bytes are packed into a word, whose upper half is the hash, once it is spread by the golden ratio."""

_TEXT = "const uint8[::1]"
_NAMES = f"{_TEXT}, const int64[::1]"
"""Texts end to end, and where each begins."""


class SimpleLines(NamedTuple):
    """Columns of n lines; those that are not plain have none.

    Attributes:
        plain: shape (n,).
        begin, end: of each line, in the chunk, shape (n,).
        station: index among the names, shape (n,).
        observed: microseconds since 1970 UTC, shape (n,).
        values: NaN where absent or null, shape (n, 8), Fortran order.
        status: shape (n,).
    """

    plain: NDArray[np.bool_]
    begin: I64
    end: I64
    station: I32
    observed: I64
    values: F64
    status: U8


class Scanner:
    """Reader of plain lines from known instruments.

    Args:
        names: distinct ids.
        measured: the kind of reading.
    """

    def __init__(self, names: list[str], measured: Measured) -> None:
        self._width = len(measured.values)
        self._keys = _joined([measured.id_field, "observed_at", *measured.values, "status"])
        self._names, self._bounds = _joined(names)
        self._table = np.full(1 << (4 * len(names)).bit_length(), INVALID, np.int32)
        _enter(self._table, self._names, self._bounds)

    def read(self, chunk: bytes, n: int) -> SimpleLines:
        r"""Read n whole lines, each ended by ``\n``."""
        lines = SimpleLines(
            np.zeros(n, bool),
            np.empty(n, np.int64),
            np.empty(n, np.int64),
            np.empty(n, np.int32),
            np.empty(n, np.int64),
            np.full((n, self._width), np.nan, order="F"),
            np.zeros(n, np.uint8),
        )
        _read(np.frombuffer(chunk, np.uint8), *self._keys, self._names, self._bounds, self._table, *lines)
        return lines


def _joined(texts: Sequence[str]) -> tuple[U8, I64]:
    encoded = [text.encode() for text in texts]
    return np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)], dtype=np.int64)


def sentinel_rows(of_values: Sequence[Sequence[float]]) -> F64:
    """Put the sentinels of each value in a row, with NaN behind them, which equals nothing."""
    most = max(map(len, of_values), default=0)
    return np.array([[*each, *[np.nan] * (most - len(each))] for each in of_values], np.float64).reshape(
        len(of_values), most
    )


# More than 8 parameters: it is compiled, and takes scalars and arrays by name.
@jitable
def _line(text, begin, row, recent, keys, key_bounds, names, bounds, table, station, observed, values, status):
    """Read a line: where it ends, INVALID where it is not plain. Its newline, which no loop passes, ends each."""
    at = _beyond_spaces(text, begin)
    if text[at] != OPEN:
        return INVALID
    seen, field, status_field = 0, INVALID, key_bounds.size - 2
    while text[at] != CLOSE:
        at = _beyond_spaces(text, at + 1)
        field = _field(text, at + 1, keys, key_bounds, field + 1) if text[at] == QUOTE else INVALID
        if field == INVALID or seen >> field & 1:
            return INVALID
        seen |= 1 << field
        at = _beyond_spaces(text, at + 2 + key_bounds[field + 1] - key_bounds[field])
        if text[at] != COLON:
            return INVALID
        at = _beyond_spaces(text, at + 1)
        if field < FIRST_VALUE:
            after = _text_end(text, at)
            if after == INVALID:
                return INVALID
            if field == INSTRUMENT:
                station[row] = _named(text, at + 1, after - 1, names, bounds, table)
                known = station[row] != INVALID
            else:
                observed[row] = _time_as_before(text, at + 1, after - 1, recent)
                known = EARLIEST <= observed[row] < LATEST
            if not known:
                return INVALID
        elif _is(text, at, NULL, 0, NULL.size):
            after = at + NULL.size
        else:
            after, number, whole = _number(text, at)
            if after == INVALID:
                return INVALID
            if field < status_field:
                values[row, field - FIRST_VALUE] = number
            elif whole and 0 <= number <= LARGEST_STATUS:
                status[row] = np.uint8(number)
            else:
                return INVALID
        at = _beyond_spaces(text, after)
        if text[at] != COMMA and text[at] != CLOSE:
            return INVALID
    at = _beyond_spaces(text, at + 1)
    return at if text[at] == NEWLINE and seen & BOTH_TEXTS == BOTH_TEXTS else INVALID


@jitable
def _beyond_spaces(text, at):
    while text[at] == SPACE or text[at] == TAB or text[at] == RETURN:
        at += 1
    return at


@jitable
def _is(text, at, names, begin, end):
    """Whether the text here goes on with names[begin:end]."""
    here, wanted = text[at:], names[begin:end]
    for i in range(wanted.size):  # noqa: SIM110, a loop is what is compiled
        if here[i] != wanted[i]:
            return False
    return True


@jitable
def _field(text, at, keys, bounds, likely):
    """Which field's name stands here, with a quote behind it; devices keep an order, so the next one is likely."""
    fields = bounds.size - 1
    field = likely
    for _ in range(fields):
        if field == fields:
            field = 0
        begin, end = bounds[field], bounds[field + 1]
        if _is(text, at, keys, begin, end) and text[at + end - begin] == QUOTE:
            return field
        field += 1
    return INVALID


@jitable
def _text_end(text, at):
    """Where a text that begins with the quote here has ended; INVALID where it is none, or none without escapes."""
    if text[at] != QUOTE:
        return INVALID
    rest = text[at + 1 :]
    for i in range(rest.size):
        if rest[i] == QUOTE:
            return at + i + 2
        if rest[i] == ESCAPE or rest[i] < CONTROL:
            return INVALID
    return INVALID


@jitable
def _number(text, at):
    """Read a decimal number: its end (INVALID where it is none, or none that is exact), itself, whether whole."""
    negative = text[at] == MINUS
    if negative:
        at += 1
    begin, mantissa = at, np.int64(0)
    digit = np.uint8(text[at] - ZERO)
    while digit <= 9 and at - begin <= MOST_DIGITS:
        mantissa = 10 * mantissa + np.int64(digit)
        at += 1
        digit = np.uint8(text[at] - ZERO)
    digits, places = at - begin, 0
    if digits == 0 or (digits > 1 and text[begin] == ZERO):
        return INVALID, 0.0, False
    if text[at] == DOT:
        point = at
        at += 1
        digit = np.uint8(text[at] - ZERO)
        while digit <= 9 and at - begin <= MOST_DIGITS + 1:
            mantissa = 10 * mantissa + np.int64(digit)
            at += 1
            digit = np.uint8(text[at] - ZERO)
        places = at - point - 1
        if places == 0:
            return INVALID, 0.0, False
    if digits + places > MOST_DIGITS:
        return INVALID, 0.0, False
    number, whole = mantissa / POWERS[places], places == 0
    return at, -number if negative and mantissa else number, whole


@jitable
def _time_as_before(text, begin, end, recent):
    """Read a time that most lines spell as the one before: ``recent`` has where that begins and ends, and its value."""
    if end - begin != recent[1] - recent[0] or not _is(text, begin, text, recent[0], recent[1]):
        recent[0], recent[1], recent[2] = begin, end, _time(text, begin, end)
    return recent[2]


@jitable
def _time(text, begin, end):
    """Read ``2025-11-01T09:00:00[.25](Z|+09:00)``, in microseconds since 1970; INVALID where it is not spelled so."""
    if end - begin < SHORTEST_TIME or text[begin + 10] != LETTER_T:
        return INVALID
    day, second = _day(text, begin), _second_of_day(text, begin + 11)
    at, micros = _fraction(text, begin + 19)
    ahead = _minutes_ahead(text, at, end) if at != INVALID else NOT_A_NUMBER
    if min(day, second) == INVALID or ahead == NOT_A_NUMBER:
        return INVALID
    return (day * DAY_S + second - 60 * ahead) * SECOND_US + micros


@jitable
def _day(text, at):
    """Read ``2025-11-01`` as days since 1970, by the Gregorian calendar in years that begin in March."""
    year = 100 * _two_digits(text, at) + _two_digits(text, at + 2)
    month, day = _two_digits(text, at + 5), _two_digits(text, at + 8)
    if text[at + 4] != MINUS or text[at + 7] != MINUS or year < FIRST_YEAR or not 1 <= month <= 12:
        return INVALID
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= day <= MONTH_DAYS[month - 1] or (month == 2 and day == 29 and not leap):
        return INVALID
    year -= month <= 2
    since_march = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + since_march - DAYS_TO_1970


@jitable
def _second_of_day(text, at):
    """Read ``09:00:00``."""
    hour, minute, second = _two_digits(text, at), _two_digits(text, at + 3), _two_digits(text, at + 6)
    if text[at + 2] != COLON or text[at + 5] != COLON:
        return INVALID
    if not (0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59):
        return INVALID
    return (60 * hour + minute) * 60 + second


@jitable
def _fraction(text, at):
    """Read ``.25`` or nothing: where it ended, INVALID where it is none, and microseconds."""
    if text[at] != DOT:
        return at, 0
    micros, unit, begin = np.int64(0), SECOND_US, at + 1
    at = begin
    while ZERO <= text[at] <= NINE and unit > 1:
        unit //= 10
        micros += unit * np.int64(text[at] - ZERO)
        at += 1
    return (at if at > begin else INVALID), micros


@jitable
def _minutes_ahead(text, at, end):
    """Read ``Z`` or ``+09:00``, the last of a time: minutes ahead of UTC, NOT_A_NUMBER where it is none."""
    if text[at] == LETTER_Z:
        return 0 if at + 1 == end else NOT_A_NUMBER
    if (text[at] != PLUS and text[at] != MINUS) or end - at != 6 or text[at + 3] != COLON:
        return NOT_A_NUMBER
    hours, minutes = _two_digits(text, at + 1), _two_digits(text, at + 4)
    if not (0 <= hours <= 23 and 0 <= minutes <= 59):
        return NOT_A_NUMBER
    return (60 * hours + minutes) * (1 if text[at] == PLUS else -1)


@jitable
def _two_digits(text, at):
    """Read two digits; far below zero where they are none."""
    if ZERO <= text[at] <= NINE and ZERO <= text[at + 1] <= NINE:
        return 10 * np.int64(text[at] - ZERO) + np.int64(text[at + 1] - ZERO)
    return np.int64(NOT_A_NUMBER)


@jitable
def _hash(text, begin, end):
    word = np.uint64(0)
    for byte in text[begin:end]:
        word = (word << BYTE) + (word >> TOP) + np.uint64(byte)
    return np.int64(word * GOLDEN >> HALF)


@jitable
def _named(text, begin, end, names, bounds, table):
    """Which of the names this is, INVALID where none."""
    at = _hash(text, begin, end) & (table.size - 1)
    while table[at] != INVALID:
        first, last = bounds[table[at]], bounds[table[at] + 1]
        if last - first == end - begin and _is(text, begin, names, first, last):
            return table[at]
        at = (at + 1) & (table.size - 1)
    return INVALID


@compiled(f"void(int32[::1], {_NAMES})")
def _enter(table, names, bounds):
    for i in range(bounds.size - 1):
        at = _hash(names, bounds[i], bounds[i + 1]) & (table.size - 1)
        while table[at] != INVALID:
            at = (at + 1) & (table.size - 1)
        table[at] = i


# More than 8 parameters: it is compiled, and takes scalars and arrays by name.
@compiled(
    f"void({_TEXT}, {_NAMES}, {_NAMES}, const int32[::1], bool_[::1], int64[::1], int64[::1], int32[::1], int64[::1], "
    "float64[:, :], uint8[::1])"
)
def _read(text, keys, key_bounds, names, bounds, table, plain, begins, ends, station, observed, values, status):
    begin, recent = 0, np.full(3, INVALID, np.int64)  # an empty time is spelled as none before it
    for row in range(plain.size):
        end = _line(text, begin, row, recent, keys, key_bounds, names, bounds, table, station, observed, values, status)
        plain[row] = end != INVALID and end - begin <= MAX_MESSAGE_BYTES
        if end == INVALID:
            end = begin
            while text[end] != NEWLINE:
                end += 1
        begins[row], ends[row] = begin, end
        begin = end + 1


@compiled("void(float64[:, :], const float64[:, :])")
def mask_sentinels(values: F64, wanted: F64) -> None:
    """Set to NaN what is a sentinel of its value.

    Args:
        values: shape (n, V), Fortran order.
        wanted: of ``sentinel_rows``, shape (V or less, most).
    """
    for p in range(wanted.shape[0]):
        for sentinel in wanted[p]:
            for row in range(values.shape[0]):
                if values[row, p] == sentinel:
                    values[row, p] = np.nan
