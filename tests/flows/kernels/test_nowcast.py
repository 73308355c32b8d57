"""NowCast, trailing means and the US AQI: worked examples, official vectors, a plain oracle, and a file of other bands."""

import csv
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.analyses.indices import Scales
from flows.kernels import bands, cai, nowcast, nowcast_o3
from flows.resources import index
from schemas import indices
from schemas.measured import AIR
from tests.support.recorded import VECTORS

US = index("us-aqi").table()
US_BY_SURROGATE = Scales().others["us-aqi"]
SCALES = bands.bands_of(US)
EXAMPLES = VECTORS / "nowcast_pm25.csv"
NA = math.nan


def newest_first(hours, parameter="pm25"):
    """NowCast of these hours, truncated as its index does."""
    hours = np.array([hours[::-1]], float)
    return bands.taken(nowcast.nowcast_pm(hours, hours.shape[1] - 1), SCALES[parameter])[0, 0]


def aqi(parameter, values):
    return bands.index(np.array(values, float), SCALES[parameter]).tolist()


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ([60] + [20] * 11, 40.0),
        ([30, NA, 28, 25, 25, 24, 22] + [20] * 5, 27.2),
        ([35.4] * 12, 35.4),  # a mean of twelve times the same must not lose its last digit
        ([0] * 12, 0),
        ([0] * 11 + [10], 0.0),
        ([10, 10], 10),
        ([10, NA, 10], 10),
        ([NA, 10, 10], 10),
        ([10], NA),
        ([10, NA, NA, 20], NA),
        ([NA, NA, NA] + [20] * 9, NA),
        ([0.9, 0.3], (0.9 + 0.15) / 1.5),
        ([-3, 10, 10], (0 + 5 + 2.5) / 1.75),  # noise below zero counts as zero
        ([100, 60], (100 + 0.6 * 60) / 1.6),
        ([60, 100], (60 + 0.6 * 100) / 1.6),
        ([100, 50], (100 + 25) / 1.5),
        ([100, 40], (100 + 20) / 1.5),  # never less than a half
        ([10] * 12 + [1000], 10),  # a thirteenth hour is none of it
        ([10] * 11 + [1000], (10 * (2 - 2**-10) + 1000 * 2**-11) / (2 - 2**-11)),
        ([NA, 50, NA, 100, 100], NA),
        ([50, 50, NA, NA, 100], (50 * 1.5 + 100 / 16) / (1.5 + 1 / 16)),  # what is missing keeps its place
    ],
)
def test_pm_nowcast(hours, expected):
    if math.isnan(expected):
        assert math.isnan(newest_first(hours))
    else:
        assert newest_first(hours) == pytest.approx(math.floor(expected * 10 + 1e-9) / 10, abs=1e-12)
        assert newest_first(hours, "pm10") == math.floor(expected + 1e-9)


def test_official_nowcasts():
    with EXAMPLES.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    for row in rows:
        found = newest_first([NA if hour == "NA" else float(hour) for hour in row["hours_newest_first"].split()])
        assert math.isnan(found) if row["expected"] == "invalid" else found == float(row["expected"])


def oracle(hours):
    """NowCast of hours given newest first, as EPA writes it."""
    there = {k: max(hour, 0) for k, hour in enumerate(hours) if not math.isnan(hour)}
    if sum(k in there for k in range(3)) < 2:
        return NA
    highest, lowest = max(there.values()), min(there.values())
    if not highest:
        return 0
    weight = max(1 - (highest - lowest) / highest, 0.5)
    return sum(weight**k * hour for k, hour in there.items()) / sum(weight**k for k in there)


@settings(deadline=None)
@given(st.lists(st.one_of(st.just(NA), st.floats(-5, 900)), min_size=12, max_size=12))
def test_nowcast_is_what_the_rule_says(hours):
    found = nowcast.nowcast_pm(np.array([hours[::-1]], float), 11)[0, 0]
    np.testing.assert_allclose(found, oracle(hours), rtol=1e-12, atol=1e-300)


# domain.md 6.3, and the ends of every band.
def test_us_aqi():
    assert aqi("pm25", [35.49, 45.3, 12.0]) == [100, 125, 56]
    assert aqi("pm25", [0, 9.0, 9.09, 9.1, 35.4, 35.5, 55.4, 55.5, 125.4, 125.5, 225.4, 225.5, 325.4]) == [
        *(0, 50, 50, 51, 100, 101, 150, 151, 200, 201, 300, 301, 500)
    ]
    assert aqi("pm10", [0, 54, 54.9, 55, 154, 155, 254, 255, 354, 355, 424, 425, 604]) == [
        *(0, 50, 50, 51, 100, 101, 150, 151, 200, 201, 300, 301, 500)
    ]
    assert aqi("o3", [0, 0.054, 0.0549, 0.055, 0.070, 0.071, 0.085, 0.086, 0.105, 0.106, 0.200]) == [
        *(0, 50, 50, 51, 100, 101, 150, 151, 200, 201, 300)
    ]


def test_above_the_last_band_the_index_stays_and_says_so():
    assert aqi("pm25", [900]) == [500]
    assert aqi("o3", [0.3]) == [300]
    assert bands.beyond(np.array([325.49, 325.5]), SCALES["pm25"]).tolist() == [False, True]
    assert bands.grade(np.array([0, 900, NA]), SCALES["pm25"]).tolist() == [1, 6, 0]
    assert bands.grade(np.array([0.3]), SCALES["o3"]).tolist() == [5]


def test_truncation_keeps_what_has_the_digits():
    tenths, thousandths = np.arange(3254) / 10, np.arange(200) / 1000
    np.testing.assert_array_equal(bands.taken(tenths, SCALES["pm25"]), tenths)
    np.testing.assert_array_equal(bands.taken(thousandths, SCALES["o3"]), thousandths)
    np.testing.assert_array_equal(bands.taken(tenths + 0.0999, SCALES["pm25"]), tenths)


def test_surrogate_of_ozone_takes_the_newest_of_three_hours():
    hours = np.array([[0.01, 0.02, 0.03, 0.04], [0.01, 0.02, 0.03, NA], [0.01, 0.02, NA, NA], [0.01, NA, NA, NA]])
    found = nowcast.surrogate_o3(hours, 3)[:, 0]
    np.testing.assert_allclose(found, [0.0385, 0.03, 0.0215, NA], rtol=1e-12)


@pytest.mark.parametrize(("length", "need"), [(1, 1), (8, 6), (24, 18)])
def test_means_need_three_quarters(length, need):
    hours = np.arange(30.0)[None]
    assert nowcast.average(hours, 29, f"{length}h", "co")[0, 0] == pytest.approx(29 - (length - 1) / 2)
    hours[0, 30 - length : 30 - need] = np.nan
    assert nowcast.average(hours, 29, f"{length}h", "co")[0, 0] == pytest.approx(29 - (need - 1) / 2)
    hours[0, 30 - need] = np.nan
    assert np.isnan(nowcast.average(hours, 29, f"{length}h", "co")[0, 0])


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 70), st.integers(0, 2**32 - 1), st.data())
def test_cuts_do_not_matter_to_the_last_bit(stations, n, seed, data):
    rng = np.random.default_rng(seed)
    hours = rng.gamma(2, 25, (stations, n, 6)) * [1, 1, 1e-3, 1e-3, 1e-2, 1e-4]
    hours[rng.random(hours.shape) < 0.1] = np.nan
    table = data.draw(st.sampled_from([US_BY_SURROGATE, EU.table(), index("korea").table()]))
    whole = nowcast.rows(hours, 0, table)
    a, b = sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(1, n))))
    start = max(a - data.draw(st.integers(0, 5)) - nowcast.LOOKBACK + 1, 0)
    part = nowcast.rows(np.asfortranarray(hours[:, start:b]), a - start, table)
    assert list(part) == list(whole) == list(table.parameters)
    for parameter, row in part.items():
        for name in ("concentration", "index", "grade", "missing", "over_range", "exists"):
            assert getattr(row, name).tobytes() == getattr(whole[parameter], name)[:, a:b].tobytes()


# An index that came after the code: bands in its own unit, without numbers, one of them without an end.
EU = indices.parse(
    b"""
name = "eu"
title = "European air quality index"
grades = ["good", "fair", "moderate", "poor", "very poor", "extremely poor"]
default = "six-levels"
[[tables]]
version = "six-levels"
source = "a test"
[tables.parameters]
pm25 = { average = "24h", bands = [[0, 10], [10, 20], [20, 25], [25, 50], [50, 75], [75, inf]] }
o3 = { average = "8h", factor = 1995.7, digits = 0, bands = [[0, 50], [50, 100], [100, 130], [130, 240], [240, 380]] }
"""
)


def test_other_bands_are_a_file():
    hours = np.full((1, 24, 6), np.nan)
    hours[..., AIR.gridded.index("pm25")] = 22.0
    hours[..., AIR.gridded.index("o3")] = 0.0601  # 119.9 µg/m³
    hours[0, :6, AIR.gridded.index("pm25")] = np.nan
    made = nowcast.rows(hours, 23, EU.table())
    assert made["pm25"].grade.tolist() == [[3]]
    assert made["pm25"].missing.tolist() == [[6]]
    assert made["pm25"].index.tolist() == [[bands.NONE]]
    assert made["o3"].grade.tolist() == [[3]]
    scale = bands.bands_of(EU.table())
    assert bands.grade(np.array([10.0, 10.1, 75, 1e6, NA]), scale["pm25"]).tolist() == [1, 2, 5, 6, 0]
    assert not bands.beyond(np.array([1e6]), scale["pm25"]).any()
    assert bands.taken(np.array([0.0601]), scale["o3"]).tolist() == [120]
    assert bands.grade(np.array([380.4, 381.0]) / 1995.7, scale["o3"]).tolist() == [5, 5]
    assert bands.beyond(np.array([380.4, 381.0]) / 1995.7, scale["o3"]).tolist() == [False, True]


def test_what_lies_before_the_lookback_is_not_seen():
    assert nowcast.LOOKBACK == 24
    assert cai.LOOKBACK == 15


def test_c24e_of_a_gas_is_refused():
    with pytest.raises(ValueError, match="not for o3"):
        nowcast.average(np.zeros((1, 15)), 14, "c24e", "o3")
    assert nowcast.average(np.full((1, 15), 60.0), 14, "c24e", "pm25")[0, 0] == 52.5


def test_hours_missing_are_counted_behind_each_average():
    hours = np.full((1, 30, 6), 10.0)
    hours[0, 28] = np.nan
    hours[0, 2:12] = np.nan
    made = nowcast.rows(hours, 29, US_BY_SURROGATE)
    assert {name: row.missing.tolist() for name, row in made.items()} == {"pm25": [[1]], "pm10": [[1]], "o3": [[1]]}
    assert made["o3"].exists.tolist() == made["pm10"].exists.tolist() == [[True]]
    assert nowcast.HOURS == {
        "1h": 1,
        "8h": 8,
        "24h": 24,
        "c24e": 12,
        "nowcast_pm": 12,
        "surrogate_o3": 3,
        "nowcast_o3": 336,
    }


def test_two_weeks_of_missing_hours_are_counted():
    hours = np.full((2, 400, 6), np.nan)
    hours[0, 60:] = 0.03
    hours[0, 90::40] = np.nan
    made = nowcast.rows(hours, 399, US)["o3"]
    assert made.missing.tolist() == [[8], [336]]
    assert made.exists.tolist() == [[True], [False]]
    assert made.concentration[0, 0] == nowcast_o3.nowcast_o3(hours[:1, :, AIR.gridded.index("o3")], 399)[0, 0]


def test_ozone_may_be_given_from_hours_that_reach_back_further():
    hours = np.random.default_rng(3).gamma(2, 0.01, (2, 400, 6))
    whole = nowcast.rows(hours, 390, US)
    ozone = nowcast.averaged(hours[..., AIR.gridded.index("o3")], 390, "nowcast_o3", "o3")
    part = nowcast.rows(hours[:, -34:], 24, US, ozone)
    for parameter, row in part.items():
        for name in ("concentration", "index", "grade", "missing", "over_range", "exists"):
            assert getattr(row, name).tobytes() == getattr(whole[parameter], name).tobytes()
    other = nowcast.rows(hours[:, -34:], 24, US_BY_SURROGATE, ozone)["o3"]
    assert (other.concentration != part["o3"].concentration).all(), "given, but not asked for"
