"""The clock against one that counts row by row in plain Python, and rows cut anyhow."""

import pickle

import numpy as np
import pytest
from flows.kernels.turns import NEVER, NO_ROW
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.state.grid import slot_of
from flows.zone import watermark as clock_module
from flows.zone.watermark import Watermark, closing_rows

CADENCES = {1: 1, 10: 1, 15: 45, 30: 45, 60: 45}
"""Slots of a cadence, and its grace."""


class Counted:
    """The clock as it is written: after each row, the newest slot that min(3, its stations) stations have reached."""

    def __init__(self, stations):
        self.newest = [NEVER] * stations
        self.now = self.start = NEVER

    def count(self, station, slot):
        self.newest[station] = max(self.newest[station], slot)
        agreed = sorted(self.newest)[-min(3, len(self.newest))]
        self.now = max(self.now, agreed)
        if self.start == NEVER:
            self.start = self.now

    def is_closed(self, slot, stations, cadence):
        """All that are due and not silent for three cadences have reached it, and so has the clock; or it is over.

        A station not heard yet is silent from when the clock started.
        """
        if self.now >= slot + CADENCES[cadence]:
            return True
        due = [self.newest[s] for s in stations if max(self.newest[s], self.start) >= slot - 3 * cadence]
        return self.now >= slot and all(newest >= slot for newest in due)


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


@settings(deadline=None, max_examples=60)
@given(arrivals())
def test_the_clock_is_counted_row_by_row(case):
    stations, rows, cuts = case
    clock, counted = Watermark(stations), Counted(stations)
    for begin, station, slot in batches(rows, cuts):
        time = clock.look_ahead(station, slot)
        before = pickle.dumps(clock.snapshot())
        assert pickle.dumps(clock.snapshot()) == before, "looking ahead counts nothing"
        for i in range(station.size):
            counted.count(*rows[begin + i])
            assert time.clock[i] == counted.now
        clock.count(station, slot, time, station.size)
        assert (clock.now, clock.newest.tolist()) == (counted.now, counted.newest)
        kept = pickle.loads(pickle.dumps(clock.snapshot()))
        clock = Watermark(stations)
        clock.restore(kept, list(range(stations)), list(range(stations)))


def closings(stations, rows, cuts, group, cadence, candidates):
    """Row after which each candidate is closed, NO_ROW for never, by the clock over batches."""
    clock, found = Watermark(stations), np.full(candidates.size, NO_ROW)
    for begin, station, slot in batches(rows, cuts):
        time = clock.look_ahead(station, slot)
        open_ = found == NO_ROW
        closed = closing_rows(time, candidates[open_], group, clock.heard_from(time), cadence, CADENCES[cadence])
        assert (np.diff(closed) >= 0).all()
        assert ((closed == NO_ROW) | (closed < station.size)).all()
        found[open_] = np.where(closed == NO_ROW, NO_ROW, np.maximum(closed, 0) + begin)
        clock.count(station, slot, time, station.size)
    return found.tolist()


def counted_closings(stations, rows, group, cadence, candidates):
    """The same, asked after every row; what closes a slot closes those before it."""
    counted, found = Counted(stations), [NO_ROW] * len(candidates)
    for i, row in enumerate(rows):
        counted.count(*row)
        closed = [k for k, slot in enumerate(candidates) if counted.is_closed(slot, group, cadence)]
        for k in range(max(closed, default=-1) + 1):
            found[k] = min(found[k], i)
    return found


@settings(deadline=None, max_examples=100)
@given(arrivals(), st.data())
def test_slots_close_as_if_asked_after_every_row(case, data):
    stations, rows, cuts = case
    group = data.draw(st.sets(st.integers(0, stations - 1), min_size=1))
    cadence = data.draw(st.sampled_from(list(CADENCES)))
    slots = [slot for _, slot in rows]
    step = max(10, cadence)
    candidates = np.arange(min(slots) // step * step, max(slots) + 10 * step, step)
    candidates = candidates[:: max(1, candidates.size // 400)]
    found = closings(stations, rows, cuts, np.array(sorted(group)), cadence, candidates)
    assert found == counted_closings(stations, rows, sorted(group), cadence, candidates.tolist())


@pytest.mark.parametrize("repeats", [2, 3, 10])
def test_a_slot_is_reached_by_the_first_row_in_it(repeats):
    time = Watermark(1).look_ahead(np.zeros(repeats, np.int32), np.full(repeats, 6))
    assert time.rows(np.array([6])).tolist() == [[0]]
    assert time.clock.tolist() == [6] * repeats


def test_the_clock_may_come_to_a_slot_of_an_earlier_batch():
    clock = Watermark(2)
    first = np.zeros(1, np.int32), np.array([1000])
    clock.count(*first, clock.look_ahead(*first), 1)
    assert clock.look_ahead(np.ones(1, np.int32), np.array([1001])).clock.tolist() == [1000]


@pytest.mark.parametrize("cuts", [[6], [3, 6]])
def test_a_cut_after_the_clock_is_set_changes_nothing(cuts):
    # Station 3 was never heard: it is waited for until three cadences after the clock's first value, 100.
    rows = [(0, 100), (1, 100), (2, 100), (0, 104), (1, 104), (2, 104)]
    clock = Watermark(4)
    for _, station, slot in batches(rows, cuts):
        clock.count(station, slot, clock.look_ahead(station, slot), station.size)
    assert clock.start == 100


def test_one_wild_sensor_moves_nothing():
    clock = Watermark(5)
    station, slot = np.array([0, 1, 2, 3, 3], np.int32), np.array([10, 11, 12, 10**9, 10**9 + 1])
    assert clock.look_ahead(station, slot).clock.tolist() == [NEVER, NEVER, 10, 11, 11]


@pytest.mark.parametrize(("stations", "needed"), [(1, 1), (2, 2), (3, 3), (48, 3)])
def test_three_stations_agree_or_as_many_as_there_are(stations, needed):
    station = np.arange(min(stations, 5), dtype=np.int32)
    clock = Watermark(stations).look_ahead(station, np.full(station.size, 7)).clock
    assert (clock > NEVER).tolist() == [i + 1 >= needed for i in range(station.size)]


def test_silence_is_three_cadences():
    # Station 0 reached 100; without it the slots close for the others once it lags more than three cadences.
    rows = [(0, 100), *((s, t) for t in range(100, 106) for s in (1, 2, 3))]
    at = np.arange(100, 106)
    row_of = {slot: i for i, slot in enumerate(at)}
    found = np.array(closings(4, rows, [len(rows)], np.arange(4), 1, at))
    last = [3 * row_of[slot] + 3 for slot in at]  # the row with which stations 1 to 3 have all reached it
    next_ = [3 * (row_of[slot] + 1) + 3 for slot in at[:-1]] + [NO_ROW]  # and the clock, a minute more
    assert found.tolist() == [last[0], *next_[1:4], *last[4:]]


def test_who_was_never_heard_is_waited_for_three_cadences_from_the_start():
    rows = [(s, t) for t in range(100, 106) for s in (0, 1, 2)]
    found = closings(4, rows, [len(rows)], np.arange(4), 1, np.arange(100, 106))
    assert found == [5, 8, 11, 14, 14, 17], "slots 100 to 103 a minute later, 104 and 105 at once"


def test_what_closes_a_slot_closes_those_before_it():
    # Station 3 is awake for slot 1005, which waits for it, and silent for 1020, which does not.
    rows = [(3, 965), *((s, t) for t in (1000, 1020) for s in (0, 1, 2))]
    assert closings(4, rows, [len(rows)], np.array([3]), 15, np.array([1005, 1020])) == [6, 6]
    assert closings(4, rows[:-1], [len(rows) - 1], np.array([3]), 15, np.array([1005, 1020])) == [NO_ROW, NO_ROW]


def test_after_a_generation_the_quorum_follows_who_is_heard(monkeypatch):
    monkeypatch.setattr(clock_module, "QUORUM_REVIEW_ROWS", 4)
    clock = Watermark(5)
    station, slot = np.array([0, 1, 0, 1], np.int32), np.array([5, 6, 7, 8])
    time = clock.look_ahead(station, slot)
    clock.count(station, slot, time, 4)
    assert (clock.now, clock.quorum, clock.until_review()) == (NEVER, 3, 4)
    assert clock.review()
    assert clock.quorum == 2
    assert clock.look_ahead(station[:1], slot[:1]).clock.tolist() == [7], "the quorum's agreement holds at once"

    clock.count(station[:3], slot[:3], clock.look_ahead(station[:3], slot[:3]), 3)
    assert clock.until_review() == 1
    clock.count(np.array([2], np.int32), np.array([9]), clock.look_ahead(np.array([2], np.int32), np.array([9])), 1)
    assert not clock.review(), "it rose"
    assert (clock.quorum, clock.now) == (3, 8)
    assert clock.look_ahead(station[:1], np.array([3])).clock.tolist() == [8], "the clock never falls"

    alone = np.full(4, 2, np.int32), np.full(4, 9)
    clock.count(*alone, clock.look_ahead(*alone), 4)
    assert clock.review()
    assert clock.quorum == 1, "who was heard before counts no longer"


def test_rows_counted_again_bring_no_review_nearer():
    clock = Watermark(2)
    station, slot = np.array([0, 1], np.int32), np.array([5, 6])
    for new in (2, 0):
        clock.count(station, slot, clock.look_ahead(station, slot), new)
    assert clock.until_review() == clock_module.GENERATION - 2


def test_at_the_end_of_an_input_the_clock_takes_the_agreement_there_can_be():
    clock = Watermark(5)
    clock.settle_for(2)
    assert clock.look_ahead(np.array([0, 1], np.int32), np.array([5, 6])).clock.tolist() == [NEVER, 5]
    clock.settle_for(4)
    assert clock.quorum == 2
    clock.settle_for(0)
    assert clock.quorum == 1


def test_a_minute_is_named_by_its_end():
    assert slot_of(np.array([-60, -59, 0, 1, 59, 60, 61])).tolist() == [-1, 0, 0, 1, 1, 1, 2]
