"""The local date that a row belongs to: of its time - 1 µs, so that hour 24 belongs to its day."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

QUARTER = 900_000_000
"""Microseconds of a quarter of an hour: every zone's offset changes on one."""
EPOCH = date(1970, 1, 1)
LONGEST_TABLE = 1 << 16
"""Quarters of an hour looked up in a table: nearly two years; times farther apart are sorted."""


class LocalDates:
    """Dates of a time zone, remembered by quarter hour.

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
        quarters = (times - 1) // QUARTER
        first, last = self._day(int(quarters.min())), self._day(int(quarters.max()))
        if first == last:
            return np.full(times.size, first)
        begin = int(quarters.min())
        if int(quarters.max()) - begin < LONGEST_TABLE:
            seen = np.flatnonzero(np.bincount(quarters - begin))
            table = np.zeros(int(seen[-1]) + 1, np.int64)
            table[seen] = [self._day(begin + int(quarter)) for quarter in seen]
            return table[quarters - begin]
        distinct, where = np.unique(quarters, return_inverse=True)
        return np.array([self._day(int(quarter)) for quarter in distinct])[where]

    def _day(self, quarter: int) -> int:
        if quarter not in self._known:
            at = datetime.fromtimestamp(quarter * QUARTER / 1_000_000, UTC).astimezone(self._zone)
            self._known[quarter] = (at.date() - EPOCH).days
        return self._known[quarter]


def name(day: int) -> str:
    """ISO name of a day since 1970."""
    return (EPOCH + timedelta(days=int(day))).isoformat()
