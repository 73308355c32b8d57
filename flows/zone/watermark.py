"""A zone's watermark: event time that its instruments agree on, advanced row by row, however rows were batched.

It is the newest slot that a quorum of instruments has reached: three, or as many as are present; so one wild sensor
moves nothing, and one that has gone, or never was, holds nothing up. A slot is a minute, named by its end: a reading
stamped in (T - 1 min, T] lies in slot T.

Everything here is a function of the sequence of rows alone. That is what lets a crash replay them in other batches
and come to the same decisions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from flows.arrays import B1, I32, I64, Whole
from flows.kernels import watermark as kernel
from flows.kernels.watermark import (
    COUNT,
    CURRENT,
    EXPIRY,
    FIRST,
    LAST,
    NEWEST,
    OTHER,
    PRESENT,
    SOLO,
    VOTE,
    WALKED,
)
from flows.zone.plan import Lateness
from schemas.slots import HOUR_SLOTS, NEVER

ABSENCE_CADENCES = 6
"""Of the slowest cadence: while two others walk so far together, one that is not heard is gone. At least an hour."""


@dataclass(slots=True)
class WatermarkTrace:
    """The watermark after each of n rows.

    Attributes:
        watermark: after each row, shape (n,); NEVER while not set. It never falls.
        early: which rows lie beyond the horizon ahead of it then, shape (n,).
        newest: newest slot of each instrument before the rows, shape (S,).
        column, slot: of the rows, shape (n,); the column of a record is below 0.
        passage: of the rows.
        quorum_fell: whether the last row showed that instruments are gone; rows behind it are not traced.
    """

    watermark: I64
    early: B1
    newest: I64
    column: I32
    slot: I64
    passage: int = FIRST
    quorum_fell: bool = False

    def first_rows(self, at: I64) -> I64:
        """First row at which each instrument reached slots ``at``, which rise: shape (at.size, S).

        -1 before the rows, NO_ROW never. Rows beyond the horizon reach nothing yet.
        """
        slot = np.where(self.early, NEVER, self.slot) if self.early.any() else self.slot
        return kernel.first_rows(self.newest, self.column, slot, at)


class Watermark:
    """The agreement of a zone's instruments on event time.

    An instrument is gone, and not asked, once two others have walked an absence (six of the slowest cadence, at least
    an hour) together without it, or one alone two horizons; it is present again with its next row.

    Args:
        instruments: how many the zone has.
        lateness: how far readings may come out of order.
        slowest: the longest cadence of the zone, in slots.

    Two of two instruments have to agree; what one of them says alone moves nothing:

    >>> watermark = Watermark(2, Lateness(horizon=60, max_wait=60, early_capacity=100))
    >>> column, slot = np.array([0, 0, 1], np.int32), np.array([5, 6, 5])
    >>> trace = watermark.preview(column, slot)
    >>> watermark.advance(trace, rows=3)
    >>> watermark.current
    5
    """

    def __init__(self, instruments: int, lateness: Lateness, slowest: int = 1) -> None:
        self._horizon, self._max_wait = lateness.horizon, lateness.max_wait
        self._absence = max(ABSENCE_CADENCES * slowest, HOUR_SLOTS)
        self._instruments = np.full((5, instruments), NEVER)
        self._instruments[WALKED], self._instruments[PRESENT] = 0, 1
        self._zone = np.zeros(8, np.int64)
        self._zone[[CURRENT, EXPIRY]], self._zone[COUNT], self._zone[[LAST, OTHER]] = NEVER, instruments, -1
        self.start = NEVER
        """The watermark's first value."""
        self._previewed: tuple[WatermarkTrace, I64, I64] | None = None
        """The last preview, with the state behind it: mostly all of its rows are taken."""

    @property
    def current(self) -> int:
        """The watermark; NEVER while not set."""
        return int(self._zone[CURRENT])

    @property
    def newest(self) -> I64:
        """Newest slot of each instrument by rows that were not early when they were taken, shape (S,)."""
        newest: I64 = self._instruments[NEWEST]
        return newest

    @property
    def quorum(self) -> int:
        """Instruments that have to agree."""
        return min(3, int(self._zone[COUNT]))

    def preview(self, column: I32, slot: I64, passage: int = FIRST) -> WatermarkTrace:
        """Watermark after each of these rows, without advancing; at least one row.

        Args:
            column: of each row, below 0 for a record, shape (n,).
            slot: likewise.
            passage: whether they come for the first time.
        """
        instruments, zone = self._instruments.copy(), self._zone.copy()
        watermark, early = np.empty(slot.size, np.int64), np.empty(slot.size, bool)
        rows = self._trace(instruments, zone, passage, column, slot, watermark, early)
        n = abs(rows)
        trace = WatermarkTrace(watermark[:n], early[:n], self.newest.copy(), column[:n], slot[:n], passage, rows < 0)
        self._previewed = trace, instruments, zone
        return trace

    def advance(self, trace: WatermarkTrace, rows: int) -> None:
        """Advance over the first rows of a preview."""
        if not rows:
            return
        if self._previewed is not None and self._previewed[0] is trace and rows == trace.slot.size:
            _, self._instruments, self._zone = self._previewed
        else:
            ignored = np.empty(rows, np.int64), np.empty(rows, bool)
            taken = trace.passage, trace.column[:rows], trace.slot[:rows]
            self._trace(self._instruments, self._zone, *taken, *ignored)
        self._previewed = None
        if self.start == NEVER:
            self.start = int(trace.watermark[np.argmax(trace.watermark[:rows] > NEVER)])

    def _trace(
        self, instruments: I64, zone: I64, passage: int, column: I32, slot: I64, watermark: I64, early: B1
    ) -> int:
        limits = self._horizon, self._max_wait, self._absence
        return kernel.trace(instruments, zone, *limits, passage, column, slot, watermark, early)

    def vote_again(self) -> None:
        """Let instruments say no more than what they have reached on the grid: what is buffered is taken once more."""
        present = self._instruments[PRESENT] == 1
        self._instruments[VOTE, present] = self._instruments[NEWEST, present]

    def settle(self) -> bool:
        """At the end of the input, take the agreement there can be for what is buffered; true if there is any.

        Before the watermark is set that is of all that were heard. After it, of those who say that they are beyond the
        horizon: if they are more than the others, or one alone that has walked there while no other was heard.
        """
        votes, zone = self._instruments[VOTE], self._zone
        heard = votes > NEVER
        if self.current > NEVER:
            beyond = votes > self.current + self._horizon
            number, last = int(beyond.sum()), int(zone[LAST])
            if number > 1:
                agreed = 2 * number > zone[COUNT]
            else:
                walked, solo = int(self._instruments[WALKED, last]), int(zone[SOLO])
                agreed = number == 1 and beyond[last]
                agreed &= walked > 0 if zone[COUNT] == 1 else min(walked, solo) >= self._absence
            if not agreed:
                return False
            heard = beyond
        if not heard.any():
            return False
        self._instruments[PRESENT] = heard
        self._instruments[VOTE, ~heard] = NEVER
        self._instruments[WALKED, heard] = np.maximum(self._instruments[WALKED, heard], self._absence)
        zone[COUNT] = heard.sum()
        return True

    def heard_until(self, trace: WatermarkTrace) -> I64:
        """Newest slot of each instrument, at least the watermark's start: one not heard yet is waited for a while."""
        started = self.start if self.start != NEVER else trace.watermark[np.argmax(trace.watermark > NEVER)]
        newest: I64 = np.maximum(self.newest, started)
        return newest

    def snapshot(self) -> dict[str, Any]:
        """Plain data."""
        return {"instruments": self._instruments.copy(), "zone": self._zone.tolist(), "start": self.start}

    def restore(self, kept: dict[str, Any], settled: I64, ours: list[int], theirs: list[int]) -> None:
        """Go on from a snapshot.

        Args:
            kept: the snapshot; that of an older version has the newest slots, and no votes.
            settled: of such, the newest slots by readings on the grid.
            ours: columns of instruments that it has; others are new, and not asked before they are heard.
            theirs: what their columns were.
        """
        self.start = kept["start"]
        if "now" in kept:
            self._zone[CURRENT] = kept["now"]
            self._instruments[NEWEST, ours] = settled[theirs]
            self._instruments[VOTE, ours] = kept["newest"][theirs]
        else:
            self._instruments[:, ours] = kept["instruments"][:, theirs]
            self._zone[:] = kept["zone"]
            now = {was: column for column, was in zip(ours, theirs, strict=True)}
            for entry in (LAST, OTHER):
                self._zone[entry] = now.get(int(self._zone[entry]), -1)
        if self.current > NEVER:
            new = np.ones(self.newest.size, bool)
            new[ours] = False
            self._instruments[PRESENT, new] = 0
        self._zone[COUNT] = self._instruments[PRESENT].sum()


def firing_rows(
    trace: WatermarkTrace, candidates: I64, columns: Whole, heard_until: I64, cadence_slots: int, timeout: int
) -> I64:
    """Find the rows at which slots fire for the instruments of one cadence.

    A slot T fires when the watermark has reached T and all of the instruments that are not idle have too, or when the
    watermark is ``timeout`` past T. An instrument is idle once it lags three cadences.

    Args:
        trace: the watermark over a run of rows.
        candidates: slots in rising order, shape (c,).
        columns: of the cadence's instruments.
        heard_until: newest slot of every instrument before the run.
        cadence_slots: slots of the cadence.
        timeout: slots.

    Returns:
        For each candidate the first row after which it has fired, shape (c,): -1 before the run, NO_ROW never.
    """
    members = np.asarray(columns, np.int64)
    awake = trace.first_rows(candidates - 3 * cadence_slots)
    awake[heard_until >= (candidates - 3 * cadence_slots)[:, None]] = -1
    return kernel.firing_rows(trace.watermark, trace.first_rows(candidates), awake, members, candidates, timeout)
