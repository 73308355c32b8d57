"""When lights and alerts are decided: at the slots of a zone's fastest cadence that fire, row by row."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from flows.arrays import I64
from flows.signals.base import FiringSlots
from flows.state.cadence import Cadence
from schemas.slots import NEVER

GAP_EDGE_SLOTS = 180
"""Slots after and before a gap in the city's air that are decided one by one; between, nothing changes."""


class Moment(NamedTuple):
    """What fires at one row.

    Attributes:
        row: number of the row in its run.
        fired: newest slot of each cadence that has fired then, shape (G,).
        slots: at which lights are decided, rising.
    """

    row: int
    fired: I64
    slots: I64


class LightSchedule:
    """Slots at which lights and alerts are decided.

    A gap in the whole city's air is cut short: its first and its last ``GAP_EDGE_SLOTS`` are decided.

    Args:
        cadences: of the zone.

    >>> from zoneinfo import ZoneInfo
    >>> from flows.zone.triggers import Firings
    >>> schedule = LightSchedule([Cadence(60, np.array([0]), 10, ZoneInfo("UTC"))])
    >>> schedule.start(5)
    >>> schedule.add([Firings(np.array([6, 7, 8]), np.array([0, 2, 2]))])
    >>> [(moment.row, moment.slots.tolist()) for moment in schedule.take(before=3)]
    [(0, [6]), (2, [7, 8])]
    """

    def __init__(self, cadences: Sequence[Cadence]) -> None:
        self._cadences = cadences
        self._slots_of = np.array([cadence.slots for cadence in cadences], np.int64)
        self._fastest = int(self._slots_of.argmin())
        self.fired: I64 = np.full(len(cadences), NEVER)
        """Newest slot of each cadence that was taken."""
        self.begin = NEVER
        """Slot after which the first decision lies; NEVER before the watermark was set."""
        self._gap: tuple[int, int] | None = None
        """Of a gap whose beginning was taken: its first slot less one, and the last slot taken."""
        self._pending: list[tuple[int, int, int]] = []
        """Firings not taken yet: row, cadence, and the slot up to which it fires."""

    @property
    def newest(self) -> int:
        """Newest slot of the fastest cadence that was taken."""
        return int(self.fired[self._fastest])

    @property
    def empty(self) -> bool:
        """Whether everything that fires was taken."""
        return not self._pending

    def start(self, slot: int) -> None:
        """Begin at a slot: what fires after it is decided."""
        self.fired[:] = self.begin = slot

    def add(self, firings: Sequence[FiringSlots]) -> None:
        """Note which slots of each cadence fire in a run, and after which rows."""
        for i, fires in enumerate(firings):
            newest = dict(zip(fires.rows.tolist(), fires.slots.tolist(), strict=True))
            self._pending += [(row, i, slot) for row, slot in newest.items()]
        self._pending.sort()

    def take(self, before: int) -> list[Moment]:
        """Take what fires before a row."""
        upto = bisect_left(self._pending, before, key=lambda firing: firing[0])
        pending, self._pending = self._pending[:upto], self._pending[upto:]
        moments: list[Moment] = []
        for row, firings in groupby(pending, key=lambda firing: firing[0]):
            was, fired = self.newest, self.fired.copy()
            for _, i, slot in firings:
                fired[i] = max(fired[i], slot)
            self.fired = fired
            began, done = self._gap or (was, was)
            self._gap = None
            slots = self._slots(began, self.newest)
            edges = (slots <= began + GAP_EDGE_SLOTS) | (slots > self.newest - GAP_EDGE_SLOTS)
            moments.append(Moment(row, fired, slots[edges & (slots > done)]))
        return moments

    def take_gap(self, row: int, until: int) -> list[Moment]:
        """Take the beginning of the gap that a row ends.

        Args:
            row: what fires before it was taken.
            until: newest slot that the row's own reading does not touch; later ones stay.
        """
        was, fired = self.newest, self.fired.copy()
        for at, i, slot in self._pending:
            if at == row:
                fired[i] = max(fired[i], min(slot, until))
        head = self._slots(was, min(was + GAP_EDGE_SLOTS, int(fired[self._fastest])))
        self.fired = fired
        self._gap = (was, int(head[-1])) if head.size else None
        return [Moment(row, fired, head)]

    def take_rest(self, newest: int) -> list[Moment]:
        """Take what is open at the end of the input, up to the last slot that holds a reading."""
        if self.begin == NEVER:
            return []
        self._pending = [(0, i, newest // slots * slots) for i, slots in enumerate(self._slots_of.tolist())]
        return self.take(1)

    def whole(self, fired: I64) -> I64:
        """Newest whole interval of each cadence up to given slots, of the same shape (…, G)."""
        return fired // self._slots_of * self._slots_of

    def _slots(self, was: int, now: int) -> I64:
        """Slots of the fastest cadence after ``was`` up to ``now``."""
        every = int(self._slots_of[self._fastest])
        return np.arange(was // every * every + every, now + 1, every, dtype=np.int64)

    def snapshot(self) -> dict[int, int]:
        """Newest slot that was taken, by cadence in seconds."""
        assert self.empty, "what fired was not looked at"
        return {cadence.every: int(slot) for cadence, slot in zip(self._cadences, self.fired, strict=True)}

    def restore(self, kept: dict[int, int], begin: int) -> None:
        """Go on from a snapshot; a cadence that it does not know is as far as the others."""
        newest = max(kept.values())
        self.fired = np.array([kept.get(cadence.every, newest) for cadence in self._cadences], np.int64)
        self.begin = begin
