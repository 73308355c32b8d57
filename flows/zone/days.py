"""Local days that analyses learn from: each once, when no late reading can change it any more."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from flows.analyses.base import LocalDay
from flows.state.cadence import Cadence
from schemas.slots import end_of, slot_at

FIRST_DAY = date(1970, 1, 1)


class LearningDays:
    """The next day to be learnt, and when: before any cadence's first step past two days later is evaluated.

    Every slot of the day lies past the horizon then.

    Args:
        timezone: of the city.
        horizon: slots that a reading may be late.

    >>> days = LearningDays(ZoneInfo("UTC"), horizon=1440)
    >>> days.start(100)
    >>> days.next.last, days.boundary
    (1440, 2880)
    """

    def __init__(self, timezone: ZoneInfo, horizon: int) -> None:
        self._timezone, self._horizon = timezone, horizon
        self._number = 0

    def start(self, slot: int) -> None:
        """Begin with the day in which a slot lies."""
        local = (end_of(slot) - timedelta(microseconds=1)).astimezone(self._timezone)
        self._number = (local.date() - FIRST_DAY).days

    @property
    def next(self) -> LocalDay:
        """The next day to be learnt."""
        first, last = self._midnight(self._number), self._midnight(self._number + 1)
        return LocalDay(self._number, first, last, max(self._midnight(self._number + 2), last + self._horizon))

    @property
    def boundary(self) -> int:
        """Newest slot up to which cadences may be evaluated before the next day is learnt."""
        return self.next.boundary

    def firing(self, cadences: Sequence[Cadence]) -> int | None:
        """Number of the firing before which the next day is learnt; none where no such step has fired yet."""
        boundary = self.boundary
        numbers = [cadence.firing_after(boundary) for cadence in cadences if cadence.fired_until > boundary]
        return min(numbers, default=None)

    def take(self) -> LocalDay:
        """Return the next day, and go on to the one behind it."""
        day = self.next
        self._number += 1
        return day

    def snapshot(self) -> int:
        """Plain data."""
        return self._number

    def restore(self, kept: int) -> None:
        """Go on from a snapshot."""
        self._number = kept

    def _midnight(self, number: int) -> int:
        """Slot that ends with the beginning of a day."""
        midnight = datetime.combine(FIRST_DAY + timedelta(days=number), time(), self._timezone)
        return slot_at(midnight)
