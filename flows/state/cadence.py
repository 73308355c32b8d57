"""Instruments of a zone that report equally often, and the progress of their windows: fired, and evaluated."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np

from flows.arrays import I64, Whole
from schemas.slots import DAY_SLOTS, NEVER, SLOT, SLOT_S

FAST_SLOTS = 10
"""Cadences up to ten minutes are fast: their stragglers are waited for a minute only; official hours arrive late."""
FAST_STRAGGLER_TIMEOUT_SLOTS, SLOW_STRAGGLER_TIMEOUT_SLOTS = 1, 45


class Cadence:
    """Instruments that share a reporting interval, and how far their windows have fired and been evaluated.

    Nothing but this class writes the progress.

    Args:
        every: the interval, in seconds.
        columns: the instruments' columns in the zone's grid.
        step: how often windows land, in slots; of slower cadences once an interval.
        timezone: of the city, for its days.

    >>> hourly = Cadence(3600, np.array([4, 7]), 10, ZoneInfo("Asia/Seoul"))
    >>> hourly.start(120)
    >>> hourly.fire(180, number=1)
    >>> hourly.fired_until, hourly.evaluated_until, hourly.due
    (180, 120, True)
    """

    def __init__(self, every: int, columns: Whole, step: int, timezone: ZoneInfo) -> None:
        self.every = every
        self.slots = max(1, every // SLOT_S)
        """Slots of an interval."""
        self.columns = columns
        self.step = max(step, self.slots)
        fast = self.slots <= FAST_SLOTS
        self.straggler_timeout = FAST_STRAGGLER_TIMEOUT_SLOTS if fast else SLOW_STRAGGLER_TIMEOUT_SLOTS
        """Slots that the watermark may pass the end of a step before it fires without the stragglers."""
        self._timezone = timezone
        self._fired = self._evaluated = NEVER
        self._firings: list[tuple[int, int]] = []

    @property
    def fired_until(self) -> int:
        """Newest slot whose windows have fired; NEVER before the watermark was set."""
        return self._fired

    @property
    def evaluated_until(self) -> int:
        """Newest slot that was evaluated, at most ``fired_until``; NEVER before the watermark was set."""
        return self._evaluated

    @property
    def due(self) -> bool:
        """Whether windows have fired and are not evaluated yet."""
        return self._evaluated < self._fired

    def start(self, slot: int) -> None:
        """Begin at a slot: what lies up to it is neither fired nor evaluated."""
        self._fired = self._evaluated = self.floor(slot)

    def fire(self, slot: int, number: int) -> None:
        """Fire the steps up to a slot.

        Args:
            slot: end of a step.
            number: of the firing among all of the zone.
        """
        if slot > self._fired:
            self._fired = slot
            self._firings.append((slot, number))

    def evaluated(self, slot: int) -> None:
        """Note that the slots up to one are evaluated."""
        self._evaluated = slot
        self._firings = [(until, number) for until, number in self._firings if until > slot]

    def firing_of(self, ended: I64) -> I64:
        """Return the number of the firing of steps that fired and are not noted as evaluated, shape (n,)."""
        until = np.array([slot for slot, _ in self._firings], np.int64)
        numbers = np.array([number for _, number in self._firings], np.int64)
        return numbers[np.searchsorted(until, ended)]

    def firing_after(self, slot: int) -> int:
        """Number of the firing of the first step that ends after a slot and is not evaluated yet; 0 if all are."""
        return min((number for until, number in self._firings if until > slot), default=0)

    def fired_before(self, number: int) -> int:
        """Newest slot that fired before a firing of the zone."""
        return max((slot for slot, fired in self._firings if fired < number), default=self._evaluated)

    def floor(self, slot: int) -> int:
        """Newest end of a step up to ``slot``."""
        return slot // self.step * self.step

    def by_day(self, ends: I64) -> Iterator[slice]:
        """Part rising ends by local day, as the lake does.

        Where clocks change among them the cut is an hour off, which only costs the lake a second look.
        """
        if ends.size == 1:
            yield slice(None)
        elif ends.size:
            ahead = datetime.fromtimestamp(int(ends[0]) * SLOT_S, self._timezone).utcoffset() or timedelta()
            day = (ends - 1 + ahead // SLOT) // DAY_SLOTS
            for begin, end in pairwise([0, *(np.flatnonzero(np.diff(day)) + 1).tolist(), ends.size]):
                yield slice(begin, end)

    def snapshot(self) -> tuple[int, int, list[tuple[int, int]]]:
        """Plain data: fired, evaluated, and the firings between them."""
        return self._fired, self._evaluated, list(self._firings)

    def restore(self, progress: tuple[int, int, list[tuple[int, int]]]) -> None:
        """Go on from a snapshot."""
        self._fired, self._evaluated = progress[0], progress[1]
        self._firings = list(progress[2])
