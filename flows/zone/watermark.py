"""A zone's watermark: event time that its instruments agree on, advanced row by row, however rows were batched.

It is the newest slot that a quorum of instruments has reached: three, or as many as there are; so one wild sensor moves
nothing. A slot is a minute, named by its end: a reading stamped in (T - 1 min, T] lies in slot T.

Everything here is a function of the sequence of rows alone. That is what lets a crash replay them in other batches
and come to the same decisions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from flows.arrays import I32, I64, Whole
from flows.kernels import watermark as kernel
from schemas.slots import NEVER

QUORUM = 3
QUORUM_REVIEW_ROWS = 65_536
"""Rows after which instruments not heard among them no longer count for the quorum, so that a zone of which two
instruments live keeps a watermark. Fewer would let a burst of one sensor pass for a zone; more only delays that."""


@dataclass(slots=True)
class WatermarkTrace:
    """The watermark after each of n rows.

    Attributes:
        watermark: after each row, shape (n,); NEVER while not set. It never falls.
        newest: newest slot of each instrument before the rows, shape (S,).
        column, slot: of the rows, shape (n,); the column of a record is below 0.
    """

    watermark: I64
    newest: I64
    column: I32
    slot: I64

    def first_rows(self, at: I64) -> I64:
        """First row at which each instrument reached slots ``at``, which rise: shape (at.size, S).

        -1 before the rows, NO_ROW never.
        """
        return kernel.first_rows(self.newest, self.column, self.slot, at)


class Watermark:
    """The agreement of a zone's instruments on event time.

    Args:
        instruments: how many the zone has.
        review_rows: rows after which the quorum is reviewed.

    Two of two instruments have to agree; what one of them says alone moves nothing:

    >>> watermark = Watermark(2)
    >>> column, slot = np.array([0, 0, 1], np.int32), np.array([5, 6, 5])
    >>> trace = watermark.preview(column, slot)
    >>> watermark.advance(trace, rows=3, new=3)
    >>> watermark.current
    5
    """

    def __init__(self, instruments: int, review_rows: int = QUORUM_REVIEW_ROWS) -> None:
        self.newest = np.full(instruments, NEVER)
        self.current = NEVER
        self.start = NEVER
        """The watermark's first value."""
        self.quorum = min(QUORUM, instruments)
        self.review_rows = review_rows
        self._rows = 0
        self._heard = np.zeros(instruments, bool)

    def until_review(self) -> int:
        """Rows that may be taken before the quorum is reviewed; all of ``review_rows`` right after a review."""
        return self.review_rows - self._rows % self.review_rows

    def preview(self, column: I32, slot: I64) -> WatermarkTrace:
        """Watermark after each of these rows, without advancing; at least one row."""
        after = kernel.trace(self.newest, self.current, self.quorum, column, slot)
        return WatermarkTrace(after, self.newest.copy(), column, slot)

    def advance(self, trace: WatermarkTrace, rows: int, new: int) -> None:
        """Advance over the first rows of a preview, ``new`` of which are counted for the first time."""
        if not rows:
            return
        column, slot = trace.column[:rows], trace.slot[:rows]
        measured = column >= 0
        if not measured.all():
            column, slot = column[measured], slot[measured]
        np.maximum.at(self.newest, column, slot)
        self._heard[column] = True
        self._rows += new
        watermark = trace.watermark[:rows]
        self.current = int(watermark[-1])
        if self.start == NEVER:
            self.start = int(watermark[np.argmax(watermark > NEVER)])

    def review_quorum(self) -> bool:
        """Let the quorum follow the instruments heard since the last review; true if it fell."""
        before, heard = self.quorum, int(self._heard.sum())
        self._heard[:] = False
        self.quorum = max(1, min(QUORUM, self.newest.size, heard))
        return self.quorum < before

    def settle_for(self, quorum: int) -> None:
        """At the end of an input that never set the watermark, take the agreement there can be."""
        self.quorum = max(1, min(quorum, self.quorum))

    def forget(self, newest: I64) -> None:
        """Go back to what each instrument has reached by readings on the grid, shape (S,)."""
        self.newest = newest.copy()

    def heard_until(self, trace: WatermarkTrace) -> I64:
        """Newest slot of each instrument, at least the watermark's start: one not heard yet is waited for a while."""
        started = self.start if self.start != NEVER else trace.watermark[np.argmax(trace.watermark > NEVER)]
        newest: I64 = np.maximum(self.newest, started)
        return newest

    def snapshot(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "newest": self.newest.copy(),
            "now": self.current,
            "start": self.start,
            "quorum": self.quorum,
            "rows": self._rows,
            "heard": self._heard.copy(),
        }

    def restore(self, kept: dict[str, Any], ours: list[int], theirs: list[int]) -> None:
        """Go on from a snapshot whose columns ``theirs`` are now ``ours``; other instruments have not been heard."""
        self.newest[ours], self._heard[ours] = kept["newest"][theirs], kept["heard"][theirs]
        self.current, self.start, self._rows = kept["now"], kept["start"], kept["rows"]
        self.quorum = max(1, min(kept["quorum"], self.newest.size))


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
