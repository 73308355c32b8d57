"""The stations of a zone that share a cadence, and how far they are evaluated."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from flows.analyses import indices
from flows.analyses.ozone_hours import OzoneHours
from flows.analyses.quality import limits_of
from flows.arrays import F64, I64
from flows.kernels import rolling
from flows.kernels.temporal_tests import lookback
from schemas.city import City
from schemas.durations import minutes, seconds
from schemas.slots import NEVER

DAY = 1440
FAST = 10
"""Cadences up to ten minutes are fast: their slots close a minute past due; official hours arrive late."""
GRACE_FAST, GRACE_SLOW = 1, 45


class Cadence:
    """The stations of a zone that share a cadence, and how far they are evaluated.

    Args:
        city: for windows and limits.
        columns: their columns in the zone's grid.
        every: their cadence, in seconds.
        scales: indices to compute.
    """

    def __init__(self, city: City, columns: NDArray[np.integer], every: int, scales: indices.Scales) -> None:
        self._timezone = ZoneInfo(city.city.timezone)
        self.columns = columns
        self.every = every
        self.cadence = max(1, every // 60)
        self.step = max(minutes(city.windows.step), self.cadence)
        self.grace = GRACE_FAST if self.cadence <= FAST else GRACE_SLOW
        self.scales = scales
        self.ozone: OzoneHours | None = None
        """Hours behind ozone's NowCast, where an index takes its regression."""
        self.limits = limits_of(city, self.cadence)
        self.pm25_over_pm10 = city.quality.pm25_over_pm10
        self.lookback = lookback(self.limits) * self.cadence
        kept = [
            length for length in city.windows.lengths if seconds(length) >= every and minutes(length) % self.step == 0
        ]
        self.names = tuple(kept)
        self.lengths = np.array([minutes(length) for length in kept], np.int64)
        self.expected = np.array([seconds(length) // every for length in kept], np.int64)
        self.due = NEVER
        """Newest slot that is closed by the clock."""
        self.closed = NEVER
        """Newest slot that was evaluated; at most ``due``. NEVER before the clock was set."""
        self.closings: list[tuple[int, int]] = []
        """Steps closed and not evaluated yet, each with the number of the closing among all of the zone."""

    @property
    def longest(self) -> int:
        """Slots before a window's end that its mean may depend on."""
        return int(self.lengths.max(initial=self.step))

    def coverage(self, filled: NDArray[np.integer], window: NDArray[np.integer]) -> F64:
        """Return the share of each window that its filled slots stand for; both of shape (n,)."""
        return rolling.coverage(filled, self.cadence, self.lengths.astype(np.float64).take(window))

    def close_at(self, slot: int, closing: int) -> None:
        """Note that the slots up to ``slot`` are closed."""
        if slot > self.due:
            self.due = slot
            self.closings.append((slot, closing))

    def closing_of(self, ended: I64) -> I64:
        """Return the number of the closing of each slot, shape (n,); forget those of slots evaluated by now."""
        steps = np.array([slot for slot, _ in self.closings], np.int64)
        numbers = np.array([number for _, number in self.closings], np.int64)
        self.closings = [(slot, number) for slot, number in self.closings if slot > self.closed]
        return numbers[np.searchsorted(steps, ended)]

    def days(self, ends: I64) -> Iterator[slice]:
        """Part ends in rising order by local day, as the lake does.

        Where clocks change among them the cut is an hour off, which only costs the lake a second look.
        """
        if ends.size == 1:
            yield slice(None)
        elif ends.size:
            ahead = datetime.fromtimestamp(int(ends[0]) * 60, self._timezone).utcoffset() or timedelta()
            day = (ends - 1 + ahead // timedelta(minutes=1)) // DAY
            for begin, end in pairwise([0, *(np.flatnonzero(np.diff(day)) + 1).tolist(), ends.size]):
                yield slice(begin, end)

    def floor(self, slot: int) -> int:
        """Newest multiple of the step up to ``slot``."""
        return slot // self.step * self.step
