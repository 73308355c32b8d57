"""A watermark that counts row by row in plain Python, and rows of instruments that it is asked about."""

import numpy as np
from hypothesis import strategies as st

from flows.zone.plan import Lateness
from flows.zone.watermark import Watermark
from schemas.slots import NEVER

CADENCES = {1: 1, 10: 1, 15: 45, 30: 45, 60: 45}
"""Slots of a cadence, and its grace."""


HORIZON, MAX_WAIT = 120, 60


def new_watermark(stations, slowest=1, horizon=HORIZON):
    return Watermark(stations, Lateness(horizon, MAX_WAIT, early_capacity=1000), slowest)


class SlowWatermark:
    """The watermark as it is written: after each row, the newest slot that min(3, its instruments) say they have reached.

    What lies beyond the horizon is said until the instrument comes back from there, or the watermark goes on for as
    long as readings wait. Who is not heard while two walk an absence together, or one two horizons alone, is not asked;
    the others are asked anew then, of what is on the grid: there is no early buffer here.
    """

    def __init__(self, stations, horizon=HORIZON, max_wait=MAX_WAIT, slowest=1):
        self.horizon, self.max_wait, self.absence = horizon, max_wait, max(6 * slowest, 60)
        self.newest, self.votes, self.since = [NEVER] * stations, [NEVER] * stations, [NEVER] * stations
        self.walked, self.present = [0] * stations, set(range(stations))
        self.current = self.start = NEVER
        self.last, self.solo, self.walks = [], 0, {}

    @property
    def quorum(self):
        return min(3, len(self.present))

    def count(self, station, slot):
        """Count a row; true if it shows that instruments are gone, which the rows after it take into account."""
        self._follow()
        self.present.add(station)
        before, after = self.votes[station], self._vote(station, slot)
        self.votes[station] = after
        gone = self._walk(station, before, after)
        if gone:
            for other in self.present - gone:
                self.votes[other] = NEVER
            self.present = gone
            for of in gone:
                self.votes[of] = self.newest[of]
        else:
            self._follow()
        if not self._beyond(slot):
            self.newest[station] = max(self.newest[station], slot)
        if self.start == NEVER:
            self.start = self.current
        return bool(gone)

    def _beyond(self, slot):
        return self.current == NEVER or slot > self.current + self.horizon

    def _vote(self, station, slot):
        before = self.votes[station]
        if self._beyond(slot):
            self.since[station] = self.current
            return max(before, slot) if abs(before - slot) <= self.horizon else slot
        self.newest[station] = max(self.newest[station], slot)
        return self.newest[station] if self._beyond(before) else max(before, slot)

    def _walk(self, station, before, after):
        """Those who are present still, if others are gone."""
        leapt = before == NEVER or not 0 <= after - before <= self.horizon
        step = 0 if leapt else min(after - before, 60)
        self.walked[station] = 0 if leapt else self.walked[station] + step
        if station in self.last[:1]:
            self.solo += step
        else:
            if station not in self.last:
                self.walks = {}
            self.last = [station, *[of for of in self.last if of != station]][:2]
            self.solo = step
        if self.solo <= self.absence / 2:
            self.walks[station] = self.walks.get(station, 0) + step
        if self.solo >= max(2 * self.horizon, self.absence) and len(self.present) > 1:
            return {station}
        together = len(self.last) == 2 and min(self.walks.get(of, 0) for of in self.last) >= self.absence
        return set(self.last) if together and len(self.present) > 2 else None

    def _follow(self):
        before = self.current
        agreed = sorted(self.votes)[-self.quorum]
        leaps = self.quorum == 1 and before > NEVER and self._beyond(agreed)
        if not leaps or self.walked[self.votes.index(agreed)] >= self.absence:
            self.current = max(self.current, agreed)
        if self.current == before:
            return
        for station, vote in enumerate(self.votes):
            if self._beyond(vote):
                self.since[station] = self.current if self.since[station] == NEVER else self.since[station]
                if self.since[station] + self.max_wait <= self.current:
                    self.votes[station], self.walked[station] = self.newest[station], 0

    def has_fired(self, slot, stations, cadence):
        """All that are due and not silent for three cadences have reached it, and so has the watermark; or it is over.

        A station not heard yet is silent from when the watermark started.
        """
        if self.current >= slot + CADENCES[cadence]:
            return True
        due = [self.newest[s] for s in stations if max(self.newest[s], self.start) >= slot - 3 * cadence]
        return self.current >= slot and all(newest >= slot for newest in due)


@st.composite
def arrivals(draw, longest=60):
    """Rows of a few stations, most of which go forward together; and where they are cut."""
    stations = draw(st.integers(1, 6))
    steps = st.sampled_from([0, 0, 0, 1, 1, 2, 3, 10, 30, 60, 200, -1, -5, -60])
    rows, at = [], 1000
    for station, step, wild in draw(
        st.lists(
            st.tuples(st.integers(0, stations - 1), steps, st.sampled_from([0] * 12 + [5000, -500])),
            min_size=1,
            max_size=longest,
        )
    ):
        at += step
        rows.append((station, at + wild))
    cuts = sorted(draw(st.sets(st.integers(1, len(rows)), max_size=8)) | {len(rows)})
    return stations, rows, cuts


def traces(watermark, column, slot):
    """Traces of a batch, each with its first row, over which the watermark advances when the next one is asked for."""
    begin = 0
    while begin < column.size:
        trace = watermark.preview(column[begin:], slot[begin:])
        yield begin, trace
        watermark.advance(trace, trace.slot.size)
        if trace.quorum_fell:
            watermark.vote_again()
        begin += trace.slot.size


def batches(rows, cuts):
    """Columns of each batch, and the number of its first row."""
    for begin, end in zip([0, *cuts], cuts, strict=False):
        yield (
            begin,
            np.array([r[0] for r in rows[begin:end]], np.int32),
            np.array([r[1] for r in rows[begin:end]], np.int64),
        )
