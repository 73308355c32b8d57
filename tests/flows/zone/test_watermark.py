"""The watermark against one that counts row by row in plain Python, and rows cut anyhow."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels.watermark import NO_ROW
from flows.state.grid import slot_of
from flows.zone.watermark import QUORUM_REVIEW_ROWS, Watermark, firing_rows
from schemas.slots import NEVER
from tests.support.watermarks import CADENCES, SlowWatermark, arrivals, batches


def advance(watermark, column, slot, *, new=None):
    """Advance over all of the rows, ``new`` of which count for the first time."""
    trace = watermark.preview(column, slot)
    watermark.advance(trace, column.size, column.size if new is None else new)


@settings(deadline=None, max_examples=60)
@given(arrivals())
def test_the_watermark_is_counted_row_by_row(case):
    stations, rows, cuts = case
    watermark, slow = Watermark(stations), SlowWatermark(stations)
    for begin, station, slot in batches(rows, cuts):
        trace = watermark.preview(station, slot)
        before = pickle.dumps(watermark.snapshot())
        assert pickle.dumps(watermark.snapshot()) == before, "a preview advances nothing"
        for i in range(station.size):
            slow.count(*rows[begin + i])
            assert trace.watermark[i] == slow.current
        watermark.advance(trace, station.size, station.size)
        assert (watermark.current, watermark.newest.tolist()) == (slow.current, slow.newest)
        kept = pickle.loads(pickle.dumps(watermark.snapshot()))
        watermark = Watermark(stations)
        watermark.restore(kept, list(range(stations)), list(range(stations)))


def firings(stations, rows, cuts, group, cadence, candidates):
    """Row after which each candidate is fired, NO_ROW for never, by the watermark over batches."""
    watermark, found = Watermark(stations), np.full(candidates.size, NO_ROW)
    for begin, station, slot in batches(rows, cuts):
        trace = watermark.preview(station, slot)
        open_ = found == NO_ROW
        fired = firing_rows(trace, candidates[open_], group, watermark.heard_until(trace), cadence, CADENCES[cadence])
        assert (np.diff(fired) >= 0).all()
        assert ((fired == NO_ROW) | (fired < station.size)).all()
        found[open_] = np.where(fired == NO_ROW, NO_ROW, np.maximum(fired, 0) + begin)
        watermark.advance(trace, station.size, station.size)
    return found.tolist()


def slow_firings(stations, rows, group, cadence, candidates):
    """The same, asked after every row; what fires a slot fires those before it."""
    slow, found = SlowWatermark(stations), [NO_ROW] * len(candidates)
    for i, row in enumerate(rows):
        slow.count(*row)
        fired = [k for k, slot in enumerate(candidates) if slow.has_fired(slot, group, cadence)]
        for k in range(max(fired, default=-1) + 1):
            found[k] = min(found[k], i)
    return found


@settings(deadline=None, max_examples=100)
@given(arrivals(), st.data())
def test_slots_fire_as_if_asked_after_every_row(case, data):
    stations, rows, cuts = case
    group = data.draw(st.sets(st.integers(0, stations - 1), min_size=1))
    cadence = data.draw(st.sampled_from(list(CADENCES)))
    slots = [slot for _, slot in rows]
    step = max(10, cadence)
    candidates = np.arange(min(slots) // step * step, max(slots) + 10 * step, step)
    candidates = candidates[:: max(1, candidates.size // 400)]
    found = firings(stations, rows, cuts, np.array(sorted(group)), cadence, candidates)
    assert found == slow_firings(stations, rows, sorted(group), cadence, candidates.tolist())


@pytest.mark.parametrize("repeats", [2, 3, 10])
def test_a_slot_is_reached_by_the_first_row_in_it(repeats):
    trace = Watermark(1).preview(np.zeros(repeats, np.int32), np.full(repeats, 6))
    assert trace.first_rows(np.array([6])).tolist() == [[0]]
    assert trace.watermark.tolist() == [6] * repeats


def test_the_clock_may_come_to_a_slot_of_an_earlier_batch():
    watermark = Watermark(2)
    first = np.zeros(1, np.int32), np.array([1000])
    advance(watermark, *first)
    assert watermark.preview(np.ones(1, np.int32), np.array([1001])).watermark.tolist() == [1000]


@pytest.mark.parametrize("cuts", [[6], [3, 6]])
def test_a_cut_after_the_clock_is_set_changes_nothing(cuts):
    # Station 3 was never heard: it is waited for until three cadences after the watermark's first value, 100.
    rows = [(0, 100), (1, 100), (2, 100), (0, 104), (1, 104), (2, 104)]
    watermark = Watermark(4)
    for _, station, slot in batches(rows, cuts):
        advance(watermark, station, slot)
    assert watermark.start == 100


def test_one_wild_sensor_moves_nothing():
    watermark = Watermark(5)
    station, slot = np.array([0, 1, 2, 3, 3], np.int32), np.array([10, 11, 12, 10**9, 10**9 + 1])
    assert watermark.preview(station, slot).watermark.tolist() == [NEVER, NEVER, 10, 11, 11]


@pytest.mark.parametrize(("stations", "needed"), [(1, 1), (2, 2), (3, 3), (48, 3)])
def test_three_stations_agree_or_as_many_as_there_are(stations, needed):
    station = np.arange(min(stations, 5), dtype=np.int32)
    watermark = Watermark(stations).preview(station, np.full(station.size, 7)).watermark
    assert (watermark > NEVER).tolist() == [i + 1 >= needed for i in range(station.size)]


def test_silence_is_three_cadences():
    # Station 0 reached 100; without it the slots fire for the others once it lags more than three cadences.
    rows = [(0, 100), *((s, t) for t in range(100, 106) for s in (1, 2, 3))]
    at = np.arange(100, 106)
    row_of = {slot: i for i, slot in enumerate(at)}
    found = np.array(firings(4, rows, [len(rows)], np.arange(4), 1, at))
    last = [3 * row_of[slot] + 3 for slot in at]  # the row with which stations 1 to 3 have all reached it
    next_ = [3 * (row_of[slot] + 1) + 3 for slot in at[:-1]] + [NO_ROW]  # and the watermark, a minute more
    assert found.tolist() == [last[0], *next_[1:4], *last[4:]]


def test_who_was_never_heard_is_waited_for_three_cadences_from_the_start():
    rows = [(s, t) for t in range(100, 106) for s in (0, 1, 2)]
    found = firings(4, rows, [len(rows)], np.arange(4), 1, np.arange(100, 106))
    assert found == [5, 8, 11, 14, 14, 17], "slots 100 to 103 a minute later, 104 and 105 at once"


def test_what_fires_a_slot_fires_those_before_it():
    # Station 3 is awake for slot 1005, which waits for it, and silent for 1020, which does not.
    rows = [(3, 965), *((s, t) for t in (1000, 1020) for s in (0, 1, 2))]
    assert firings(4, rows, [len(rows)], np.array([3]), 15, np.array([1005, 1020])) == [6, 6]
    assert firings(4, rows[:-1], [len(rows) - 1], np.array([3]), 15, np.array([1005, 1020])) == [NO_ROW, NO_ROW]


def test_after_a_review_the_quorum_follows_the_instruments_heard():
    watermark = Watermark(5, review_rows=4)
    station, slot = np.array([0, 1, 0, 1], np.int32), np.array([5, 6, 7, 8])
    trace = watermark.preview(station, slot)
    watermark.advance(trace, station.size, 4)
    assert (watermark.current, watermark.quorum, watermark.until_review()) == (NEVER, 3, 4)
    assert watermark.review_quorum()
    assert watermark.quorum == 2
    assert watermark.preview(station[:1], slot[:1]).watermark.tolist() == [7], "the quorum's agreement holds at once"

    advance(watermark, station[:3], slot[:3])
    assert watermark.until_review() == 1
    advance(watermark, np.array([2], np.int32), np.array([9]))
    assert not watermark.review_quorum(), "it rose"
    assert (watermark.quorum, watermark.current) == (3, 8)
    assert watermark.preview(station[:1], np.array([3])).watermark.tolist() == [8], "the watermark never falls"

    alone = np.full(4, 2, np.int32), np.full(4, 9)
    advance(watermark, *alone)
    assert watermark.review_quorum()
    assert watermark.quorum == 1, "who was heard before counts no longer"


def test_rows_slow_again_bring_no_review_nearer():
    watermark = Watermark(2)
    station, slot = np.array([0, 1], np.int32), np.array([5, 6])
    for new in (2, 0):
        advance(watermark, station, slot, new=new)
    assert watermark.until_review() == QUORUM_REVIEW_ROWS - 2


def test_at_the_end_of_an_input_the_clock_takes_the_agreement_there_can_be():
    watermark = Watermark(5)
    watermark.settle_for(2)
    assert watermark.preview(np.array([0, 1], np.int32), np.array([5, 6])).watermark.tolist() == [NEVER, 5]
    watermark.settle_for(4)
    assert watermark.quorum == 2
    watermark.settle_for(0)
    assert watermark.quorum == 1


def test_a_record_moves_nothing_and_counts_as_a_row():
    watermark = Watermark(2, review_rows=4)
    column, slot = np.array([0, -1, 1], np.int32), np.array([5, 900, 6])
    trace = watermark.preview(column, slot)
    assert trace.watermark.tolist() == [NEVER, NEVER, 5]
    assert trace.first_rows(np.array([5, 7])).tolist() == [[0, 2], [NO_ROW, NO_ROW]]
    watermark.advance(trace, 3, 3)
    assert (watermark.newest.tolist(), watermark.until_review()) == ([5, 6], 1)


def test_a_minute_is_named_by_its_end():
    assert slot_of(np.array([-60, -59, 0, 1, 59, 60, 61])).tolist() == [-1, 0, 0, 1, 1, 1, 2]
