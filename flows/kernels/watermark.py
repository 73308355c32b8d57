"""Watermark arithmetic, row by row: the slot that instruments agree on, and the row after which a slot has fired."""

import numpy as np

from flows.arrays import B1, I32, I64
from flows.kernels.compiled import compiled, jitable
from schemas.slots import ALWAYS, HOUR_SLOTS, NEVER

NO_ROW = int(np.iinfo(np.int64).max)
"""A row that never comes."""
NEWEST, VOTE, SINCE, WALKED, PRESENT = range(5)
"""Lines of the state of each instrument: newest slot on the grid; the slot that it says it has reached; the watermark
when it last said one beyond the horizon; slots walked since its vote last leapt; 1 where agreement is asked of it."""
CURRENT, COUNT, EXPIRY, LAST, OTHER, SOLO, LAST_WALK, OTHER_WALK = range(8)
"""Entries of the state of the zone: the watermark; instruments present; the watermark at which the next vote beyond the
horizon expires; the two instruments heard last, -1 for none; slots that the last walked since the other was heard, and
that each has walked since a third was."""
FIRST, RELEASED, REPLAYED = range(3)
"""Passages of rows: as they come; let go by the early buffer; taken out of it, to be voted on once more."""


@jitable
def _agreed(instruments: I64, zone: I64, horizon: int, absence: int) -> int:
    """The newest slot that three of the instruments present say they have reached, or as many as there are.

    Alone, an instrument that leaps past the horizon is believed once it has walked on from there.
    """
    first = second = third = NEVER
    at = 0
    for i in range(instruments.shape[1]):
        slot = int(instruments[VOTE, i])
        if slot > first:
            first, second, third = slot, first, second
            at = i
        elif slot > second:
            second, third = slot, second
        elif slot > third:
            third = slot
    if zone[COUNT] > 2 or instruments.shape[1] == 0:
        return third
    if zone[COUNT] == 2:
        return second
    leaps = zone[CURRENT] > NEVER and first > zone[CURRENT] + horizon
    return NEVER if leaps and instruments[WALKED, at] < absence else first


@jitable
def _advance(instruments: I64, zone: I64, horizon: int, max_wait: int, absence: int) -> None:
    """Let the watermark follow the agreement; votes beyond the horizon do not stand for longer than readings wait."""
    zone[CURRENT] = max(zone[CURRENT], _agreed(instruments, zone, horizon, absence))
    if zone[CURRENT] == NEVER or zone[CURRENT] < zone[EXPIRY]:
        return
    zone[EXPIRY] = ALWAYS
    for i in range(instruments.shape[1]):
        if instruments[VOTE, i] > zone[CURRENT] + horizon:
            if instruments[SINCE, i] == NEVER:
                instruments[SINCE, i] = zone[CURRENT]
            expiry = instruments[SINCE, i] + max_wait
            if expiry <= zone[CURRENT]:
                instruments[VOTE, i], instruments[WALKED, i] = instruments[NEWEST, i], 0
            else:
                zone[EXPIRY] = min(zone[EXPIRY], expiry)


@jitable
def _vote(instruments: I64, zone: I64, horizon: int, max_wait: int, passage: int, i: int, slot: int) -> int:
    """What an instrument says it has reached after a row.

    A slot beyond the horizon counts until the instrument comes back from there.
    """
    current, before = int(zone[CURRENT]), int(instruments[VOTE, i])
    if current == NEVER or slot > current + horizon:
        instruments[SINCE, i] = current
        if current > NEVER:
            zone[EXPIRY] = min(zone[EXPIRY], current + max_wait)
        return max(before, slot) if before - horizon <= slot <= before + horizon else slot
    instruments[NEWEST, i] = max(instruments[NEWEST, i], slot)
    if before > current + horizon:
        return before if passage == RELEASED else int(instruments[NEWEST, i])
    return max(before, slot)


@jitable
def _walk(instruments: I64, zone: I64, horizon: int, absence: int, i: int, before: int, after: int) -> bool:
    """Note how far an instrument walks; true if that shows that others are gone, who are not present then."""
    step = after - before if before > NEVER else 0
    if step < 0 or step > horizon or before == NEVER:
        instruments[WALKED, i] = step = 0
    step = min(step, HOUR_SLOTS)
    instruments[WALKED, i] += step
    if i == zone[LAST]:
        zone[SOLO] += step
    elif i == zone[OTHER]:
        zone[LAST], zone[OTHER] = zone[OTHER], zone[LAST]
        zone[LAST_WALK], zone[OTHER_WALK] = zone[OTHER_WALK], zone[LAST_WALK]
        zone[SOLO] = step
    else:
        zone[OTHER], zone[LAST] = zone[LAST], i
        zone[SOLO], zone[LAST_WALK], zone[OTHER_WALK] = step, 0, 0
    if 2 * zone[SOLO] <= absence:  # of two who do not walk together, neither shows that a third is gone
        zone[LAST_WALK] += step
    alone = zone[COUNT] > 1 and zone[SOLO] >= max(2 * horizon, absence)
    if not alone and not (zone[COUNT] > 2 and min(zone[LAST_WALK], zone[OTHER_WALK]) >= absence):
        return False
    for other in range(instruments.shape[1]):
        if other != i and (alone or other != zone[OTHER]):
            instruments[PRESENT, other], instruments[VOTE, other] = 0, NEVER
    zone[COUNT] = 1 if alone else 2
    return True


@compiled(
    "int64(int64[:, ::1], int64[::1], int64, int64, int64, int64, const int32[:], const int64[:], int64[::1], "
    "bool_[::1])"
)
def trace(
    instruments: I64,
    zone: I64,
    horizon: int,
    max_wait: int,
    absence: int,
    passage: int,
    column: I32,
    slot: I64,
    watermark: I64,
    early: B1,
) -> int:
    """Advance the watermark row by row: the newest slot that a quorum of instruments has reached, which never falls.

    It stops after the row that shows that instruments are gone: what waits is to be voted on once more then. It has
    more than 8 parameters, because what is compiled takes arrays and numbers, and no objects.

    Args:
        instruments: state of each instrument, shape (5, S). Written to, as is the next.
        zone: state of the zone, shape (8,).
        horizon: slots ahead of the watermark up to which a reading is not early.
        max_wait: slots that the watermark may advance while a vote from beyond the horizon stands.
        absence: slots that two have to walk together, or one from where it has leapt to.
        passage: of the rows.
        column: of each row, below 0 for a record, which moves nothing; shape (n,).
        slot: likewise.
        watermark: becomes the watermark after each row, shape (n,).
        early: becomes true for rows beyond the horizon then, shape (n,).

    Returns:
        Rows that were taken; below 0 if the last of them showed that instruments are gone.
    """
    _advance(instruments, zone, horizon, max_wait, absence)  # there may be fewer of whom agreement is asked
    for row in range(slot.size):
        i = column[row]
        gone = False
        if i >= 0:
            if passage == FIRST and instruments[PRESENT, i] == 0:
                instruments[PRESENT, i] = 1
                zone[COUNT] += 1
            before = instruments[VOTE, i]
            after = _vote(instruments, zone, horizon, max_wait, passage, i, slot[row])
            if instruments[PRESENT, i] == 1:
                instruments[VOTE, i] = after
                if passage == FIRST:
                    gone = _walk(instruments, zone, horizon, absence, i, before, after)
                if after > zone[CURRENT] and not gone:
                    _advance(instruments, zone, horizon, max_wait, absence)
                    if slot[row] <= zone[CURRENT] + horizon:
                        instruments[NEWEST, i] = max(instruments[NEWEST, i], slot[row])
        watermark[row] = zone[CURRENT]
        early[row] = zone[CURRENT] == NEVER or slot[row] > zone[CURRENT] + horizon
        if gone:
            return -(row + 1)
    return int(slot.size)


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
