"""Local days to learn from, each once: whatever the city's zone, and where its clocks change."""

import pickle
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.state.cadence import Cadence
from flows.zone.days import FIRST_DAY, LearningDays
from schemas.slots import EPOCH, SLOT

ZONES = ["Asia/Seoul", "UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland"]
HORIZON = 1440


def slot_of(year, month, day, hour=0, *, timezone):
    return (datetime(year, month, day, hour, tzinfo=timezone) - EPOCH) // SLOT


@given(st.integers(25_000_000, 32_000_000), st.sampled_from(ZONES), st.integers(1, 5))
def test_days_follow_upon_each_other(slot, name, n):
    timezone = ZoneInfo(name)
    days = LearningDays(timezone, HORIZON)
    days.start(slot)
    assert days.next.first < slot <= days.next.last
    last = days.next.first
    for number in range(days.next.number, days.next.number + n):
        day = days.take()
        local = FIRST_DAY + timedelta(days=day.number)
        midnight = datetime.combine(local, datetime.min.time(), timezone)
        assert (day.number, day.first) == (number, last)
        assert EPOCH + day.first * SLOT == midnight
        assert day.last - day.first in (23 * 60, 24 * 60, 25 * 60)
        last = day.last


@given(st.integers(25_000_000, 32_000_000), st.sampled_from(ZONES), st.sampled_from([60, 1440, 5000]))
def test_at_the_boundary_every_slot_of_the_day_lies_past_the_horizon(slot, name, horizon):
    days = LearningDays(ZoneInfo(name), horizon)
    days.start(slot)
    assert days.boundary >= days.next.last + horizon
    assert days.boundary >= days.next.last + 23 * 60


def test_a_slot_that_ends_at_midnight_belongs_to_the_day_before():
    seoul = ZoneInfo("Asia/Seoul")
    midnight = slot_of(2026, 3, 2, timezone=seoul)
    for slot, day in ((midnight, 1), (midnight + 1, 2)):
        days = LearningDays(seoul, HORIZON)
        days.start(slot)
        assert FIRST_DAY + timedelta(days=days.next.number) == date(2026, 3, day)


@pytest.mark.parametrize(("month", "day", "minutes"), [(3, 29, 23 * 60), (10, 25, 25 * 60), (6, 1, 24 * 60)])
def test_days_on_which_clocks_change(month, day, minutes):
    berlin = ZoneInfo("Europe/Berlin")
    days = LearningDays(berlin, HORIZON)
    days.start(slot_of(2026, month, day, 12, timezone=berlin))
    assert days.next.last - days.next.first == minutes


def test_a_day_is_learnt_before_the_first_step_behind_its_boundary():
    utc = ZoneInfo("UTC")
    days = LearningDays(utc, HORIZON)
    days.start(1)
    assert days.boundary == 2880
    fast, slow = Cadence(60, np.array([0]), 10, utc), Cadence(3600, np.array([1]), 10, utc)
    for cadence in (fast, slow):
        cadence.start(0)
    fast.fire(2880, 7)
    assert days.firing([fast, slow]) is None
    slow.fire(2940, 9)
    fast.fire(2900, 8)
    assert days.firing([slow]) == 9
    assert days.firing([fast, slow]) == 8, "whichever fired first"
    days.take()
    assert days.firing([fast, slow]) is None


def test_a_restart_learns_no_day_twice():
    days = LearningDays(ZoneInfo("Asia/Seoul"), HORIZON)
    days.start(29_453_760)
    taken = days.take()
    again = LearningDays(ZoneInfo("Asia/Seoul"), HORIZON)
    again.restore(pickle.loads(pickle.dumps(days.snapshot())))
    assert again.next == days.next
    assert again.next.number == taken.number + 1
