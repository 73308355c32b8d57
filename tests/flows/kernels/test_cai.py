"""The Korean index: C24E, sub-indices and their sum, held against worked examples, official rows and a plain oracle."""

import csv
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels import bands, cai
from flows.resources import index
from schemas.measured import AIR
from tests.support.recorded import VECTORS

KOREA = index("korea")
TABLE, FOUR = KOREA.table("three-decimal"), KOREA.table("four-decimal")
SCALES = bands.bands_of(TABLE)
PUBLISHED = VECTORS / "airkorea_khai.csv"


def combine(table=TABLE, **inputs):
    """CAI of one set of inputs, as plain values."""
    row = np.array([inputs.get(parameter, np.nan) for parameter in AIR.gridded], float)
    made = cai.combine(row, bands.bands_of(table))
    return {
        "cai": int(made.cai),
        "grade": int(made.grade),
        "main": AIR.gridded[made.main] if made.main >= 0 else None,
        "added": int(made.added),
        "index": dict(zip(AIR.gridded, made.index.tolist(), strict=True)),
        "over_range": bool(made.over_range),
    }


def predict(hours, parameter):
    """C24E of the newest of these hours."""
    return cai.c24e(np.array([hours], float), len(hours) - 1, parameter).mean[0, 0]


# domain.md 2; then every branch and bound of the rule.
@pytest.mark.parametrize(
    ("parameter", "hours", "expected"),
    [
        ("pm25", [20] * 15, 20),
        ("pm25", [60] * 15, 52.5),
        ("pm25", [20] * 14 + [60], (280 / 12 + 30) / 2),
        ("pm25", [60] * 14 + [40], (700 / 12 + 43.75) / 2),
        ("pm25", [30, 32, 35, 38, 40, 42, 45, 50, 55, 58, 60, 62, 64, 66, 70], (650 / 12 + 49.125) / 2),
        ("pm10", [50] * 13 + [150, 300], (950 / 12 + 137.5) / 2),
        ("pm25", [29.9] * 15, 29.9),  # below 30 an hour counts whole
        ("pm25", [30] * 15, 26.25),  # at 30 it counts three quarters
        ("pm10", [69.9] * 15, 69.9),
        ("pm10", [70] * 15, 61.25),
        ("pm10", [60] * 15, 60),  # 30 is PM2.5's
        ("pm25", [10] * 11 + [100] * 4, (480 / 12 + 100) / 2),  # 2.5 to 5.7 times the mean: whole
        # 99 of a mean of 110 is 0.9 of it, 187 is 1.7 of it: both ends count three quarters.
        ("pm10", [111] * 14 + [99], ((111 * 11 + 99) / 12 + 0.75 * (111 * 3 + 99) / 4) / 2),
        ("pm10", [103] * 14 + [187], ((103 * 11 + 187) / 12 + 0.75 * (103 * 3 + 187) / 4) / 2),
        ("pm10", [111] * 14 + [98], ((111 * 11 + 98) / 12 + (0.75 * 111 * 3 + 98) / 4) / 2),
        ("pm10", [103] * 14 + [188], ((103 * 11 + 188) / 12 + (0.75 * 103 * 3 + 188) / 4) / 2),
    ],
)
def test_predicted_mean(parameter, hours, expected):
    assert predict(hours, parameter) == pytest.approx(expected, rel=1e-14)


def test_an_hour_is_held_against_its_own_mean():
    # 38 is 1.77 of the mean of its own hour, so it counts whole; of the newest hour's mean it is only 1.35.
    hours = [20.0] * 12 + [38, 60, 60]
    own, newest = sum(hours[1:13]) / 12, sum(hours[3:]) / 12
    assert 38 / own > 1.7 > 38 / newest
    assert predict(hours, "pm25") == pytest.approx((newest + (20 + 38 + 60 + 60) / 4) / 2)


@pytest.mark.parametrize(
    ("missing", "exists"),
    [
        ([], True),
        ([0], True),  # the newest itself
        ([0, 1], False),  # two of the last four
        ([2, 3], False),
        ([3, 4], True),
        ([4, 5, 6], True),
        ([3, 4, 5], True),  # nine of twelve, three of four
        ([4, 5, 6, 7], False),
        ([8, 9, 10, 11], False),
        ([4, 5, 6, 12, 13, 14], True),  # what lies before the twelve is no part of them
    ],
)
def test_hours_that_must_be_there(missing, exists):
    hours = np.full((1, 15), 20.0)
    hours[0, [14 - back for back in missing]] = np.nan
    made = cai.c24e(hours, 14, "pm25")
    assert made.missing[0, 0] == sum(back < 12 for back in missing)
    assert (made.mean[0, 0] == 20) if exists else np.isnan(made.mean[0, 0])


def test_missing_hours_are_left_out_of_the_means():
    hours = [np.nan, np.nan, 30, 10, 10, 10, 10, 10, 10, 10, 10, 10, np.nan, 40, 25]
    assert predict(hours, "pm25") == pytest.approx(((9 * 10 + 40 + 25) / 11 + (10 + 40 + 25) / 3) / 2)


def test_noise_below_zero_counts_as_zero_and_infinity_as_missing():
    assert predict([-4.0] * 15, "pm25") == 0
    assert predict([12.0] * 14 + [-4], "pm25") == predict([12.0] * 14 + [0], "pm25")
    assert predict([12.0] * 14 + [np.inf], "pm25") == 12


def oracle(hours, parameter):
    """C24E of the newest of 15 hours, as the rule reads."""
    hours = [None if not math.isfinite(h) else max(h, 0) for h in hours]
    turn = {"pm10": 70, "pm25": 30}[parameter]
    recent = []
    for i in range(11, 15):
        if hours[i] is not None:
            own = [h for h in hours[i - 11 : i + 1] if h is not None]
            ratio = Fraction(hours[i]) * len(own) / sum(map(Fraction, own)) if sum(own) else 0
            near = hours[i] >= turn and Fraction(9, 10) <= ratio <= Fraction(17, 10)
            recent.append(hours[i] * (0.75 if near else 1))
    last = [h for h in hours[3:] if h is not None]
    if len(last) < 9 or len(recent) < 3:
        return math.nan
    return (sum(last) / len(last) * 12 + sum(recent) / len(recent) * 12) / 24


pm = st.one_of(st.just(math.nan), st.floats(-5, 400), st.integers(0, 200).map(float))


@settings(deadline=None)
@given(st.lists(pm, min_size=15, max_size=15), st.sampled_from(["pm10", "pm25"]))
def test_predicted_mean_is_what_the_rule_says(hours, parameter):
    np.testing.assert_allclose(predict(hours, parameter), oracle(hours, parameter), rtol=1e-12, atol=1e-12)


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 60), st.integers(0, 2**32 - 1), st.data())
def test_cuts_do_not_matter_to_the_last_bit(stations, n, seed, data):
    rng = np.random.default_rng(seed)
    hours = rng.gamma(2, 25, (stations, n, 6)) * [1, 1, 1e-3, 1e-3, 1e-2, 1e-4]
    hours[rng.random(hours.shape) < 0.1] = np.nan
    whole = cai.rows(hours, 0, TABLE)
    a, b = sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(1, n))))
    back = data.draw(st.integers(0, 5)) + cai.LOOKBACK - 1
    start = max(a - back, 0)
    laid = data.draw(st.sampled_from([np.ascontiguousarray, np.asfortranarray, lambda x: np.repeat(x, 2, 0)[::2]]))
    part = cai.rows(laid(hours[:, start:b]), a - start, TABLE)
    for got, want in ((part.inputs, whole.inputs), (part.missing, whole.missing), (part.exists, whole.exists)):
        assert got.tobytes() == want[:, a:b].tobytes()
    for name in ("cai", "grade", "main", "added", "index", "over_range"):
        np.testing.assert_array_equal(getattr(part.result, name), getattr(whole.result, name)[:, a:b])


def test_one_hour_less_of_lookback_would_show():
    hours = np.full((1, 15), 60.0)
    hours[0, 0] = 2000.0  # 15 hours ago: only the mean of three hours ago holds it
    assert predict(hours[0], "pm25") != predict(hours[0, 1:], "pm25")


# domain.md 1.1: the ends of the bands have the ends of the index.
@pytest.mark.parametrize("table", [TABLE, FOUR])
@pytest.mark.parametrize("parameter", AIR.gridded)
def test_ends_of_bands(table, parameter):
    scale = bands.bands_of(table)[parameter]
    for (low, high), (start, top) in zip(table.parameters[parameter].bands, table.index, strict=True):
        assert bands.index(np.array([low, high]), scale).tolist() == [start, top]
        grade = table.index.index((start, top)) + 1
        assert bands.grade(np.array([low, high]), scale).tolist() == [grade, grade]


def test_the_numbers_of_the_tables():
    assert TABLE.index == FOUR.index == ((0, 50), (51, 100), (101, 250), (251, 500))
    assert {p: [high for _, high in scale.bands] for p, scale in TABLE.parameters.items()} == {
        "pm10": [30, 80, 150, 600],
        "pm25": [15, 35, 75, 500],
        "o3": [0.03, 0.09, 0.15, 0.6],
        "no2": [0.03, 0.06, 0.2, 2],
        "co": [2, 9, 15, 50],
        "so2": [0.02, 0.05, 0.15, 1],
    }
    for table, step in ((TABLE, 0.001), (FOUR, 0.0001)):
        steps = {"pm10": 1, "pm25": 1, "co": 0.01, "o3": step, "no2": step, "so2": step}
        for parameter, scale in table.parameters.items():
            assert scale.bands[0][0] == 0
            for (_, high), (low, _) in itertools.pairwise(scale.bands):
                assert low == pytest.approx(high + steps[parameter], abs=1e-12)
    assert [high for _, high in FOUR.parameters["o3"].bands] == [0.03, 0.09, 0.15, 0.6]


def test_between_two_bands_the_index_is_not_better_than_below():
    assert combine(o3=0.0301, no2=0.0301)["index"] == {**dict.fromkeys(AIR.gridded, -1), "o3": 50, "no2": 50}
    assert combine(o3=0.0901)["index"]["o3"] == 100


def test_dates_choose_the_table():
    day = FOUR.since
    assert KOREA.on(None) is TABLE
    assert KOREA.on(day) is FOUR
    assert KOREA.on(day.replace(year=day.year - 1)) is TABLE


# domain.md 1.2, the table of two versions: AirKorea's own values by date.
@pytest.mark.parametrize(
    ("o3", "three", "four"),
    [
        (0.031, 51, 52),
        (0.032, 52, 53),
        (0.035, 54, 55),
        (0.036, 55, 56),
        (0.037, 56, 57),
        (0.040, 58, 59),
        (0.042, 60, 61),
        (0.034, 53, 54),
        (0.0305, 51, 51),
    ],
)
def test_both_tables_of_ozone(o3, three, four):
    assert [combine(table, o3=o3)["index"]["o3"] for table in (TABLE, FOUR)] == [three, four]


def test_worked_examples():
    one = combine(so2=0.003, co=0.8, o3=0.012, no2=0.061, pm10=66, pm25=40)
    assert one["index"] == {"so2": 8, "co": 20, "o3": 20, "no2": 101, "pm10": 86, "pm25": 116}
    assert (one["cai"], one["grade"], one["main"], one["added"], one["over_range"]) == (166, 3, "pm25", 50, False)
    two = {"o3": 0.095, "no2": 0.01, "pm10": 90, "pm25": 60}
    assert combine(**two)["index"] == {"so2": -1, "co": -1, "o3": 111, "no2": 17, "pm10": 120, "pm25": 193}
    assert combine(FOUR, **two)["index"]["o3"] == 113
    assert (combine(**two)["cai"], combine(**two)["grade"], combine(**two)["added"]) == (268, 4, 75)
    three = combine(o3=0.01, no2=0.01, pm10=200, pm25=120)
    assert (three["index"]["pm10"], three["index"]["pm25"], three["cai"], three["main"]) == (278, 277, 328, "pm10")
    edges = {15: 50, 16: 51, 35: 100, 36: 101, 75: 250, 76: 251}
    assert {pm25: combine(pm25=pm25)["index"]["pm25"] for pm25 in edges} == edges


def test_a_tenth_of_halves_rounds_up():
    # 2.5 and 7.5 are meant, though no binary fraction is exactly 0.001 or 0.003; 288 gives 375.5.
    assert [combine(so2=so2)["index"]["so2"] for so2 in (0.001, 0.003, 0.005, 0.007, 0.011)] == [3, 8, 13, 18, 28]
    assert combine(pm25=288)["index"]["pm25"] == 376
    assert combine(so2=0.0009999)["index"]["so2"] == 2  # 2.49975


@pytest.mark.parametrize("missing", ["pm10", "pm25", "o3", "no2"])
def test_without_a_required_pollutant_there_is_none(missing):
    inputs = {"so2": 0.003, "co": 0.8, "o3": 0.012, "no2": 0.061, "pm10": 66, "pm25": 40}
    made = combine(**{**inputs, missing: np.nan})
    assert (made["cai"], made["grade"], made["main"], made["added"], made["index"][missing]) == (-1, 0, None, -1, -1)
    assert made["index"]["co"] == 20
    assert combine(**{**inputs, "so2": np.nan, "co": np.nan})["cai"] == 166
    assert combine(pm10=900)["over_range"]


@pytest.mark.parametrize(
    ("inputs", "added"),
    [
        ({}, 0),
        ({"pm25": 36}, 0),
        ({"pm25": 35, "pm10": 80, "o3": 0.09, "no2": 0.06, "co": 9, "so2": 0.05}, 0),  # all at index 100
        ({"pm25": 36, "pm10": 81}, 50),
        ({"co": 9.01, "so2": 0.051}, 50),  # the two that need not be there count too
        ({"pm25": 36, "pm10": 81, "o3": 0.091}, 75),
        ({"pm25": 36, "pm10": 81, "o3": 0.091, "no2": 0.061, "co": 9.01, "so2": 0.051}, 75),
    ],
)
def test_what_is_added(inputs, added):
    made = combine(**{"pm25": 5, "pm10": 5, "o3": 0.01, "no2": 0.01, **inputs})
    assert made["added"] == added
    assert made["cai"] == max(made["index"].values()) + added


def test_the_scale_ends_at_500():
    clean = {"o3": 0.01, "no2": 0.01, "pm25": 10}
    at_top, above = combine(pm10=600, **clean), combine(pm10=601, **clean)
    assert (at_top["cai"], at_top["over_range"]) == (500, False)
    assert (above["cai"], above["index"]["pm10"], above["over_range"], above["grade"]) == (500, 500, True, 4)
    added = combine(pm10=590, pm25=40, o3=0.01, no2=0.01)
    assert (added["cai"], added["added"], added["over_range"]) == (500, 50, True)
    assert added["index"]["pm10"] > 450
    exactly = combine(pm10=509, pm25=40, o3=0.01, no2=0.01)  # 449.5 rounds to 450, and 50 make 500
    assert (exactly["index"]["pm10"], exactly["cai"], exactly["over_range"]) == (450, 500, False)


@pytest.mark.parametrize("parameter", AIR.gridded)
def test_above_its_table_any_pollutant_is_over_range(parameter):
    top = TABLE.parameters[parameter].bands[-1][1]
    inputs = {"pm25": 5, "pm10": 5, "o3": 0.01, "no2": 0.01}
    assert not combine(**{**inputs, parameter: top})["over_range"]
    made = combine(**{**inputs, parameter: top + 1})
    assert (made["over_range"], made["index"][parameter], made["main"]) == (True, 500, parameter)


def test_ties_go_in_a_fixed_order():
    same = {"pm25": 15, "pm10": 30, "o3": 0.03, "no2": 0.03, "co": 2, "so2": 0.02}  # all 50
    for i, main in enumerate(cai.ORDER):
        less = dict.fromkeys(cai.ORDER[:i], 0.0)
        assert combine(**{**same, **less})["main"] == main
    assert cai.ORDER == ("pm25", "pm10", "o3", "no2", "co", "so2")


def test_pm_is_taken_in_whole_micrograms_and_noise_as_zero():
    assert [combine(pm25=x)["index"]["pm25"] for x in (15.499, 15.5, 52.5, -3)] == [50, 51, 166, 0]
    assert combine(no2=-0.01)["index"]["no2"] == 0


@pytest.mark.parametrize("table", [TABLE, FOUR])
@pytest.mark.parametrize("parameter", AIR.gridded)
def test_worse_air_never_gets_a_better_index(table, parameter):
    scale = bands.bands_of(table)[parameter]
    edges = np.array(table.parameters[parameter].bands).ravel()
    near = (edges[:, None] * (1 + np.linspace(-0.05, 0.05, 401))).ravel()
    values = np.sort(np.concatenate([near, edges, np.linspace(0, edges[-1] * 1.1, 5001)]))
    found = bands.index(values, scale)
    assert (np.diff(found) >= 0).all()
    assert set(found) >= {0, 50, 51, 100, 101, 250, 251, 500}
    assert (np.diff(bands.grade(values, scale)) >= 0).all()


def official():
    """Rows that AirKorea published, with an index or the note why they have none."""
    with PUBLISHED.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def displayed(row):
    """Inputs of a row as displayed, NaN for what is not."""
    names = {"pm10": "pm10_24", "pm25": "pm25_24"}
    return {p: float(row[names.get(p, p)] or "nan") for p in AIR.gridded}


def half_a_digit(text):
    return 0.5 * 10.0 ** -len(text.partition(".")[2])


def test_every_official_row_is_exact_or_explained():
    exact = explained = without = 0
    for row in official():
        inputs = displayed(row)
        if not row["khai"]:
            without += 1
            assert combine(**inputs)["cai"] == -1
        elif row["pm25_24"]:
            made = combine(**inputs)
            assert (made["cai"], made["grade"]) == (int(row["khai"]), int(row["khai_grade"])), row
            exact += 1
        else:  # C24E was not recorded; its own grades say PM did not lead
            gases = [p for p in AIR.gridded if p not in {"pm10", "pm25"}]
            ends = [combine(**{p: inputs[p] + sign * half_a_digit(row[p]) for p in gases})["index"] for sign in (-1, 1)]
            low, high = (max(end.values()) for end in ends)
            assert low <= int(row["khai"]) <= high, row
            explained += 1
    assert (exact, explained, without) == (13, 10, 2)


@pytest.mark.parametrize(
    ("inputs", "khai"),  # facts of official rows: so2, co, o3, no2, C24E of pm10 and pm25
    [
        ((0.003, 0.4, 0.010, 0.034, 40, 24), 72),
        ((0.003, 0.6, 0.020, 0.023, 60, 48), 147),
        ((0.002, 0.7, 0.017, 0.038, 68, 50), 154),  # 154.49
        ((0.004, 0.5, 0.015, 0.041, 34, 21), 68),
        ((0.003, 0.3, 0.066, 0.013, 31, 19), 80),
        ((0.0027, 0.43, 0.0212, 0.0292, 44, 27), 79),
        ((0.003, 0.8, 0.012, 0.061, 66, 40), 166),
    ],
)
def test_official_values(inputs, khai):
    assert combine(**dict(zip(("so2", "co", "o3", "no2", "pm10", "pm25"), inputs, strict=True)))["cai"] == khai


def test_rows_are_made_of_predicted_means_and_hours():
    hours = np.full((2, 16, 6), np.nan)
    hours[0] = [66, 40, 0.012, 0.061, 0.8, 0.003]
    hours[0, :, :2] = [[50, 20]] * 13 + [[150, 60]] * 2 + [[300, 60]]
    made = cai.rows(hours, 14, TABLE)
    assert made.inputs.shape == (2, 2, 6)
    assert made.exists.tolist() == [[True, True], [False, False]]
    assert made.inputs[0, 1, 0] == predict(hours[0, 1:, 0], "pm10")
    assert made.inputs[0, 1, 1] == predict(hours[0, 1:, 1], "pm25")
    assert made.inputs[0, 1, 2:].tolist() == [0.012, 0.061, 0.8, 0.003]
    assert made.missing.tolist() == [[[0, 0]] * 2, [[12, 12]] * 2]
    assert made.result.index[0, 0].tolist() == cai.combine(made.inputs[0, 0], SCALES).index.tolist()
    assert np.isnan(hours[1]).all()
    assert hours[0, 14, 0] == 150  # not written to


@pytest.mark.parametrize(("shape", "first"), [((0, 15, 6), 14), ((3, 0, 6), 0), ((3, 5, 6), 5), ((3, 5, 6), 2)])
def test_few_or_no_hours_give_few_or_no_rows(shape, first):
    hours = np.full(shape, 10.0)
    hours.flags.writeable = False
    made = cai.rows(hours, first, TABLE)
    asked = (shape[0], shape[1] - first)
    assert made.inputs.shape == made.result.index.shape == (*asked, 6)
    assert made.missing.shape == (*asked, 2)
    assert made.exists.shape == made.result.cai.shape == made.result.over_range.shape == asked
    assert made.exists.all()  # gases are there
    assert (made.result.cai == bands.NONE).all()
