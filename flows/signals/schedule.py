"""When lights and alerts are decided: at the slots of a zone's fastest cadence that fire, row by row."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flows.arrays import I64
from flows.signals.base import FiringSlots
from flows.state.cadence import Cadence
from schemas.slots import NEVER

GAP_EDGE_SLOTS = 180
"""Slots after and before a gap in the city's air that are decided one by one; between, nothing changes."""


_NONE = np.empty(0, np.int64)


class Moments(NamedTuple):
    """What fires at m rows, and the n slots at which lights are decided then.

    Attributes:
        rows: numbers of the rows in their run, rising, shape (m,).
        fired: newest slot of each cadence that has fired then, shape (m, G).
        slots: rising, shape (n,).
        at: index of the moment of each slot, shape (n,).
    """

    rows: I64
    fired: I64
    slots: I64
    at: I64


class _Pending(NamedTuple):
    """Slots of one cadence that fire and were not taken yet, rising, and the rows after which they do."""

    slots: I64
    rows: I64


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
    >>> moments = schedule.take(before=3)
    >>> moments.rows.tolist(), moments.slots.tolist(), moments.at.tolist()
    ([0, 2], [6, 7, 8], [0, 1, 1])
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
        self._pending = [_Pending(_NONE, _NONE)] * len(cadences)

    @property
    def newest(self) -> int:
        """Newest slot of the fastest cadence that was taken."""
        return int(self.fired[self._fastest])

    @property
    def empty(self) -> bool:
        """Whether everything that fires was taken."""
        return not any(pending.rows.size for pending in self._pending)

    def start(self, slot: int) -> None:
        """Begin at a slot: what fires after it is decided."""
        self.fired[:] = self.begin = slot

    def add(self, firings: Sequence[FiringSlots]) -> None:
        """Note which slots of each cadence fire in a run, and after which rows."""
        assert self.empty, "what fired in the run before was not looked at"
        self._pending = [_Pending(fires.slots, fires.rows) for fires in firings]

    def take(self, before: int) -> Moments:
        """Take what fires before a row."""
        ends = [int(np.searchsorted(pending.rows, before)) for pending in self._pending]
        taken = [_Pending(slots[:end], rows[:end]) for (slots, rows), end in zip(self._pending, ends, strict=True)]
        rows = np.unique(np.concatenate([pending.rows for pending in taken]))
        if not rows.size:
            return Moments(rows, np.empty((0, self.fired.size), np.int64), _NONE, _NONE)
        self._pending = [
            _Pending(slots[end:], rows[end:]) for (slots, rows), end in zip(self._pending, ends, strict=True)
        ]
        fired = np.empty((rows.size, self.fired.size), np.int64)
        for i, (slots, after) in enumerate(taken):
            newest = np.append(self.fired[i], slots)[np.searchsorted(after, rows, "right")]
            fired[:, i] = np.maximum(newest, self.fired[i])
        was, done = self._gap or (self.newest, self.newest)
        self._gap, self.fired = None, fired[-1].copy()
        return Moments(rows, fired, *self._decided(was, done, fired[:, self._fastest]))

    def _decided(self, was: int, done: int, now: I64) -> tuple[I64, I64]:
        """Slots of the fastest cadence at which lights are decided, and the moment of each.

        Args:
            was: newest slot before the first moment.
            done: newest slot that was taken; beyond ``was`` where it is a gap's.
            now: newest slot at each moment, shape (m,).
        """
        slots = self._slots(was, int(now[-1]))
        at = np.searchsorted(now, slots)
        before = np.append(was, now)[at]
        edges = (slots <= before + GAP_EDGE_SLOTS) | (slots > now[at] - GAP_EDGE_SLOTS)
        decided = edges & (slots > done)
        return slots[decided], at[decided]

    def take_gap(self, row: int, until: int) -> Moments:
        """Take the beginning of the gap that a row ends.

        Args:
            row: what fires before it was taken.
            until: newest slot that the row's own reading does not touch; later ones stay.
        """
        was, fired = self.newest, self.fired.copy()
        for i, pending in enumerate(self._pending):
            newest = int(pending.slots[pending.rows == row].max(initial=NEVER))
            fired[i] = max(fired[i], min(newest, until))
        head = self._slots(was, min(was + GAP_EDGE_SLOTS, int(fired[self._fastest])))
        self.fired = fired
        self._gap = (was, int(head[-1])) if head.size else None
        return Moments(np.array([row]), fired[None, :], head, np.zeros_like(head))

    def take_rest(self, newest: int) -> Moments:
        """Take what is open at the end of the input, up to the last slot that holds a reading."""
        if self.begin > NEVER:
            first = np.zeros(1, np.int64)
            self._pending = [_Pending(first + newest // slots * slots, first) for slots in self._slots_of.tolist()]
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
