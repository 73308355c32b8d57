"""A zone's clock: agreed by its stations, counted row by row, however the rows were cut into batches.

The clock is the newest slot that a quorum of stations has reached: three, or as many as there are; so one wild
sensor moves nothing. A slot is a minute, named by its end: a reading stamped in (T - 1 min, T] lies in slot T.

Everything here is a function of the sequence of rows alone. That is what lets a crash replay them in other batches
and come to the same decisions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.arrays import I32, I64
from flows.kernels import turns
from schemas.slots import NEVER

QUORUM = 3
QUORUM_REVIEW_ROWS = 65_536
"""Rows after which stations not heard among them no longer count for the quorum, so that a zone of which two
stations live keeps a clock. Fewer would let a burst of one sensor pass for a zone; more only delays that rescue."""


@dataclass(slots=True)
class Time:
    """What the clock did over one run of n rows.

    Attributes:
        clock: the clock after each row, shape (n,); NEVER while not set. It never falls.
        newest: newest slot of each station before the run, shape (S,).
        station, slot: the rows, shape (n,).
    """

    clock: I64
    newest: I64
    station: I32
    slot: I64

    def rows(self, at: I64) -> I64:
        """First row at which each station reached slots ``at``, which rise: shape (at.size, S).

        -1 before the run, NO_ROW never.
        """
        return turns.first_rows(self.newest, self.station, self.slot, at)


class Watermark:
    """The agreement of one zone's stations on the time.

    Args:
        stations: how many stations the zone has.
    """

    def __init__(self, stations: int) -> None:
        self.newest = np.full(stations, NEVER)
        self.now = NEVER
        self.start = NEVER
        """The clock's first value."""
        self.quorum = min(QUORUM, stations)
        self._rows = 0
        self._heard = np.zeros(stations, bool)

    def until_review(self) -> int:
        """Rows that may be counted before the quorum is looked at again."""
        return QUORUM_REVIEW_ROWS - self._rows % QUORUM_REVIEW_ROWS

    def look_ahead(self, station: I32, slot: I64) -> Time:
        """Say what these rows would do to the clock, without counting them. At least one row."""
        return Time(turns.clock(self.newest, self.now, self.quorum, station, slot), self.newest.copy(), station, slot)

    def count(self, station: I32, slot: I64, time: Time, new: int) -> None:
        """Count rows that ``time`` looked ahead at, ``new`` of them for the first time."""
        if not station.size:
            return
        np.maximum.at(self.newest, station, slot)
        self._heard[station] = True
        self._rows += new
        clock = time.clock[: station.size]
        self.now = int(clock[-1])
        if self.start == NEVER:
            self.start = int(clock[np.argmax(clock > NEVER)])

    def review(self) -> bool:
        """At the end of a generation, let the quorum follow the stations still heard; true if it fell."""
        before, heard = self.quorum, int(self._heard.sum())
        self._heard[:] = False
        self.quorum = max(1, min(QUORUM, self.newest.size, heard))
        return self.quorum < before

    def settle_for(self, quorum: int) -> None:
        """At the end of an input that never set the clock, take the agreement there can be."""
        self.quorum = max(1, min(quorum, self.quorum))

    def heard_from(self, time: Time) -> I64:
        """Newest slot of each station, at least the clock's start: one not heard yet is waited for a while."""
        started = self.start if self.start != NEVER else time.clock[np.argmax(time.clock > NEVER)]
        heard: I64 = np.maximum(self.newest, started)
        return heard

    def snapshot(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "newest": self.newest.copy(),
            "now": self.now,
            "start": self.start,
            "quorum": self.quorum,
            "rows": self._rows,
            "heard": self._heard.copy(),
        }

    def restore(self, kept: dict[str, Any], ours: list[int], theirs: list[int]) -> None:
        """Go on from a snapshot; its stations ``theirs`` are now ``ours``, others have not been heard."""
        self.newest[ours], self._heard[ours] = kept["newest"][theirs], kept["heard"][theirs]
        self.now, self.start, self._rows = kept["now"], kept["start"], kept["rows"]
        self.quorum = max(1, min(kept["quorum"], self.newest.size))


def closing_rows(
    time: Time, candidates: I64, stations: NDArray[np.integer], heard_from: I64, cadence: int, grace: int
) -> I64:
    """Rows at which slots close for the stations of one cadence.

    A slot T closes when the clock has reached T and all of the stations that are not silent have too, or when the
    clock is ``grace`` past T. A station is silent once it lags three cadences.

    Args:
        time: the clock over a run of rows.
        candidates: slots in rising order, shape (c,).
        stations: the cadence's stations.
        heard_from: newest slot of every station before the run.
        cadence: in slots.
        grace: in slots.

    Returns:
        For each candidate the first row after which it is closed, shape (c,): -1 before the run, NO_ROW never.
    """
    members = np.asarray(stations, np.int64)
    awake = time.rows(candidates - 3 * cadence)
    awake[heard_from >= (candidates - 3 * cadence)[:, None]] = -1
    return turns.closing_rows(time.clock, time.rows(candidates), awake, members, candidates, grace)
