"""Watermark arithmetic, row by row: the slot that instruments agree on, and the row after which a slot has fired."""

import numpy as np

from flows.arrays import I32, I64
from flows.kernels.compiled import compiled, jitable
from schemas.slots import NEVER

NO_ROW = int(np.iinfo(np.int64).max)
"""A row that never comes."""


@jitable
def _agreed(newest: I64, quorum: int) -> int:
    """The newest slot that so many instruments have reached."""
    first = second = third = NEVER
    for slot in newest:
        if slot > first:
            first, second, third = slot, first, second
        elif slot > second:
            second, third = slot, second
        elif slot > third:
            third = slot
    return first if quorum == 1 else second if quorum == 2 else third


@compiled("int64[::1](const int64[:], int64, int64, const int32[:], const int64[:])")
def trace(newest: I64, current: int, quorum: int, column: I32, slot: I64) -> I64:
    """Advance the watermark row by row: the newest slot that ``quorum`` instruments have reached, which never falls.

    Args:
        newest: newest slot of each instrument before the rows, shape (S,).
        current: the watermark before them.
        quorum: instruments that have to agree, from 1 to 3.
        column: of each row, below 0 for a record, which moves nothing; shape (n,).
        slot: likewise.

    Returns:
        The watermark after each row, shape (n,).
    """
    newest = newest.copy()
    after = np.empty(slot.size, np.int64)
    current = max(current, _agreed(newest, quorum))  # the quorum may have become smaller
    for row in range(slot.size):
        if column[row] >= 0 and slot[row] > newest[column[row]]:
            newest[column[row]] = slot[row]
            if slot[row] > current:
                current = max(current, _agreed(newest, quorum))
        after[row] = current
    return after


@compiled("int64[:, ::1](const int64[:], const int32[:], const int64[:], const int64[:])")
def first_rows(newest: I64, column: I32, slot: I64, at: I64) -> I64:
    """Find the first row at which each instrument reaches each of given slots.

    Args:
        newest: newest slot of each instrument before the rows, shape (S,).
        column: of each row, below 0 for a record; shape (n,).
        slot: likewise.
        at: slots in rising order, shape (c,).

    Returns:
        Shape (c, S): -1 before the rows, NO_ROW never.
    """
    rows = np.full((at.size, newest.size), NO_ROW, np.int64)
    reached = np.zeros(newest.size, np.int64)
    for instrument in range(newest.size):
        while reached[instrument] < at.size and newest[instrument] >= at[reached[instrument]]:
            rows[reached[instrument], instrument] = -1
            reached[instrument] += 1
    for row in range(slot.size):
        instrument = column[row]
        if instrument < 0:
            continue
        while reached[instrument] < at.size and slot[row] >= at[reached[instrument]]:
            rows[reached[instrument], instrument] = row
            reached[instrument] += 1
    return rows


@compiled("int64[::1](const int64[:], const int64[:, :], const int64[:, :], const int64[:], const int64[:], int64)")
def firing_rows(watermark: I64, done: I64, awake: I64, members: I64, candidates: I64, timeout: int) -> I64:
    """Find the rows after which slots fire: all members that are awake have reached them, or the watermark is past.

    Args:
        watermark: after each row, shape (n,).
        done: row at which each instrument reached each slot, shape (c, S).
        awake: row from which each instrument is waited for, likewise.
        members: columns of the instruments concerned.
        candidates: slots in rising order, shape (c,).
        timeout: slots by which the watermark may pass one before it fires without the stragglers.

    Returns:
        Shape (c,): -1 before the rows, NO_ROW never.
    """
    rows = np.empty(candidates.size, np.int64)
    before = NO_ROW
    for c in range(candidates.size - 1, -1, -1):
        complete = np.searchsorted(watermark, candidates[c])
        overdue = np.searchsorted(watermark, candidates[c] + timeout)
        waiting = True
        while waiting:
            waiting = False
            for member in members:
                if awake[c, member] <= complete < done[c, member]:
                    complete = done[c, member]
                    waiting = True
        row = min(complete, overdue)
        before = min(before, row if row < watermark.size else NO_ROW)  # what fires a slot fires those before it
        rows[c] = before
    return rows
