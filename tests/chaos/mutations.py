"""Lines that were fine, broken as devices, networks and people break them: at random, from one seed."""

import random
import re
from collections.abc import Callable, Sequence

UNTOUCHED = 0.15
"""Share of lines that stay as they are, so that broken ones have good neighbours."""
MAX_ON_TOP = 3
"""Mutations on top of each other in one line."""
VERY_LONG_BYTES = 1 << 20
"""A message over 1 MiB is refused for its size alone."""
VERY_LONG_SHARE = 1e-4
BYTES = b'"\\,:{}[]0123456789.-+eE/ \t\r\n\0\x01\x1f\x7f\x80\xc3\xff' + b"TZtznulrsafe_"
NUMBERS = (
    b"041", b"-041", b"00", b"0", b"-0", b"-0.0", b"+5", b".5", b"5.", b"-.5", b"-", b"--1", b"1.2.3", b"1,5", b"0x1F",
    b"1_000", b"1e2", b"1E2", b"1e+2", b"1e-2", b"1e", b"1e400", b"-1e400", b"5e-324", b"2.5e-400", b"1e308", b"1.0e0",
    b"NaN", b"nan", b"Infinity", b"-Infinity", b"null", b"nul", b"nulll", b"None", b"true", b"false", b"", b" ", b"-999",
    b"-999.0", b"-999.00000000001", b"-9999", b"9007199254740993", b"9007199254740992", b"999999999999999",
    b"9999999999999999", b"0.123456789012345", b"0.12345678901234", b"123456789012345.6", b"0.30000000000000004",
    b"1.7976931348623157e308", b"4.9406564584124654e-324", b"0.000000000000001", b"255", b"256", b"255.0", b"-1",
    b"18446744073709551616", b"'41'", b'"41"', b'"-"', b'"-999"', b'""', b"[]", b"{}", b"[41]", b"1 2", b"4\xe2\x80\x8b1",
    b'"34.2#"', b'"<2.0"', b'" 7"', b'"-0"', b"0e-5", b"\xd9\xa3", b"1" * 400, b"0." + b"3" * 400, b"-" + b"9" * 19,
)  # fmt: skip
TIMES = (
    b"2026-03-01T09:00:00Z", b"2026-03-01T09:00:00.5Z", b"2026-03-01T09:00:00.123456+09:00", b"1970-01-01T00:00:00Z",
    b"2026-03-01T09:00:00.1234567Z", b"2026-03-01T09:00:00.000000000Z", b"1969-12-31T23:59:59Z", b"2100-01-01T00:00:00Z",
    b"1970-01-01T00:00:00+00:01", b"2099-12-31T23:59:59-00:01", b"2099-12-31T23:59:59Z", b"2026-02-29T00:00:00Z",
    b"2028-02-29T00:00:00Z", b"2100-02-29T00:00:00Z", b"2000-02-29T00:00:00-23:59", b"2026-04-31T00:00:00Z",
    b"2026-13-01T00:00:00Z", b"2026-00-01T00:00:00Z", b"2026-03-00T00:00:00Z", b"2026-03-01T24:00:00Z",
    b"2026-03-01T23:60:00Z", b"2026-06-30T23:59:60Z", b"2026-03-01 09:00:00+09:00", b"2026-03-01t09:00:00z",
    b"2026-03-01T09:00:00", b"2026-03-01T09:00Z", b"2026-03-01", b"20260301T090000Z", b"2026-03-01T09:00:00+0900",
    b"2026-03-01T09:00:00+09", b"2026-03-01T09:00:00+24:00", b"2026-03-01T09:00:00+09:60", b"2026-03-01T09:00:00-00:00",
    b"2026-03-01T09:00:00 +09:00", b"2026-03-01T09:00:00+09:00 ", b"0001-01-01T00:00:00+23:59", b"0000-01-01T00:00:00Z",
    b"9999-12-31T23:59:59-23:59", b"yesterday", b"1772323200", b"", b"2026-03-01T09:00:00.Z", b"2026-03-01T09:00:00,5Z",
    b"\xef\xbc\x92026-03-01T09:00:00Z", b"-2026-03-01T09:00:00Z", b"+2026-03-01T09:00:00Z",
)  # fmt: skip
TEXTS = (
    "가", "é", "🌫", "\u200b", "\ufeff", "\u0000", "\u202e", "a" * 40, "\\u0061", "\\u0000", "\\ud800", "\\ud83c\\udf2b",
    "\\n", "\\", "\\x41", '\\"', "../../x", "%s", " ", "\t",
)  # fmt: skip
FIELDS = (
    b"pm10", b"pm25", b"o3", b"station_id", b"observed_at", b"status", b"humidity", b"report_id", b"sensor_id", b"x",
    b"PM10", b"pm1", b"pm100", b"", b"pm\\u0031\\u0030",
)  # fmt: skip
VALUES = (
    b"null", b"1", b'"x"', b'{"a":1}', b'[1,{"b":[]}]', b'{"pm10":1}', b'{"pm10":1,"pm10":2}', b'{"status":{"pm10":9}}',
    b'"\\"pm10\\":1"', b"{" * 60, b"[" * 60 + b"]" * 60, b'{"a":' * 60 + b"1" + b"}" * 60, b"true", b"1e5",
)  # fmt: skip

_NUMBER = re.compile(rb"(?<=:)\s*-?\d[^,}\s]*")
_TIME = re.compile(rb'(?<=")\d{4}-\d\d-\d\dT[^"]*')
_TEXT = re.compile(rb'"[^"]*"')
_FIELD = re.compile(rb'"\w+"\s*:\s*("[^"]*"|[^,{}"]+)')
_VALUE = re.compile(rb'(?<=:)("[^"]*"|[^,{}"]+)')

Mutation = Callable[[bytes, random.Random], bytes]


def flipped(line: bytes, draw: random.Random) -> bytes:
    """Change one byte, or one bit of it."""
    if not line:
        return line
    at = draw.randrange(len(line))
    byte = line[at] ^ 1 << draw.randrange(8) if draw.random() < 0.5 else draw.choice(BYTES)
    return line[:at] + bytes([byte]) + line[at + 1 :]


def inserted(line: bytes, draw: random.Random) -> bytes:
    """Put in bytes that mean something in JSON, or none."""
    at = draw.randint(0, len(line))
    return line[:at] + bytes(draw.choices(BYTES, k=draw.randint(1, 3))) + line[at:]


def removed(line: bytes, draw: random.Random) -> bytes:
    """Take a few bytes out."""
    at = draw.randint(0, len(line))
    return line[:at] + line[at + draw.randint(1, 12) :]


def cut(line: bytes, draw: random.Random) -> bytes:
    """Cut the line off, at either end."""
    at = draw.randint(0, len(line))
    return line[:at] if draw.random() < 0.7 else line[at:]


def doubled(line: bytes, draw: random.Random) -> bytes:
    """Repeat a part of the line, or all of it."""
    begin, end = sorted((draw.randint(0, len(line)), draw.randint(0, len(line))))
    return line + line if draw.random() < 0.2 else line[:end] + line[begin:end] + line[end:]


def swapped(line: bytes, draw: random.Random) -> bytes:
    """Let two parts of the line change places."""
    a, b, c = sorted(draw.randint(0, len(line)) for _ in range(3))
    return line[:a] + line[b:c] + line[a:b] + line[c:]


def renumbered(line: bytes, draw: random.Random) -> bytes:
    """Spell a number oddly, or replace it by another."""
    number = draw.choice(NUMBERS) if draw.random() < 0.3 else _number(draw)
    return _replaced(_NUMBER, line, draw, number)


def _number(draw: random.Random) -> bytes:
    """A number of up to 34 digits: most are as devices write them."""
    whole, places = draw.randint(1, draw.choice((4, 17))), draw.choice((0, draw.randint(0, 17)))
    digits = str(draw.randrange(10**whole)) if draw.random() < 0.9 else f"{draw.randrange(10**whole):0{whole}}"
    point = "." if places or draw.random() < 0.02 else ""
    fraction = f"{draw.randrange(10**places):0{places}}" if places else ""
    return f"{draw.choice(('', '', '-'))}{digits}{point}{fraction}".encode()


def retimed(line: bytes, draw: random.Random) -> bytes:
    """Spell the time oddly, or replace it by another."""
    return _replaced(_TIME, line, draw, draw.choice(TIMES) if draw.random() < 0.3 else _time(draw))


def _time(draw: random.Random) -> bytes:
    """A time whose parts are each in their range, or one beyond it."""
    year, month, day = (
        draw.choice((draw.randint(1970, 2099), draw.randint(1, 9999))),
        draw.randint(1, 12),
        draw.randint(1, 31),
    )
    hour, minute, second = draw.randint(0, 24), draw.randint(0, 60), draw.choice((0, 0, draw.randint(0, 60)))
    places = draw.choice((0, 0, draw.randint(1, 9)))
    fraction = f".{draw.randrange(10**places):0{places}}" if places else ""
    offset = draw.choice(("Z", "+09:00", f"{draw.choice('+-')}{draw.randint(0, 24):02}:{draw.randint(0, 60):02}"))
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{offset}".encode()


def reworded(line: bytes, draw: random.Random) -> bytes:
    """Put letters of other alphabets, escapes and marks into a text or a key."""
    found = list(_TEXT.finditer(line))
    if not found:
        return line
    text = draw.choice(found)
    at = draw.randint(text.start() + 1, max(text.start() + 1, text.end() - 1))
    return line[:at] + draw.choice(TEXTS).encode("utf-8", "surrogatepass") + line[at:]


def nested(line: bytes, draw: random.Random) -> bytes:
    """Put an object, a list or a text where a value stood."""
    return _replaced(_VALUE, line, draw, draw.choice(VALUES))


def extended(line: bytes, draw: random.Random) -> bytes:
    """Add a field: an unknown one, or one that may stand there already."""
    field = b'"' + draw.choice(FIELDS) + b'":' + draw.choice(VALUES)
    return line.replace(b"{", b"{" + field + b",", 1) if draw.random() < 0.5 else line[:-1] + b"," + field + b"}"


def repeated(line: bytes, draw: random.Random) -> bytes:
    """Let a field stand twice, with the same value or another."""
    found = list(_FIELD.finditer(line))
    if not found:
        return line
    field = draw.choice(found).group()
    if draw.random() < 0.5:
        field = field.partition(b":")[0] + b":" + draw.choice(NUMBERS)
    return line[:-1] + b"," + field + b"}"


def spaced(line: bytes, draw: random.Random) -> bytes:
    """Put white space around a sign."""
    sign = draw.choice((b",", b":", b"{", b"}", b'"'))
    space = b"".join(draw.choices((b" ", b"\t", b"\r", b"\x0b", b"\xc2\xa0"), (8, 4, 2, 1, 1), k=draw.randint(1, 3)))
    return line.replace(sign, space + sign if draw.random() < 0.5 else sign + space, draw.randint(1, 20))


def very_long(line: bytes, draw: random.Random) -> bytes:
    """Make the line as long as the largest message, a byte more, or a byte less."""
    filler = VERY_LONG_BYTES - len(line) + draw.randint(-1, 1)
    match draw.randrange(3):
        case 0:
            return line + b" " * filler
        case 1:
            return line[:-1] + b',"x":"' + b"x" * (filler - 7) + b'"}'
        case _:
            return _replaced(_NUMBER, line, draw, b"1" * filler)


MUTATIONS: Sequence[Mutation] = (
    flipped, flipped, inserted, removed, cut, doubled, swapped, *[renumbered] * 6, *[retimed] * 4, reworded, nested,
    extended, repeated, spaced, spaced,
)  # fmt: skip


def mutated(line: bytes, draw: random.Random) -> bytes:
    """Break a line at random, or leave it as it is.

    >>> line = b'{"station_id":"park","pm10":41.0}'
    >>> mutated(line, random.Random(1)) == mutated(line, random.Random(1))
    True
    """
    if draw.random() < UNTOUCHED:
        return line
    if draw.random() < VERY_LONG_SHARE:
        return very_long(line, draw)
    for _ in range(draw.choice((1, 1, 1, 2, MAX_ON_TOP))):
        line = draw.choice(MUTATIONS)(line, draw)
    return line


def _replaced(what: re.Pattern[bytes], line: bytes, draw: random.Random, new: bytes) -> bytes:
    """Replace one of the places where something stands."""
    found = list(what.finditer(line))
    if not found:
        return line
    place = draw.choice(found)
    return line[: place.start()] + new + line[place.end() :]
