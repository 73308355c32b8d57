"""The local date of a row: of its time - 1 µs, so that hour 24 belongs to its day."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from flows.arrays import I64
from schemas.slots import DAY_US, EPOCH, MICROSECOND, SECOND_US, SLOT_US

WEEK_US = 7 * DAY_US
"""No zone of tzdata has changed its offset twice within less."""
MAX_TABLE_MINUTES = 1 << 17
"""Span of times, three months, whose dates are looked up in a table; those of longer spans are sorted."""


class LocalDates:
    """Dates of a time zone, as days since 1970. They are remembered by the minute: offsets change at whole minutes.

    >>> LocalDates("Asia/Seoul").of(np.array([1767193200_000_000, 1767193200_000_001]))
    array([20453, 20454])
    """

    def __init__(self, timezone: str) -> None:
        self._zone = ZoneInfo(timezone)
        self._day_of_minute: dict[int, int] = {}

    def of(self, times: I64) -> I64:
        """Days since 1970 of times in microseconds since 1970 UTC, shape (n,)."""
        if not times.size:
            return np.empty(0, np.int64)
        begin, end = int(times.min()) - 1, int(times.max()) - 1
        if end - begin < WEEK_US and self._offset(begin) == (offset := self._offset(end)):
            first, last = (begin + offset) // DAY_US, (end + offset) // DAY_US
            return np.full(times.size, first) if first == last else (times + (offset - 1)) // DAY_US
        minutes = (times - 1) // SLOT_US
        begin = int(minutes.min())
        if int(minutes.max()) - begin < MAX_TABLE_MINUTES:
            present = np.flatnonzero(np.bincount(minutes - begin))
            table = np.zeros(int(present[-1]) + 1, np.int64)
            table[present] = [self._day(begin + int(minute)) for minute in present]
            return table[minutes - begin]
        distinct, inverse = np.unique(minutes, return_inverse=True)
        return np.array([self._day(int(minute)) for minute in distinct])[inverse]

    def _offset(self, time: int) -> int:
        """Microseconds that local time is ahead of UTC."""
        offset = (EPOCH + timedelta(microseconds=time)).astimezone(self._zone).utcoffset()
        assert offset is not None
        return offset // MICROSECOND

    def _day(self, minute: int) -> int:
        if minute not in self._day_of_minute:
            moment = datetime.fromtimestamp(minute * SLOT_US / SECOND_US, UTC).astimezone(self._zone)
            self._day_of_minute[minute] = (moment.date() - EPOCH.date()).days
        return self._day_of_minute[minute]


def iso_date(day: int) -> str:
    """ISO text of a day since 1970, as in the name of its folder.

    >>> iso_date(20453)
    '2025-12-31'
    """
    return (EPOCH + timedelta(days=int(day))).date().isoformat()
