"""Timestamps: at the edges of calendars and clocks, and against the standard library."""

import zoneinfo
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.sources.tables.timestamps import WallClock, read_timestamps, wall_clock
from schemas.slots import EPOCH, MICROSECOND, micros


def read(texts, pattern, timezone=None):
    observed, bad = read_timestamps(pa.array(texts, pa.string()), pattern, timezone)
    return [
        None if wrong else (EPOCH + at * MICROSECOND).isoformat()
        for at, wrong in zip(observed.tolist(), bad, strict=True)
    ]


@pytest.mark.parametrize(
    ("text", "pattern", "timezone", "expected"),
    [
        ("2012010124", "%Y%m%d%H", "Asia/Seoul", "2012-01-01T15:00:00+00:00"),
        ("2012123124", "%Y%m%d%H", "Asia/Seoul", "2012-12-31T15:00:00+00:00"),
        ("2012010101", "%Y%m%d%H", "Asia/Seoul", "2011-12-31T16:00:00+00:00"),
        ("2012010125", "%Y%m%d%H", "Asia/Seoul", None),
        ("201201011", "%Y%m%d%H", "Asia/Seoul", None),
        ("2024-02-29 24:00", "%Y-%m-%d %H:%M", "+09:00", "2024-02-29T15:00:00+00:00"),
        ("2023-02-29 01:00", "%Y-%m-%d %H:%M", "+09:00", None),
        ("2024-02-29 24:01", "%Y-%m-%d %H:%M", "+09:00", None),
        ("2017-01-01 0:00", "%Y-%m-%d %H:%M", "Asia/Seoul", "2016-12-31T15:00:00+00:00"),
        ("8/1/2019 7:12", "%m/%d/%Y %H:%M", "America/New_York", "2019-08-01T11:12:00+00:00"),
        ("8/1/2019 12:05 AM", "%m/%d/%Y %I:%M %p", "America/New_York", "2019-08-01T04:05:00+00:00"),
        ("8/1/2019 12:05 pm", "%m/%d/%Y %I:%M %p", "America/New_York", "2019-08-01T16:05:00+00:00"),
        ("8/1/2019 13:05 pm", "%m/%d/%Y %I:%M %p", "America/New_York", None),
        ("01-Jan-17 05:00:01.5", "%d-%b-%y %H:%M:%S.%f", "-05:00", "2017-01-01T10:00:01.500000+00:00"),
        ("2018-03-11 02:30", "%Y-%m-%d %H:%M", "America/New_York", None),  # the clock jumps over it
        ("2018-11-04 01:30", "%Y-%m-%d %H:%M", "America/New_York", "2018-11-04T05:30:00+00:00"),  # the first of two
        ("2018-11-04 02:00", "%Y-%m-%d %H:%M", "America/New_York", "2018-11-04T07:00:00+00:00"),
        ("2026-11-22T09:31:00+09:00", "rfc3339", None, "2026-11-22T00:31:00+00:00"),
        ("2026-11-22 09:31:00.123456789Z", "rfc3339", None, "2026-11-22T09:31:00.123456+00:00"),
        ("2026-11-22T09:31:00", "rfc3339", None, None),
        ("2026-11-22T24:00:00Z", "rfc3339", None, None),
        ("1533106800.0", "unix", None, "2018-08-01T07:00:00+00:00"),
        ("1533106800250", "unix_ms", None, "2018-08-01T07:00:00.250000+00:00"),
        ("1e30", "unix", None, None),
        ("soon", "unix", None, None),
        ("", "%Y", "+09:00", None),
    ],
)
def test_times(text, pattern, timezone, expected):
    assert read([text, "no time", text], pattern, timezone) == [expected, None, expected]


ZONES = [
    "Asia/Seoul", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Europe/Dublin", "Antarctica/Troll",
    "Pacific/Apia", "+05:45",
]  # fmt: skip


def tzinfo(zone):
    return ZoneInfo(zone) if zone[0] != "+" else timezone(timedelta(hours=int(zone[1:3]), minutes=int(zone[4:])))


def by_standard_library(local, zone):
    """The instant of a wall clock's time, the first of two; None where the clock never shows it."""
    instant = local.replace(tzinfo=tzinfo(zone), fold=0).astimezone(UTC)
    return instant if instant.astimezone(tzinfo(zone)).replace(tzinfo=None, fold=0) == local else None


def agree(local, zone):
    utc, never = WallClock(zone).to_utc(np.array([micros(at.replace(tzinfo=UTC)) for at in local]))
    expected = [by_standard_library(at, zone) for at in local]
    assert never.tolist() == [at is None for at in expected]
    assert utc[~never].tolist() == [micros(at) for at in expected if at is not None]


@given(
    st.sampled_from(ZONES),
    st.lists(st.datetimes(datetime(1901, 1, 1), datetime(2199, 12, 31)), min_size=1, max_size=5),
)
def test_wall_clocks_are_those_of_the_standard_library(zone, local):
    agree(local, zone)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("year", [2018, 2083])
def test_every_quarter_of_a_year_is_that_of_the_standard_library(zone, year):
    """Both changes of the clock, if there are any, and today's rules long after 2037, where tables of files end."""
    agree([datetime(year, 1, 1) + quarter * timedelta(minutes=15) for quarter in range(366 * 96)], zone)


def test_a_system_without_time_zones_has_those_of_tzdata():
    zoneinfo.reset_tzpath(to=[])
    ZoneInfo.clear_cache()
    wall_clock.cache_clear()
    try:
        assert read(["2018-03-11 02:30", "2083-07-01 00:00"], "%Y-%m-%d %H:%M", "America/New_York") == [
            None, "2083-07-01T04:00:00+00:00",
        ]  # fmt: skip
    finally:
        zoneinfo.reset_tzpath()
