"""Local dates: those of the zone, on the days that clocks change too."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.slots import DAY_US
from sinks.lake.dates import LocalDates, iso_date

ZONES = (
    "UTC",
    "Asia/Seoul",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Africa/Casablanca",
    "Pacific/Apia",
)


def local_day(time, zone):
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time - 1)
    return (moment.astimezone(ZoneInfo(zone)).date() - date(1970, 1, 1)).days


@given(
    st.sampled_from(ZONES),
    st.lists(st.integers(int(1.33e15), int(4.1e15)), min_size=1, max_size=8),
    st.lists(st.sampled_from((-1, 0, 1, 2)), min_size=8, max_size=8),
)
def test_dates_are_the_zones(zone, times, beside):
    quarters = [time // 900_000_000 * 900_000_000 + by for time, by in zip(times, beside, strict=False)]
    days = LocalDates(zone).of(np.array(times + quarters))
    assert days.tolist() == [local_day(time, zone) for time in times + quarters]


@pytest.mark.parametrize("zone", ZONES)
def test_dates_on_the_days_that_clocks_change(zone):
    begin = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
    times = np.arange(begin, begin + 366 * DAY_US, 3_600_000_000) + 1
    assert LocalDates(zone).of(times).tolist() == [local_day(int(time), zone) for time in times]


def test_hour_24_belongs_to_its_day():
    midnight = int(datetime(2026, 3, 3, tzinfo=ZoneInfo("Asia/Seoul")).timestamp()) * 1_000_000
    assert [iso_date(day) for day in LocalDates("Asia/Seoul").of(np.array([midnight, midnight + 1]))] == [
        "2026-03-02",
        "2026-03-03",
    ]
    assert LocalDates("Asia/Seoul").of(np.empty(0, np.int64)).size == 0


def test_dates_where_a_clock_changed_within_a_quarter_of_an_hour():
    night = int(datetime(2010, 11, 7, 2, 31, 30, tzinfo=UTC).timestamp()) * 1_000_000
    assert LocalDates("America/St_Johns").of(np.array([night])).tolist() == [local_day(night, "America/St_Johns")]
