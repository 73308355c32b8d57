"""Cells to numbers and times: against the standard library, and at the edges of calendars."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.sources.tables import cells as cell
from flows.sources.tables.cells import Cells, instants
from flows.sources.tables.column_map import Status, Time


def read(texts, pattern, timezone=None):
    observed, bad = instants(pa.array(texts, pa.string()), pattern, timezone)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return [
        None if wrong else (epoch + timedelta(microseconds=at)).isoformat()
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


@given(
    st.lists(st.datetimes(datetime(1901, 1, 1), datetime(2199, 12, 31)), min_size=1, max_size=5),
    st.sampled_from(["Asia/Seoul", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Europe/London"]),
)
def test_local_times_are_those_of_the_standard_library(stamps, zone):
    stamps = [stamp.replace(second=0, microsecond=0) for stamp in stamps]
    expected = []
    for stamp in stamps:
        at = stamp.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        there = at.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0) == stamp
        expected.append(at.isoformat() if there else None)
    assert read([f"{stamp:%Y-%m-%d %H:%M}" for stamp in stamps], "%Y-%m-%d %H:%M", zone) == expected


@pytest.mark.parametrize(("marks", "minutes"), [("start", 60), ("middle", 30), ("end", 0)])
def test_observed_at_is_the_end_of_the_interval(marks, minutes):
    rule = Time(column="t", format="unix", marks=marks, interval="1h")
    cells = Cells({"t": pa.array(["3600", "0"])}, 2, {})
    assert cell.times(cells, rule).tolist() == [(60 + minutes) * 60_000_000, minutes * 60_000_000]


def test_numbers_faults_and_sentinels():
    texts = ["1", " -2.5 ", "1e3", "-999", "-999.0", "NA", "", "abc", "nan", "inf", "1_0", "0x1", "+5", "١٢"]
    cells = Cells({"v": pa.array(texts)}, len(texts), {3: "before"})
    found = cell.numbers(cells, "v", ("NA", -999))
    np.testing.assert_array_equal(found, [1, -2.5, 1000] + [np.nan] * 9 + [5, np.nan])
    assert sorted(cells.faults) == [3, 7, 8, 9, 10, 11, 13]
    assert cells.faults[3] == "before"
    assert cells.faults[7] == "Expected a number, got 'abc' - at column `v`"


def test_status_with_and_without_codes():
    cells = Cells({"s": pa.array(["0", "9", "", "-", "256", "x"])}, 6, {})
    assert cell.status(cells, "s", Status(), ("-",)).tolist() == [0, 9, 0, 0, 0, 0]
    assert sorted(cells.faults) == [4, 5]
    coded = Cells({"s": pa.array(["ok", "broken", "0"])}, 3, {})
    assert cell.status(coded, "s", Status(codes={"ok": 0, "broken": 8}), ()).tolist() == [0, 8, 0]
    assert sorted(coded.faults) == [2]
