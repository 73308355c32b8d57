"""The clock's arithmetic, row by row: when the stations agree on a slot, and after which row it is over."""

import numpy as np

from flows.arrays import I32, I64
from flows.kernels.compiled import callable_there, compiled
from schemas.slots import NEVER

NO_ROW = int(np.iinfo(np.int64).max)


@callable_there
def _agreed(newest: I64, quorum: int) -> int:
    """The slot that so many stations have reached."""
    first = second = third = NEVER
    for one in newest:
        if one > first:
            first, second, third = one, first, second
        elif one > second:
            second, third = one, second
        elif one > third:
            third = one
    return first if quorum == 1 else second if quorum == 2 else third


@compiled("int64[::1](const int64[:], int64, int64, const int32[:], const int64[:])")
def clock(newest: I64, now: int, quorum: int, station: I32, slot: I64) -> I64:
    """Count rows: the newest slot that ``quorum`` stations have reached, which never falls.

    Args:
        newest: newest slot of each station before the rows, shape (S,).
        now: the clock before them.
        quorum: stations that have to agree, from 1 to 3.
        station: of each row, shape (n,).
        slot: likewise.

    Returns:
        The clock after each row, shape (n,).
    """
    newest = newest.copy()
    after = np.empty(slot.size, np.int64)
    now = max(now, _agreed(newest, quorum))  # the quorum may have become smaller
    for row in range(slot.size):
        if slot[row] > newest[station[row]]:
            newest[station[row]] = slot[row]
            if slot[row] > now:
                now = max(now, _agreed(newest, quorum))
        after[row] = now
    return after


@compiled("int64[:, ::1](const int64[:], const int32[:], const int64[:], const int64[:])")
def first_rows(newest: I64, station: I32, slot: I64, at: I64) -> I64:
    """First row at which each station reached each of some slots.

    Args:
        newest: newest slot of each station before the rows, shape (S,).
        station: of each row, shape (n,).
        slot: likewise.
        at: slots in rising order, shape (c,).

    Returns:
        Shape (c, S): -1 before the rows, NO_ROW never.
    """
    found = np.full((at.size, newest.size), NO_ROW, np.int64)
    reached = np.zeros(newest.size, np.int64)
    for one in range(newest.size):
        while reached[one] < at.size and newest[one] >= at[reached[one]]:
            found[reached[one], one] = -1
            reached[one] += 1
    for row in range(slot.size):
        one = station[row]
        while reached[one] < at.size and slot[row] >= at[reached[one]]:
            found[reached[one], one] = row
            reached[one] += 1
    return found


@compiled("int64[::1](const int64[:], const int64[:, :], const int64[:, :], const int64[:], const int64[:], int64)")
def closing_rows(clock: I64, done: I64, awake: I64, members: I64, candidates: I64, grace: int) -> I64:
    """Rows after which slots are closed: all members that are awake have reached them, or the clock is past them.

    Args:
        clock: after each row, shape (n,).
        done: row at which each station reached each slot, shape (c, S).
        awake: row from which each station is waited for, likewise.
        members: the stations concerned.
        candidates: slots in rising order, shape (c,).
        grace: slots that the clock may be past one.

    Returns:
        Shape (c,): -1 before the rows, NO_ROW never.
    """
    rows = np.empty(candidates.size, np.int64)
    before = NO_ROW
    for c in range(candidates.size - 1, -1, -1):
        complete = np.searchsorted(clock, candidates[c])
        overdue = np.searchsorted(clock, candidates[c] + grace)
        waiting = True
        while waiting:
            waiting = False
            for one in members:
                if awake[c, one] <= complete < done[c, one]:
                    complete = done[c, one]
                    waiting = True
        row = min(complete, overdue)
        before = min(before, row if row < clock.size else NO_ROW)  # what closes a slot closes those before it
        rows[c] = before
    return rows
