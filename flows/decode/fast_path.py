"""Plain lines, byte by byte: what nearly every device sends, read without making an object of any value.

A line is plain if it is one object of known fields, each at most once: texts without escapes, decimal numbers without
an exponent, or null. Everything else (an unknown field, a nested status, garbage) is left to the decoder that reads
message by message, so that nothing is accepted here that it would refuse, and no value differs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.arrays import F64, I32, I64, U8
from flows.decode.timestamps import EARLIEST, LATEST
from flows.kernels.compiled import callable_there, compiled
from schemas.measured import AIR
from schemas.rejected import MAX_MESSAGE_BYTES

TEXTS = ("station_id", "observed_at")
"""Always there."""
FIELDS = (*TEXTS, *AIR.values, "status")
STATION, OBSERVED, FIRST_VALUE, STATUS = 0, 1, len(TEXTS), len(FIELDS) - 1
BOTH_TEXTS = 0b11
NO = -1
NOTHING = -1_000_000
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
SECOND_US = 1_000_000
DAY_SECONDS = 86_400
FIRST_YEAR, DAYS_TO_1970 = 1, 719_468
MONTH_DAYS = np.array([31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
BYTE, TOP, HALF, GOLDEN = np.uint64(8), np.uint64(59), np.uint64(32), np.uint64(0x9E3779B97F4A7C15)
"""Of the hash: bytes are packed into a word, whose upper half is the hash, once it is spread by the golden ratio."""

_TEXT = "const uint8[::1]"
_NAMES = f"{_TEXT}, const int64[::1]"
"""InMemory end to end, and where each begins."""


class Plain(NamedTuple):
    """What n lines say, of which those that are not plain say nothing.

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
    """Reads plain lines of known stations.

    Args:
        names: distinct ids.
    """

    def __init__(self, names: list[str]) -> None:
        self._names, self._bounds = _joined(names)
        self._table = np.full(1 << (4 * len(names)).bit_length(), NO, np.int32)
        _enter(self._table, self._names, self._bounds)

    def read(self, chunk: bytes, n: int) -> Plain:
        r"""Read n whole lines, each ended by ``\n``."""
        found = Plain(
            np.zeros(n, bool),
            np.empty(n, np.int64),
            np.empty(n, np.int64),
            np.empty(n, np.int32),
            np.empty(n, np.int64),
            np.full((n, len(AIR.values)), np.nan, order="F"),
            np.zeros(n, np.uint8),
        )
        _read(np.frombuffer(chunk, np.uint8), *_KEYS, self._names, self._bounds, self._table, *found)
        return found


def _joined(texts: list[str] | tuple[str, ...]) -> tuple[U8, I64]:
    encoded = [text.encode() for text in texts]
    return np.frombuffer(b"".join(encoded), np.uint8), np.cumsum([0, *map(len, encoded)], dtype=np.int64)


_KEYS = _joined(FIELDS)


def sentinels(of_parameters: Sequence[Sequence[float]]) -> F64:
    """Put the sentinels of each parameter in a row, with NaN behind them, which equals nothing."""
    most = max(map(len, of_parameters), default=0)
    return np.array([[*some, *[np.nan] * (most - len(some))] for some in of_parameters]).reshape(-1, most)


@callable_there
def _line(text, begin, row, recent, keys, key_bounds, names, bounds, table, station, observed, values, status):
    """Read a line: where it ends, NO where it is not plain. Its newline, which nothing asks for, ends every loop."""
    at = _beyond_spaces(text, begin)
    if text[at] != OPEN:
        return NO
    seen, field = 0, NO
    while text[at] != CLOSE:
        at = _beyond_spaces(text, at + 1)
        field = _field(text, at + 1, keys, key_bounds, field + 1) if text[at] == QUOTE else NO
        if field == NO or seen >> field & 1:
            return NO
        seen |= 1 << field
        at = _beyond_spaces(text, at + 2 + key_bounds[field + 1] - key_bounds[field])
        if text[at] != COLON:
            return NO
        at = _beyond_spaces(text, at + 1)
        if field < FIRST_VALUE:
            after = _text_end(text, at)
            if after == NO:
                return NO
            if field == STATION:
                station[row] = _named(text, at + 1, after - 1, names, bounds, table)
                known = station[row] != NO
            else:
                observed[row] = _time_as_before(text, at + 1, after - 1, recent)
                known = EARLIEST <= observed[row] < LATEST
            if not known:
                return NO
        elif _is(text, at, NULL, 0, NULL.size):
            after = at + NULL.size
        else:
            after, number, whole = _number(text, at)
            if after == NO:
                return NO
            if field < STATUS:
                values[row, field - FIRST_VALUE] = number
            elif whole and 0 <= number <= LARGEST_STATUS:
                status[row] = np.uint8(number)
            else:
                return NO
        at = _beyond_spaces(text, after)
        if text[at] != COMMA and text[at] != CLOSE:
            return NO
    at = _beyond_spaces(text, at + 1)
    return at if text[at] == NEWLINE and seen & BOTH_TEXTS == BOTH_TEXTS else NO


@callable_there
def _beyond_spaces(text, at):
    while text[at] == SPACE or text[at] == TAB or text[at] == RETURN:
        at += 1
    return at


@callable_there
def _is(text, at, names, begin, end):
    """Whether the text here goes on with names[begin:end]."""
    here, wanted = text[at:], names[begin:end]
    for i in range(wanted.size):  # noqa: SIM110, a loop is what is compiled
        if here[i] != wanted[i]:
            return False
    return True


@callable_there
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
    return NO


@callable_there
def _text_end(text, at):
    """Where a text that begins with the quote here has ended; NO where it is none, or none without escapes."""
    if text[at] != QUOTE:
        return NO
    rest = text[at + 1 :]
    for i in range(rest.size):
        if rest[i] == QUOTE:
            return at + i + 2
        if rest[i] == ESCAPE or rest[i] < CONTROL:
            return NO
    return NO


@callable_there
def _number(text, at):
    """Read a decimal number: where it ended (NO where it is none, or none that is exact), itself, whether whole."""
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
        return NO, 0.0, False
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
            return NO, 0.0, False
    if digits + places > MOST_DIGITS:
        return NO, 0.0, False
    number = mantissa / POWERS[places]
    return at, -number if negative else number, at == begin + digits


@callable_there
def _time_as_before(text, begin, end, recent):
    """Read a time that most lines spell as the one before: ``recent`` has where that begins and ends, and its value."""
    if end - begin != recent[1] - recent[0] or not _is(text, begin, text, recent[0], recent[1]):
        recent[0], recent[1], recent[2] = begin, end, _time(text, begin, end)
    return recent[2]


@callable_there
def _time(text, begin, end):
    """Read ``2025-11-01T09:00:00[.25](Z|+09:00)``, in microseconds since 1970; NO where it is not spelled so."""
    if end - begin < SHORTEST_TIME or text[begin + 10] != LETTER_T:
        return NO
    day, second = _day(text, begin), _second_of_day(text, begin + 11)
    at, micros = _fraction(text, begin + 19)
    ahead = _minutes_ahead(text, at, end) if at != NO else NOTHING
    if min(day, second) == NO or ahead == NOTHING:
        return NO
    return (day * DAY_SECONDS + second - 60 * ahead) * SECOND_US + micros


@callable_there
def _day(text, at):
    """Read ``2025-11-01`` as days since 1970, by the Gregorian calendar in years that begin in March."""
    year = 100 * _two_digits(text, at) + _two_digits(text, at + 2)
    month, day = _two_digits(text, at + 5), _two_digits(text, at + 8)
    if text[at + 4] != MINUS or text[at + 7] != MINUS or year < FIRST_YEAR or not 1 <= month <= 12:
        return NO
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= day <= MONTH_DAYS[month - 1] or (month == 2 and day == 29 and not leap):
        return NO
    year -= month <= 2
    since_march = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + since_march - DAYS_TO_1970


@callable_there
def _second_of_day(text, at):
    """Read ``09:00:00``."""
    hour, minute, second = _two_digits(text, at), _two_digits(text, at + 3), _two_digits(text, at + 6)
    if text[at + 2] != COLON or text[at + 5] != COLON:
        return NO
    if not (0 <= hour <= 23 and 0 <= minute <= 59 and 0 <= second <= 59):
        return NO
    return (60 * hour + minute) * 60 + second


@callable_there
def _fraction(text, at):
    """Read ``.25`` or nothing: where it ended, NO where it is none, and microseconds."""
    if text[at] != DOT:
        return at, 0
    micros, unit, begin = np.int64(0), SECOND_US, at + 1
    at = begin
    while ZERO <= text[at] <= NINE and unit > 1:
        unit //= 10
        micros += unit * np.int64(text[at] - ZERO)
        at += 1
    return (at if at > begin else NO), micros


@callable_there
def _minutes_ahead(text, at, end):
    """Read ``Z`` or ``+09:00``, the last of a time: minutes ahead of UTC, NOTHING where it is none."""
    if text[at] == LETTER_Z:
        return 0 if at + 1 == end else NOTHING
    if (text[at] != PLUS and text[at] != MINUS) or end - at != 6 or text[at + 3] != COLON:
        return NOTHING
    hours, minutes = _two_digits(text, at + 1), _two_digits(text, at + 4)
    if not (0 <= hours <= 23 and 0 <= minutes <= 59):
        return NOTHING
    return (60 * hours + minutes) * (1 if text[at] == PLUS else -1)


@callable_there
def _two_digits(text, at):
    """Read two digits; far below zero where they are none."""
    if ZERO <= text[at] <= NINE and ZERO <= text[at + 1] <= NINE:
        return 10 * np.int64(text[at] - ZERO) + np.int64(text[at + 1] - ZERO)
    return np.int64(NOTHING)


@callable_there
def _hash(text, begin, end):
    word = np.uint64(0)
    for byte in text[begin:end]:
        word = (word << BYTE) + (word >> TOP) + np.uint64(byte)
    return np.int64(word * GOLDEN >> HALF)


@callable_there
def _named(text, begin, end, names, bounds, table):
    """Which of the names this is, NO where none."""
    at = _hash(text, begin, end) & (table.size - 1)
    while table[at] != NO:
        first, last = bounds[table[at]], bounds[table[at] + 1]
        if last - first == end - begin and _is(text, begin, names, first, last):
            return table[at]
        at = (at + 1) & (table.size - 1)
    return NO


@compiled(f"void(int32[::1], {_NAMES})")
def _enter(table, names, bounds):
    for i in range(bounds.size - 1):
        at = _hash(names, bounds[i], bounds[i + 1]) & (table.size - 1)
        while table[at] != NO:
            at = (at + 1) & (table.size - 1)
        table[at] = i


@compiled(
    f"void({_TEXT}, {_NAMES}, {_NAMES}, const int32[::1], bool_[::1], int64[::1], int64[::1], int32[::1], int64[::1], "
    "float64[:, :], uint8[::1])"
)
def _read(text, keys, key_bounds, names, bounds, table, plain, begins, ends, station, observed, values, status):
    begin, recent = 0, np.zeros(3, np.int64)
    for row in range(plain.size):
        end = _line(text, begin, row, recent, keys, key_bounds, names, bounds, table, station, observed, values, status)
        plain[row] = end != NO and end - begin <= MAX_MESSAGE_BYTES
        if end == NO:
            end = begin
            while text[end] != NEWLINE:
                end += 1
        begins[row], ends[row] = begin, end
        begin = end + 1


@compiled("void(float64[:, :], const float64[:, :])")
def unset(values: F64, wanted: F64) -> None:
    """Set to NaN what is a sentinel of its parameter.

    Args:
        values: shape (n, 6 or more), Fortran order.
        wanted: of ``sentinels``, shape (6, most).
    """
    for p in range(wanted.shape[0]):
        for sentinel in wanted[p]:
            for row in range(values.shape[0]):
                if values[row, p] == sentinel:
                    values[row, p] = np.nan
