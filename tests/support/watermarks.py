"""A watermark that counts row by row in plain Python, and rows of instruments that it is asked about."""

import numpy as np
from hypothesis import strategies as st

from schemas.slots import NEVER

CADENCES = {1: 1, 10: 1, 15: 45, 30: 45, 60: 45}
"""Slots of a cadence, and its grace."""


class SlowWatermark:
    """The watermark as it is written: after each row, the newest slot that min(3, its stations) stations have reached."""

    def __init__(self, stations):
        self.newest = [NEVER] * stations
        self.current = self.start = NEVER

    def count(self, station, slot):
        self.newest[station] = max(self.newest[station], slot)
        agreed = sorted(self.newest)[-min(3, len(self.newest))]
        self.current = max(self.current, agreed)
        if self.start == NEVER:
            self.start = self.current

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


def batches(rows, cuts):
    """Columns of each batch, and the number of its first row."""
    for begin, end in zip([0, *cuts], cuts, strict=False):
        yield (
            begin,
            np.array([r[0] for r in rows[begin:end]], np.int32),
            np.array([r[1] for r in rows[begin:end]], np.int64),
        )
