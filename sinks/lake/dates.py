"""The local date that a row belongs to: of its time - 1 µs, so that hour 24 belongs to its day."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

MINUTE = 60_000_000
"""Microseconds of a minute: offsets have changed at one past midnight."""
EPOCH = date(1970, 1, 1)
EPOCH_TIME = datetime(1970, 1, 1, tzinfo=UTC)
DAY = 86_400_000_000
WEEK = 7 * DAY
"""No zone of tzdata has changed its offset twice within less."""
LONGEST_TABLE = 1 << 17
"""Minutes looked up in a table: three months; times farther apart are sorted."""


class LocalDates:
    """Dates of a time zone, remembered by the minute.

    >>> LocalDates("Asia/Seoul").of(np.array([1767193200_000_000, 1767193200_000_001]))
    array([20453, 20454])
    """

    def __init__(self, timezone: str) -> None:
        self._zone = ZoneInfo(timezone)
        self._known: dict[int, int] = {}

    def of(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        """Days since 1970 of times in microseconds since 1970 UTC, shape (n,)."""
        if not times.size:
            return np.empty(0, np.int64)
        begin, end = int(times.min()) - 1, int(times.max()) - 1
        if end - begin < WEEK and self._offset(begin) == (offset := self._offset(end)):
            first, last = (begin + offset) // DAY, (end + offset) // DAY
            return np.full(times.size, first) if first == last else (times + (offset - 1)) // DAY
        instants = (times - 1) // MINUTE
        begin = int(instants.min())
        if int(instants.max()) - begin < LONGEST_TABLE:
            seen = np.flatnonzero(np.bincount(instants - begin))
            table = np.zeros(int(seen[-1]) + 1, np.int64)
            table[seen] = [self._day(begin + int(minute)) for minute in seen]
            return table[instants - begin]
        distinct, where = np.unique(instants, return_inverse=True)
        return np.array([self._day(int(minute)) for minute in distinct])[where]

    def _offset(self, instant: int) -> int:
        """Microseconds that local time is ahead of UTC."""
        ahead = (EPOCH_TIME + timedelta(microseconds=instant)).astimezone(self._zone).utcoffset()
        assert ahead is not None
        return ahead // timedelta(microseconds=1)

    def _day(self, minute: int) -> int:
        if minute not in self._known:
            at = datetime.fromtimestamp(minute * MINUTE / 1_000_000, UTC).astimezone(self._zone)
            self._known[minute] = (at.date() - EPOCH).days
        return self._known[minute]


def name(day: int) -> str:
    """ISO name of a day since 1970."""
    return (EPOCH + timedelta(days=int(day))).isoformat()
