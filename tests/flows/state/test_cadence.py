"""The progress of a cadence against a plain list of its firings; its steps, and its local days."""

import pickle
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.state.cadence import Cadence
from schemas.slots import NEVER

SEOUL = ZoneInfo("Asia/Seoul")


def new_cadence(every=60, step=10, timezone=SEOUL):
    return Cadence(every, np.array([0]), step, timezone)


@pytest.mark.parametrize(
    ("every", "slots", "step", "timeout"),
    [
        (10, 1, 10, 1),
        (60, 1, 10, 1),
        (600, 10, 10, 1),
        (900, 15, 15, 45),
        (1800, 30, 30, 45),
        (3600, 60, 60, 45),
    ],
)
def test_what_follows_from_the_reporting_interval(every, slots, step, timeout):
    cadence = new_cadence(every)
    assert (cadence.every, cadence.slots, cadence.step, cadence.straggler_timeout) == (every, slots, step, timeout)


class SlowProgress:
    """The same in a list that forgets nothing: (slot, number) of each firing."""

    def __init__(self, slot):
        self.begin = self.evaluated = slot
        self.firings = []

    @property
    def fired(self):
        return max([self.begin, *(slot for slot, _ in self.firings)])

    def fire(self, slot, number):
        if slot > self.fired:
            self.firings.append((slot, number))

    def number_of(self, slot):
        return next(number for until, number in self.firings if until >= slot)

    def open(self):
        return [(slot, number) for slot, number in self.firings if slot > self.evaluated]


@given(st.integers(0, 500), st.lists(st.tuples(st.sampled_from(["fire", "evaluate", "restart"]), st.integers(0, 90))))
def test_progress_is_that_of_a_list_of_firings(begin, steps):
    cadence, slow = new_cadence(), SlowProgress(begin // 10 * 10)
    cadence.start(begin)
    for number, (step, amount) in enumerate(steps, 1):
        if step == "fire":
            slot = slow.fired + amount // 10 * 10 - 10
            cadence.fire(slot, number)
            slow.fire(slot, number)
        elif step == "evaluate":
            slow.evaluated = min(slow.fired, slow.evaluated + amount)
            cadence.evaluated(slow.evaluated)
        else:
            kept = pickle.dumps(cadence.snapshot())
            cadence = new_cadence()
            cadence.restore(pickle.loads(kept))
        assert (cadence.fired_until, cadence.evaluated_until) == (slow.fired, slow.evaluated)
        assert cadence.due == (slow.evaluated < slow.fired)
        open_slots = np.arange(slow.evaluated + 1, slow.fired + 1)
        assert cadence.firing_of(open_slots).tolist() == [slow.number_of(slot) for slot in open_slots.tolist()]
        for slot in (slow.evaluated, slow.evaluated + 15, slow.fired):
            after = [number for until, number in slow.open() if until > slot]
            assert cadence.firing_after(slot) == min(after, default=0)
        for before in (0, number, number + 1):
            until = [slot for slot, fired in slow.open() if fired < before]
            assert cadence.fired_before(before) == max(until, default=slow.evaluated)


def test_before_the_watermark_is_set_nothing_has_fired():
    cadence = new_cadence()
    assert (cadence.fired_until, cadence.evaluated_until, cadence.due) == (NEVER, NEVER, False)
    again = new_cadence()
    again.restore(pickle.loads(pickle.dumps(cadence.snapshot())))
    assert again.fired_until == NEVER


def test_a_cadence_starts_at_the_end_of_a_step():
    hourly = new_cadence(3600)
    hourly.start(119)
    assert (hourly.fired_until, hourly.evaluated_until) == (60, 60)
    assert [hourly.floor(slot) for slot in (59, 60, 119, -1)] == [0, 60, 60, -60]


def test_what_has_fired_fires_no_second_time():
    cadence = new_cadence()
    cadence.start(0)
    for slot, number in ((10, 1), (30, 2), (20, 3), (30, 4)):
        cadence.fire(slot, number)
    assert cadence.snapshot() == (30, 0, [(10, 1), (30, 2)])
    cadence.evaluated(10)
    assert cadence.snapshot() == (30, 10, [(30, 2)])


def test_a_snapshot_does_not_change_with_the_cadence():
    cadence = new_cadence()
    cadence.start(0)
    cadence.fire(10, 1)
    kept = cadence.snapshot()
    cadence.fire(20, 2)
    assert kept == (10, 0, [(10, 1)])


def days_of(ends, timezone):
    """Local dates of ends, of which one at midnight belongs to the day before."""
    return [(datetime.fromtimestamp(end * 60, timezone) - timedelta(microseconds=1)).date() for end in ends]


@given(
    st.integers(29_000_000, 29_200_000),
    st.lists(st.integers(1, 900), max_size=30),
    st.sampled_from(["Asia/Seoul", "UTC", "Asia/Kolkata", "America/Caracas"]),
)
def test_ends_are_parted_by_local_day(first, gaps, name):
    """In zones whose clocks do not change."""
    timezone = ZoneInfo(name)
    ends = np.cumsum([first, *gaps])
    parts = [ends[part].tolist() for part in new_cadence(timezone=timezone).by_day(ends)]
    assert [end for part in parts for end in part] == ends.tolist()
    days = [set(days_of(part, timezone)) for part in parts]
    assert all(len(day) == 1 for day in days)
    assert len(set.union(*days)) == len(parts)


def test_no_ends_no_days_and_one_end_one_day():
    assert list(new_cadence().by_day(np.empty(0, np.int64))) == []
    assert list(new_cadence().by_day(np.array([7]))) == [slice(None)]
