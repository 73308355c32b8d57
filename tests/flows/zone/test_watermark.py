"""The watermark against one that counts row by row in plain Python, and rows cut anyhow."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels.watermark import NO_ROW, REPLAYED
from flows.state.grid import slot_of
from flows.zone.watermark import firing_rows
from schemas.slots import NEVER
from tests.support.watermarks import CADENCES, HORIZON, SlowWatermark, arrivals, batches, new_watermark, traces


def advance(watermark, column, slot):
    """Advance over all of the rows."""
    return [of for _, trace in traces(watermark, column, slot) for of in trace.watermark.tolist()]


@settings(deadline=None, max_examples=200)
@given(arrivals(), st.sampled_from([1, 15]))
def test_the_watermark_is_counted_row_by_row(case, slowest):
    stations, rows, cuts = case
    watermark, slow = new_watermark(stations, slowest), SlowWatermark(stations, slowest=slowest)
    for begin, station, slot in batches(rows, cuts):
        for first, trace in traces(watermark, station, slot):
            before = pickle.dumps(watermark.snapshot())
            again = watermark.preview(station[first:], slot[first:])
            assert pickle.dumps(watermark.snapshot()) == before, "a preview advances nothing"
            assert again.watermark.tolist() == trace.watermark.tolist()
            for i, (current, early) in enumerate(zip(trace.watermark.tolist(), trace.early.tolist(), strict=True)):
                row = rows[begin + first + i]
                gone = slow.count(*row)
                assert current == slow.current
                assert early == (current == NEVER or row[1] > current + HORIZON)
                assert gone == (trace.quorum_fell and i == trace.slot.size - 1)
        assert (watermark.current, watermark.newest.tolist()) == (slow.current, slow.newest)
        assert watermark.quorum == slow.quorum
        kept = pickle.loads(pickle.dumps(watermark.snapshot()))
        watermark = new_watermark(stations, slowest)
        watermark.restore(kept, np.empty(0, np.int64), list(range(stations)), list(range(stations)))


def firings(stations, rows, cuts, group, cadence, candidates):
    """Row after which each candidate is fired, NO_ROW for never, by the watermark over batches."""
    watermark, found = new_watermark(stations), np.full(candidates.size, NO_ROW)
    for begin, station, slot in batches(rows, cuts):
        for first, trace in traces(watermark, station, slot):
            open_ = found == NO_ROW
            heard = watermark.heard_until(trace)
            fired = firing_rows(trace, candidates[open_], group, heard, cadence, CADENCES[cadence])
            assert (np.diff(fired) >= 0).all()
            assert ((fired == NO_ROW) | (fired < trace.slot.size)).all()
            found[open_] = np.where(fired == NO_ROW, NO_ROW, np.maximum(fired, 0) + begin + first)
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
    trace = new_watermark(1).preview(np.zeros(repeats, np.int32), np.full(repeats, 6))
    assert trace.first_rows(np.array([6])).tolist() == [[0]]
    assert trace.watermark.tolist() == [6] * repeats


def test_the_clock_may_come_to_a_slot_of_an_earlier_batch():
    watermark = new_watermark(2)
    first = np.zeros(1, np.int32), np.array([1000])
    advance(watermark, *first)
    assert watermark.preview(np.ones(1, np.int32), np.array([1001])).watermark.tolist() == [1000]


@pytest.mark.parametrize("cuts", [[6], [3, 6]])
def test_a_cut_after_the_clock_is_set_changes_nothing(cuts):
    # Station 3 was never heard: it is waited for until three cadences after the watermark's first value, 100.
    rows = [(0, 100), (1, 100), (2, 100), (0, 104), (1, 104), (2, 104)]
    watermark = new_watermark(4)
    for _, station, slot in batches(rows, cuts):
        advance(watermark, station, slot)
    assert watermark.start == 100


def test_one_wild_sensor_moves_nothing():
    watermark = new_watermark(5)
    station, slot = np.array([0, 1, 2, 3, 3], np.int32), np.array([10, 11, 12, 10**9, 10**9 + 1])
    assert watermark.preview(station, slot).watermark.tolist() == [NEVER, NEVER, 10, 11, 11]


@pytest.mark.parametrize(("stations", "needed"), [(1, 1), (2, 2), (3, 3), (48, 3)])
def test_three_stations_agree_or_as_many_as_there_are(stations, needed):
    station = np.arange(min(stations, 5), dtype=np.int32)
    watermark = new_watermark(stations).preview(station, np.full(station.size, 7)).watermark
    assert (watermark > NEVER).tolist() == [i + 1 >= needed for i in range(station.size)]


def test_silence_is_three_cadences():
    # Station 0 reached 100; without it the slots fire for the others once it lags more than three cadences.
    rows = [*((s, 99) for s in (1, 2, 3)), (0, 100), *((s, t) for t in range(100, 106) for s in (1, 2, 3))]
    at = np.arange(100, 106)
    row_of = {slot: i for i, slot in enumerate(at)}
    found = np.array(firings(4, rows, [len(rows)], np.arange(4), 1, at))
    last = [3 * row_of[slot] + 6 for slot in at]  # the row with which stations 1 to 3 have all reached it
    next_ = [3 * (row_of[slot] + 1) + 6 for slot in at[:-1]] + [NO_ROW]  # and the watermark, a minute more
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


def hourly(*stations, first, last):
    """Rows of stations that report each hour in turn."""
    return [(s, 60 * hour) for hour in range(first, last + 1) for s in stations]


def columns(rows):
    return np.array([s for s, _ in rows], np.int32), np.array([slot for _, slot in rows], np.int64)


def test_one_that_has_gone_holds_nothing_up_for_longer_than_two_need_to_show_it():
    watermark = new_watermark(3, slowest=60, horizon=1440)
    advance(watermark, *columns(hourly(0, 1, 2, first=1, last=48)))
    advance(watermark, *columns(hourly(0, 1, first=49, last=53)))
    assert (watermark.current, watermark.quorum) == (48 * 60, 3)
    advance(watermark, *columns(hourly(0, 1, first=54, last=56)))
    assert (watermark.current, watermark.quorum) == (56 * 60, 2)
    advance(watermark, *columns([(2, 56 * 60), (0, 57 * 60)]))
    assert (watermark.current, watermark.quorum) == (56 * 60, 3), "back again, it is asked"


def test_one_that_never_was_holds_nothing_up():
    watermark = new_watermark(3, slowest=60, horizon=1440)
    assert set(advance(watermark, *columns(hourly(0, 1, first=1, last=6)))) == {NEVER}
    advance(watermark, *columns(hourly(0, 1, first=7, last=9)))
    assert (watermark.current, watermark.quorum) == (9 * 60, 2)


def test_the_last_one_is_believed_after_two_horizons():
    watermark = new_watermark(3, slowest=60, horizon=1440)
    advance(watermark, *columns([*hourly(0, 1, 2, first=1, last=2), *hourly(0, first=3, last=48)]))
    assert (watermark.current, watermark.quorum) == (2 * 60, 3)
    advance(watermark, *columns(hourly(0, first=49, last=60)))
    assert (watermark.current, watermark.quorum) == (60 * 60, 1)


@pytest.mark.parametrize("wild", [10**7, -(10**7)])
@pytest.mark.parametrize("after", [1, 3, 8, 40])
def test_a_wild_clock_among_few_is_no_agreement(wild, after):
    """Two are left of three when one of them goes wild, for however long: nothing moves on its word."""
    watermark = new_watermark(3, slowest=60, horizon=1440)
    advance(watermark, *columns(hourly(0, 1, 2, first=1, last=48)))
    advance(watermark, *columns(hourly(0, 1, first=49, last=60)))
    for hour in range(61, 61 + after):
        advance(watermark, *columns([(0, 60 * hour + wild), (1, 60 * hour)]))
    assert watermark.current == (60 if wild < 0 else 60 + after) * 60, "as far as the other says"
    advance(watermark, *columns(hourly(0, 1, first=61 + after, last=70 + after)))
    assert watermark.current == 60 * (70 + after)


@pytest.mark.parametrize("stamps", [1, 3])
def test_a_wild_stamp_of_the_only_station_moves_nothing(stamps):
    watermark = new_watermark(1, slowest=60, horizon=1440)
    rows = hourly(0, first=1, last=48)
    wild = [(0, 10**7 + 60 * i) for i in range(stamps)]
    assert max(advance(watermark, *columns([*rows, *wild, (0, 49 * 60)]))) == 49 * 60


def test_the_only_station_is_believed_after_a_gap_once_it_walks_on():
    watermark = new_watermark(1, slowest=60, horizon=1440)
    advance(watermark, *columns([*hourly(0, first=1, last=48), *hourly(0, first=300, last=305)]))
    assert watermark.current == 48 * 60
    advance(watermark, *columns(hourly(0, first=306, last=307)))
    assert watermark.current == 307 * 60


def test_wild_stamps_of_three_at_different_times_are_no_agreement():
    """Each comes back from there with its next row, and says no longer that it was there."""
    watermark = new_watermark(4)
    rows = [
        (s, 10 * t + (10**7 if (t, s) in {(2, 0), (4, 1), (6, 2), (8, 3)} else 0)) for t in range(12) for s in range(4)
    ]
    advance(watermark, *columns(rows))
    assert watermark.current == 110


def test_wild_stamps_of_those_who_then_fall_silent_do_not_stand_for_ever():
    watermark = new_watermark(6)
    advance(watermark, *columns([(s, 10) for s in range(6)]))
    advance(watermark, *columns([(0, 10**7), (1, 10**7)]))
    advance(watermark, *columns([(s, 10 * t) for t in range(2, 9) for s in range(2, 6)]))
    advance(watermark, *columns([(2, 10**7)]))
    assert watermark.current == 80


def test_a_gap_of_all_stations_ends_when_three_say_so():
    watermark = new_watermark(5)
    rows = [*((s, 10) for s in range(5)), *((s, 10**5) for s in (0, 1, 2))]
    assert advance(watermark, *columns(rows))[-2:] == [10, 10**5]


def test_stations_sorted_one_after_the_other_are_waited_for():
    """A file may hold a day of one station, then of the next: neither shows that the third is gone."""
    watermark = new_watermark(3, slowest=60, horizon=1440)
    rows = [row for s in range(3) for row in hourly(s, first=1, last=24)]
    assert advance(watermark, *columns(rows)) == [NEVER] * 48 + [60 * hour for hour in range(1, 25)]


@pytest.mark.parametrize(("beyond", "agreed"), [((0,), False), ((0, 1), True), ((0, 1, 2), True)])
def test_at_the_end_of_an_input_those_beyond_the_horizon_agree_if_they_are_most(beyond, agreed):
    watermark = new_watermark(3)
    advance(watermark, *columns([*((s, 10) for s in range(3)), *((s, 10**5) for s in beyond)]))
    assert (watermark.settle() or watermark.current == 10**5) == agreed


def test_at_the_end_of_an_input_the_clock_takes_the_agreement_there_can_be():
    watermark = new_watermark(5)
    assert not watermark.settle(), "nobody was heard"
    assert advance(watermark, *columns([(0, 5), (1, 6)])) == [NEVER] * 2
    assert watermark.settle()
    assert watermark.quorum == 2
    watermark.vote_again()
    assert watermark.preview(*columns([(0, 5), (1, 6)]), REPLAYED).watermark.tolist() == [NEVER, 5]


def test_a_record_moves_nothing():
    watermark = new_watermark(2)
    column, slot = np.array([0, -1, 1], np.int32), np.array([5, 900, 6])
    trace = watermark.preview(column, slot)
    assert trace.watermark.tolist() == [NEVER, NEVER, 5]
    assert trace.first_rows(np.array([5, 7])).tolist() == [[NO_ROW, 2], [NO_ROW, NO_ROW]]
    watermark.advance(trace, 3)
    assert watermark.newest.tolist() == [NEVER, 6]


def restored(kept, ours, theirs, stations, settled=()):
    watermark = new_watermark(stations)
    watermark.restore(kept, np.array(settled, np.int64), ours, theirs)
    return watermark


def test_a_station_that_is_new_in_the_city_file_is_not_asked_before_it_is_heard():
    watermark = new_watermark(2)
    advance(watermark, *columns([(s, t) for t in range(10, 20) for s in (0, 1)]))
    again = restored(watermark.snapshot(), [2, 1], [0, 1], 4)
    assert (again.current, again.quorum, again.newest.tolist()) == (19, 2, [NEVER, 19, 19, NEVER])
    advance(again, *columns([(1, 30), (2, 30), (0, 25)]))
    assert (again.current, again.quorum) == (30, 3)


def test_snapshots_before_votes_are_read():
    kept = {"newest": np.array([20, 10**6]), "now": 19, "start": 10, "quorum": 2, "rows": 9, "heard": np.ones(2, bool)}
    again = restored(kept, [0, 1], [0, 1], 2, settled=[20, 19])
    assert (again.current, again.start, again.newest.tolist()) == (19, 10, [20, 19])
    advance(again, *columns([(0, 30)]))
    assert again.current == 30
    advance(again, *columns([(1, 29), (1, 31), (0, 31)]))
    assert again.current == 31


def test_a_minute_is_named_by_its_end():
    assert slot_of(np.array([-60, -59, 0, 1, 59, 60, 61])).tolist() == [-1, 0, 0, 1, 1, 1, 2]
