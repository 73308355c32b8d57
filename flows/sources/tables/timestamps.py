"""Timestamps as files write them, to microseconds since 1970 UTC: a column of texts at once.

Why time zones are not Arrow's: ``pyarrow.compute.assume_timezone`` reads ``/usr/share/zoneinfo`` alone, fails where a
slim system has none, is silently an hour off where its files are of the compact kind (RFC 9636, zic's default since
2020), and everywhere after 2037. ``zoneinfo`` knows the rules, and falls back on the package ``tzdata``. Nor is there
speed to gain: rows of a file are few days, and each day's offset is looked up once.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from flows.arrays import B1, I32, I64
from flows.sources.tables.column_map import UTC_OFFSET
from flows.sources.tables.numbers import to_floats
from schemas.slots import DAY_US, MICROSECOND, SECOND_US

RFC3339 = (
    r"^(?P<Y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})[Tt ](?P<H>[01]\d|2[0-3]):(?P<M>\d{2}):(?P<S>\d{2})"
    r"(?:\.(?P<f>\d{1,9})\d*)?(?P<z>[Zz]|[+-]\d{2}:?\d{2})$"
)
DIRECTIVE_PATTERNS = {
    "Y": r"\d{4}", "f": r"\d{1,9}", "p": "[AaPp][Mm]", "z": r"[Zz]|[+-]\d{2}:?\d{2}", "b": "[A-Za-z]{3}", "y": r"\d{2}",
}  # fmt: skip
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
UNIX_RANGE_S = (-62_135_596_800.0, 253_402_300_800.0)
"""Seconds since 1970 of the years 1 to 9999."""
FIRST_DAY, LAST_DAY = -25_567, 84_006
"""Days since 1970 of 1900 and 2200: a clock shows earlier and later days as it shows these."""
LOCAL_EPOCH = datetime(1970, 1, 1)


def read_timestamps(texts: pa.Array, pattern: str, timezone: str | None) -> tuple[I64, B1]:
    """Read texts as times.

    Args:
        texts: n of them.
        pattern: ``unix``, ``unix_ms``, ``rfc3339`` or a strptime format.
        timezone: of stamps that bear no offset.

    Returns:
        Microseconds since 1970 UTC, 0 where a text cannot be read, and which cannot; both of shape (n,).

    >>> read_timestamps(pa.array(["2012010124", "soon"]), "%Y%m%d%H", "Asia/Seoul")
    (array([1325430000000000,                0]), array([False,  True]))
    """
    if pattern in ("unix", "unix_ms"):
        return _read_unix(texts.to_pylist(), 1000 if pattern == "unix_ms" else 1)
    groups = pc.extract_regex(texts, _regex(pattern))
    unreadable = ~np.asarray(groups.is_valid())
    groups = groups.filter(pa.array(~unreadable))
    parts = {field.name: groups.field(i) for i, field in enumerate(groups.type)}
    read, impossible = _compose(parts, len(groups))
    if "z" in parts:
        read -= _offsets_us(parts["z"])
    elif timezone is not None:
        read, never = wall_clock(timezone).to_utc(read)
        impossible |= never
    read[impossible] = 0
    observed = np.zeros(len(unreadable), np.int64)
    observed[~unreadable] = read
    unreadable[~unreadable] = impossible
    return observed, unreadable


def _read_unix(texts: list[str], per_second: int) -> tuple[I64, B1]:
    seconds, _ = to_floats(texts)
    if per_second != 1:
        seconds = seconds / per_second
    unreadable = ~((seconds >= UNIX_RANGE_S[0]) & (seconds < UNIX_RANGE_S[1]))
    return np.rint(np.where(unreadable, 0, seconds) * SECOND_US).astype(np.int64), unreadable


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
            parts.append(f"(?P<{word[1]}>{DIRECTIVE_PATTERNS.get(word[1], digits)})")
    return "".join([*parts, "$"])


def _compose(parts: dict[str, pa.Array], n: int) -> tuple[I64, B1]:
    """Put years, months, days and hours together.

    Args:
        parts: texts by directive, each of length n; what is not there is its least.
        n: how many stamps.

    Returns:
        Microseconds since 1970 of each stamp's own clock, and which stamps no calendar has; both of shape (n,).
    """

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
    wrong = np.zeros(n, bool)
    if "I" in parts:
        hour = part("I", 0)
        wrong |= (hour < 1) | (hour > 12)
        afternoon = np.array(pc.equal(pc.utf8_lower(parts["p"]), "pm")) if "p" in parts else np.zeros(n, bool)
        hour = hour % 12 + 12 * afternoon
    micros = np.zeros(n, np.int64)
    if "f" in parts:
        micros = np.array(pc.cast(pc.utf8_rpad(parts["f"], 9, "0"), pa.int64())) // 1000
    wrong |= (year < 1) | (month < 1) | (month > 12) | (minute > 59) | (second > 59)
    wrong |= (hour > 24) | ((hour == 24) & (minute + second + micros > 0))  # hour 24 is midnight of the next day
    months = (year - 1970) * 12 + np.clip(month, 1, 12) - 1
    first_day: I64 = months.astype("M8[M]").astype("M8[D]").astype(np.int64)
    length: I64 = (months + 1).astype("M8[M]").astype("M8[D]").astype(np.int64) - first_day
    wrong |= (day < 1) | (day > length)
    local: I64 = (first_day + day - 1) * DAY_US + (hour * 3600 + minute * 60 + second) * SECOND_US + micros
    return local, wrong


def _offsets_us(texts: pa.Array) -> I64:
    coded = pc.dictionary_encode(texts)
    offsets: I64 = np.array([_offset_us(text) for text in coded.dictionary.to_pylist()], np.int64)
    index: I32 = coded.indices.to_numpy()
    return offsets[index]


def _offset_us(text: str) -> int:
    if text in ("Z", "z"):
        return 0
    digits = text[1:].replace(":", "")
    offset_us = (int(digits[:2]) * 3600 + int(digits[2:]) * 60) * SECOND_US
    return -offset_us if text[0] == "-" else offset_us


class WallClock:
    """The wall clock of a time zone: turns its local times into UTC.

    An hour that comes twice means its first; one that the clock jumps over is no time. On 11 March 2018 New York had
    no hour from 02:00:

    >>> local = np.array(["2018-03-11T01:30", "2018-03-11T02:30"], "M8[us]").astype(np.int64)
    >>> utc, never = WallClock("America/New_York").to_utc(local)
    >>> utc[:1].astype("M8[us]").tolist(), never.tolist()
    ([datetime.datetime(2018, 3, 11, 6, 30)], [False, True])

    Args:
        timezone: a name such as Asia/Seoul, or an offset such as +09:00.
    """

    def __init__(self, timezone: str) -> None:
        self._fixed_us = _offset_us(timezone) if re.match(UTC_OFFSET, timezone) else None
        self._zone = ZoneInfo(timezone) if self._fixed_us is None else None
        self._day_offsets_us: dict[int, int | None] = {}

    def to_utc(self, local: I64) -> tuple[I64, B1]:
        """Turn local times into UTC.

        Args:
            local: microseconds since 1970 of the wall clock, shape (n,).

        Returns:
            Microseconds since 1970 UTC, and which times the clock never shows; both of shape (n,).
        """
        never = np.zeros(local.size, bool)
        if self._fixed_us is not None:
            return local - self._fixed_us, never
        days, day_of = np.unique(local // DAY_US, return_inverse=True)
        by_day = [self._day_offset_us(day) for day in days.tolist()]
        offset_us: I64 = np.array([us or 0 for us in by_day], np.int64)[day_of]
        changes: B1 = np.array([us is None for us in by_day], bool)[day_of]
        for row in np.flatnonzero(changes).tolist():
            us = self._offset_at(LOCAL_EPOCH + int(local[row]) * MICROSECOND)
            never[row], offset_us[row] = us is None, us or 0
        return local - offset_us, never

    def _day_offset_us(self, day: int) -> int | None:
        """The offset of a day since 1970; None if it changes within, or at either end."""
        if day not in self._day_offsets_us:
            start = LOCAL_EPOCH + timedelta(days=min(max(day, FIRST_DAY), LAST_DAY))
            bounds = [at.replace(fold=fold) for at in (start, start + timedelta(days=1)) for fold in (0, 1)]
            offsets = {at.replace(tzinfo=self._zone).utcoffset() for at in bounds}
            self._day_offsets_us[day] = _micros(offsets.pop()) if len(offsets) == 1 else None
        return self._day_offsets_us[day]

    def _offset_at(self, at: datetime) -> int | None:
        """The offset of a local time; None if the clock never shows it."""
        local = at.replace(tzinfo=self._zone)
        if local.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None, fold=0) != at:
            return None
        return _micros(local.utcoffset())


@lru_cache(64)
def wall_clock(timezone: str) -> WallClock:
    """Return the clock of a time zone, always the same one, because it caches the offset of each day."""
    return WallClock(timezone)


def _micros(offset: timedelta | None) -> int:
    assert offset is not None
    return offset // MICROSECOND
