"""Tests of the surroundings against a plain oracle, case by case, and however a range was cut."""

from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels.surroundings import LOOKAHEAD, NEAR, Limits, limits, lookback, near, surroundings, unsure
from schemas.city import City, Identity, Parameter, Quality
from schemas.quality import Test
from schemas.reading import PARAMETERS

SEOUL = Path(__file__).resolve().parents[4] / "shared" / "data" / "seoul" / "readings_2017.tsv.gz"
CITY = City(city=Identity(id="tiny", name="Tiny", timezone="Asia/Seoul"), stations=[])
OFF = Limits(
    spike=np.full(6, np.inf),
    rate_of_change=np.full(6, np.inf),
    flat_line=np.zeros(6),
    attenuated_signal=np.zeros(6),
    flat_line_cells=3,
    attenuated_signal_cells=3,
    zeros_cells=3,
    pm25_ratio=1.1,
    pm25_offset=1e9,
)
"""No test but zeros in a row."""


def behind(x, cells):
    """Windows that end at each row, before the start missing: shape (T, ..., cells)."""
    padded = np.concatenate([np.full((cells - 1, *x.shape[1:]), np.nan), x])
    if not len(x):
        return np.empty((*x.shape, cells))
    return np.lib.stride_tricks.sliding_window_view(padded, cells, axis=0)


def oracle(x, first, limits):
    """Every test as it is written, over every window, on the whole slice."""
    nothing = np.full((1, *x.shape[1:]), np.nan)
    before, after = np.concatenate([nothing, x[:-1]]), np.concatenate([x[1:], nothing])

    def judged(cells):
        present = np.isfinite(behind(x, cells)).sum(axis=-1)
        return np.isfinite(x) & (present >= 3) & (present >= 0.75 * cells)

    def spread(cells):
        return np.fmax.reduce(behind(x, cells), axis=-1) - np.fmin.reduce(behind(x, cells), axis=-1)

    def quiet(cells):
        limit = limits.attenuated_signal
        q = np.rint(x / np.where(limit > 0, limit / 1000, 1))
        window = behind(q, cells)
        n = np.isfinite(window).sum(axis=-1)
        q = np.where(np.isfinite(window), window, 0).astype(np.int64)
        return (limit > 0) & (n * (q * q).sum(axis=-1) - q.sum(axis=-1) ** 2 < (1000 * n) ** 2)

    zeros_window = behind(x, limits.zeros_cells)
    zeros = judged(limits.zeros_cells) & ((zeros_window == 0) | np.isnan(zeros_window)).all(axis=-1)
    flat = judged(limits.flat_line_cells) & (spread(limits.flat_line_cells) < limits.flat_line)
    damped = judged(limits.attenuated_signal_cells) & quiet(limits.attenuated_signal_cells)

    above = np.zeros(x.shape, bool)
    above[..., :2] = (x[..., 1] > limits.pm25_ratio * x[..., 0] + limits.pm25_offset)[..., None]
    bits = (
        (np.abs(x - (before + after) / 2) > limits.spike) * int(Test.SPIKE)
        + (np.abs(x - before) > limits.rate_of_change) * int(Test.RATE_OF_CHANGE)
        + zeros * int(Test.ZEROS)
        + (flat & ~zeros) * int(Test.FLAT_LINE)
        + (damped & ~flat) * int(Test.ATTENUATED_SIGNAL)
        + above * int(Test.PM25_ABOVE_PM10)
    )
    return bits[first:].astype(np.uint8)


def signal(random, length):
    """Whole numbers with everything that the tests look for, one stretch after another."""
    parts = []
    while sum(map(len, parts)) < length:
        n, level = int(random.integers(1, 50)), int(random.choice([0, 1, 7, 40, 1500]))
        parts.append(
            random.choice(
                [
                    np.zeros(n),
                    np.full(n, level),
                    level + random.integers(0, 2, n),
                    level + random.integers(-3, 4, n),
                    random.integers(0, 60, n),
                    level + (np.arange(n) == n // 2) * 30,
                    level + np.arange(n) // 4,
                ],
            )
            if n > 1
            else np.array([level])
        )
    return np.concatenate(parts)[:length].astype(float)


cells = st.integers(3, 12) | st.integers(16, 45)


@st.composite
def cases(draw):
    """A slice of whole numbers, and limits."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    T, S = draw(st.integers(0, 150)), draw(st.integers(1, 2))
    x = np.empty((T, S, 6))
    for s in range(S):
        for p in range(6):
            x[:, s, p] = signal(random, T) if T else 0
    x[random.random(x.shape) < draw(st.sampled_from([0, 0, 0.05, 0.3]))] = np.nan

    def six(*choices):
        return np.array(draw(st.lists(st.sampled_from(choices), min_size=6, max_size=6)))

    spans = Limits(
        spike=six(np.inf, 2.0, 5.0, 14.5),
        rate_of_change=six(np.inf, 2.0, 5.0, 30.0),
        flat_line=six(0.0, 0.5, 1.0, 2.0, 7.0),
        attenuated_signal=six(0.0, 0.4, 0.5, 1.0, 2.0, 8.0),
        flat_line_cells=draw(cells),
        attenuated_signal_cells=draw(cells),
        zeros_cells=draw(cells),
        pm25_ratio=draw(st.sampled_from([1.0, 1.5])),
        pm25_offset=draw(st.sampled_from([0.0, 5.0])),
    )
    return x, draw(st.integers(0, T)), spans


@given(cases())
@settings(max_examples=200, deadline=None)
def test_finds_what_the_rules_say(case):
    x, first, spans = case
    start = max(first - lookback(spans), 0)
    # The oracle sees the lookback only: a result may depend on nothing before it.
    expected = oracle(x[start:], first - start, spans)
    np.testing.assert_array_equal(surroundings(x, first, spans), expected)


@given(cases(), st.data())
@settings(max_examples=100, deadline=None)
def test_how_a_range_was_cut_does_not_matter(case, data):
    x, first, spans = case
    whole = surroundings(x, first, spans)
    cuts = sorted(data.draw(st.lists(st.integers(first, len(x)), max_size=4)))
    parts = [whole[:0]]
    for a, b in zip([first, *cuts], [*cuts, len(x)], strict=True):
        start = max(a - lookback(spans) - data.draw(st.integers(0, 5)), 0)
        parts.append(surroundings(x[start : b + LOOKAHEAD], a - start, spans)[: b - a])
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@given(cases())
@settings(max_examples=50, deadline=None)
def test_before_the_start_is_missing(case):
    x, first, spans = case
    padded = np.concatenate([np.full((lookback(spans), *x.shape[1:]), np.nan), x])
    np.testing.assert_array_equal(surroundings(x, first, spans), surroundings(padded, first + lookback(spans), spans))


@pytest.mark.skipif(
    not SEOUL.exists(), reason="the Seoul readings lie beside the repository only where it is developed"
)
def test_a_month_of_seoul_with_the_limits_of_a_city_file():
    table = pd.read_csv(SEOUL, sep="\t", header=None, na_values=["null"], parse_dates=[0])
    month = table[table[0].dt.strftime("%Y-%m") == "2017-05"].groupby([0, 1]).first()
    hours = pd.date_range("2017-05-01", "2017-05-31 23:00", freq="h")
    stations = month.index.unique(level=1)
    x = month.reindex(pd.MultiIndex.from_product([hours, stations])).to_numpy().reshape(len(hours), len(stations), 6)
    x = x[..., [4, 5, 3, 1, 2, 0]]  # so2 no2 co o3 pm10 pm25 of the file, in our order
    x[x < 0] = np.nan
    spans = limits(CITY, 60)
    found = surroundings(x, 24, spans)
    # The oracle works in binary; decimals at a limit are kept off it by half a quantum.
    wider = spans._replace(spike=spans.spike + 5e-10, rate_of_change=spans.rate_of_change + 5e-10)
    wider = wider._replace(flat_line=np.maximum(spans.flat_line - 5e-10, 0), pm25_offset=spans.pm25_offset + 5e-10)
    np.testing.assert_array_equal(found, oracle(x, 24, wider))
    assert all((found & test).any() for test in Test if test is not Test.ATTENUATED_SIGNAL)


def test_a_day_by_the_minute_with_the_limits_of_a_city_file():
    random = np.random.default_rng(11)
    T, scale = 1400, np.array([8, 4, 0.005, 0.004, 0.1, 0.001])
    walk = np.cumsum(random.normal(0, 0.05, (T, 1, 6)), axis=0)
    x = 5 * scale + scale * (walk + random.normal(0, 0.1, (T, 1, 6)))
    x[random.random(x.shape) < 0.05] = np.nan
    x[500:1000, 0, 0] = 41.0  # stuck
    x[400:1300, 0, 1] = 30 + random.normal(0, 0.2, 900)  # damped
    x[1050:1060, 0, 0] = 9.0  # below PM2.5
    x[600:900, 0, 2] = 0.0
    x[749:752, 0, 3] = 0.02, 0.52, 0.02
    x[1398:, 0, 5] = 0.005, 0.5  # the last cell may be a step, not yet a spike
    spans = limits(CITY, 1)
    first = lookback(spans)
    found = surroundings(x, first, spans)
    np.testing.assert_array_equal(found, oracle(x, first, spans))
    assert all((found & test).any() for test in Test)
    assert found[-1, 0, 5] == Test.RATE_OF_CHANGE


# --- case by case: PM10 of one station -------------------------------------------------------------------------------


def column(*values, parameter=0):
    x = np.full((len(values), 1, 6), np.nan)
    x[:, 0, parameter] = values
    return x


def bits(values, **changes):
    found = surroundings(column(*values), 0, OFF._replace(**changes))
    assert not found[:, 0, 1:].any()
    return found[:, 0, 0].tolist()


def only(parameter, limit, others=np.inf):
    array = np.full(6, others)
    array[parameter] = limit
    return array


nan = np.nan


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((10, 16, 10), [0, 1, 0]),
        ((10, 15, 10), [0, 0, 0]),  # exactly the limit
        ((10, 4, 10), [0, 1, 0]),
        ((10, 20, 30), [0, 0, 0]),  # a ramp, however steep
        ((10, 10, 22, 22), [0, 1, 1, 0]),
        ((nan, 90, 10), [0, 0, 0]),
        ((10, 90, nan), [0, 0, 0]),
        ((10, 90), [0, 0]),
        ((10, nan, 10), [0, 0, 0]),
    ],
)
def test_spike(values, expected):
    assert bits(values, spike=only(0, 5.0)) == [Test.SPIKE * e for e in expected]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((10, 16, 10), [0, 1, 1]),
        ((10, 15, 10), [0, 0, 0]),
        ((90, 10), [0, 1]),
        ((90, nan, 10), [0, 0, 0]),
        ((10,), [0]),
    ],
)
def test_rate_of_change(values, expected):
    assert bits(values, rate_of_change=only(0, 5.0)) == [Test.RATE_OF_CHANGE * e for e in expected]


def test_the_cell_before_the_first_is_seen():
    x = column(10, 90, 10, 10)
    spans = OFF._replace(spike=only(0, 5.0), rate_of_change=only(0, 5.0))
    assert surroundings(x, 1, spans)[:, 0, 0].tolist() == [Test.SPIKE | Test.RATE_OF_CHANGE] * 2 + [0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((7, 7, 7, 7), [0, 0, 1, 1]),  # three values are enough for a window of four
        ((7, 8, 7, 8), [0, 0, 1, 1]),
        ((7, 9, 7, 8), [0, 0, 0, 0]),  # the range reaches the tolerance
        ((9, 7, 7, 7, 7), [0, 0, 0, 0, 1]),
        ((7, nan, 7, 7), [0, 0, 0, 1]),
        ((7, nan, nan, 7, 7), [0, 0, 0, 0, 0]),
        ((7, 7, 7, nan), [0, 0, 1, 0]),
    ],
)
def test_flat_line(values, expected):
    found = bits(values, flat_line=only(0, 2.0, others=0.0), flat_line_cells=4)
    assert found == [Test.FLAT_LINE * e for e in expected]


@pytest.mark.parametrize(("cells", "fewest"), [(3, 3), (4, 3), (5, 4), (12, 9), (13, 10), (360, 270)])
@pytest.mark.parametrize("missing_at", ["start", "middle"])
def test_a_window_needs_three_quarters_of_its_values(cells, fewest, missing_at):
    for present, flag in ((fewest, Test.FLAT_LINE), (fewest - 1, 0)):
        x = np.full(cells, 7.0)
        gap = cells - present
        x[:gap] = nan
        x = np.roll(x, {"start": 0, "middle": (cells - gap) // 2}[missing_at])
        x = [3.0, *x]  # what is just before the window is not in it
        assert bits(x, flat_line=only(0, 1.0, others=0.0), flat_line_cells=cells)[-1] == flag


def test_attenuated_signal():
    quiet = [7.0, 8.0] * 4  # standard deviation 0.5
    off = {"attenuated_signal_cells": 8, "flat_line": only(0, 1.0, others=0.0)}
    assert bits(quiet, attenuated_signal=only(0, 0.5, others=0.0), **off)[-1] == 0
    assert bits(quiet, attenuated_signal=only(0, 0.501, others=0.0), **off)[-1] == Test.ATTENUATED_SIGNAL
    assert bits(quiet, attenuated_signal=only(0, 0.499, others=0.0), **off)[-1] == 0


@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_attenuated_signal_is_the_populations_standard_deviation(gaps):
    random = np.random.default_rng(4)
    x = 80 + random.normal(0, 1, 4000) * np.repeat(random.gamma(2, 0.4, 40), 100)
    x[random.random(4000) < gaps] = nan
    found = bits(x, attenuated_signal=only(0, 0.5, others=0.0), attenuated_signal_cells=100)
    windows = pd.Series(x).rolling(100, min_periods=75)
    expected, std = np.zeros(4000, np.uint8), windows.std(ddof=0).to_numpy()
    expected[(std < 0.5) & np.isfinite(x)] = Test.ATTENUATED_SIGNAL
    clear = ~(np.abs(std - 0.5) < 0.001)
    assert clear.mean() > 0.98
    assert 0.1 < (expected > 0).mean() < 0.9
    np.testing.assert_array_equal(np.array(found)[clear], expected[clear])


def test_a_flat_line_is_not_called_attenuated_too():
    changes = {"attenuated_signal": only(0, 5.0, others=0.0), "flat_line": only(0, 1.0, others=0.0)}
    assert bits([7.0] * 5, **changes) == [0, 0] + [Test.FLAT_LINE] * 3
    assert bits([0.0] * 5, **changes) == [0, 0] + [Test.ZEROS] * 3


@pytest.mark.parametrize("swing", [1.0, 300.0, 9e4])
@pytest.mark.parametrize("level", [0.0, 1500.0, -99_000.0])
def test_a_lively_signal_is_not_attenuated_wherever_it_lives(level, swing):
    random = np.random.default_rng(3)
    x = np.clip(level + swing * random.choice([-1.0, 1.0], 1440), -1e5, 1e5)
    spans = OFF._replace(attenuated_signal=only(0, 1e-4, others=0.0), attenuated_signal_cells=1440)
    assert not surroundings(column(*x), 0, spans).any()
    x = level + 1e-5 * random.choice([-1.0, 1.0], 1440)
    assert surroundings(column(*x), 0, spans)[-1, 0, 0] == Test.ATTENUATED_SIGNAL


def test_a_wrapped_variance_is_not_small():
    # Two levels whose n Σq² - (Σq)² is exactly 2^64 units: nothing modulo 2^64.
    low, high, n = 0, 2**26, 128  # n²/4 × 2^52 = 2^64
    x = [float(low), float(high)] * (n // 2)
    spans = OFF._replace(attenuated_signal=only(0, 1000.0, others=0.0), attenuated_signal_cells=n)
    assert not surroundings(column(*x), 0, spans).any()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0, 0, 0, 0), [0, 0, 1, 1]),
        ((0, -0.0, 0), [0, 0, 1]),
        ((1, 0, 0, 0, 0, 1), [0, 0, 0, 0, 1, 0]),
        ((0, nan, 0, 0), [0, 0, 0, 1]),
        ((0, nan, nan, 0, 0), [0, 0, 0, 0, 0]),
        ((1e-9, 0, 0, 0), [0, 0, 0, 0]),
        ((-1, 1, -1, 1), [0, 0, 0, 0]),  # they sum to zero, and are none
    ],
)
def test_zeros(values, expected):
    assert bits(values, zeros_cells=4) == [Test.ZEROS * e for e in expected]


@pytest.mark.parametrize(
    ("pm10", "pm25", "found"),
    [
        (50, 60, 0),
        (50, 60.001, 1),
        (nan, 99, 0),
        (50, nan, 0),
        (0, 5, 0),
        (0, 5.1, 1),
        (2.3, 7.53, 0),
        (2.3, 7.530001, 1),
    ],
)
def test_pm25_above_pm10(pm10, pm25, found):
    x = np.full((1, 2, 6), 0.5)
    x[0, 1, :2] = pm10, pm25
    spans = OFF._replace(pm25_offset=5.0)
    expected = np.zeros((1, 2, 6))
    expected[0, 1, :2] = found * int(Test.PM25_ABOVE_PM10)
    np.testing.assert_array_equal(surroundings(x, 0, spans), expected)


@pytest.mark.parametrize("level", [0.1, 1.1, 10.0, 20.0, 20.1, 123.4, 700.2, 1999.9])
def test_decimals_at_a_limit_are_neither_above_nor_below(level):
    a, b = round(level, 1), round(level + 0.1, 1)
    assert bits([a, b, a, b], flat_line=only(0, 0.1, others=0.0)) == [0] * 4
    assert bits([a, b, a, b], rate_of_change=only(0, 0.1), spike=only(0, 0.1)) == [0] * 4
    assert bits([a, b, a, b], rate_of_change=only(0, 0.099999), spike=only(0, 0.099999)) == [0, 3, 3, 2]
    assert bits([a, b, a, b], flat_line=only(0, 0.100001, others=0.0)) == [0, 0] + [Test.FLAT_LINE] * 2


def test_the_smallest_tolerance_still_finds_what_is_equal():
    assert bits([7.0] * 3, flat_line=only(0, 1e-12, others=0.0)) == [0, 0, Test.FLAT_LINE]


@pytest.mark.parametrize("parameter", range(6))
def test_each_parameter_has_its_own_limit(parameter):
    x = np.tile(np.array([10.0, 20.0, 10.0])[:, None, None], (1, 2, 6))
    found = surroundings(x, 0, OFF._replace(spike=only(parameter, 5.0)))
    assert set(map(tuple, np.argwhere(found))) == {(1, 0, parameter), (1, 1, parameter)}


# --- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cadence", "flat", "attenuated", "zeros"), [(1, 360, 720, 180), (5, 72, 144, 36), (7, 51, 102, 25), (60, 6, 12, 3)]
)
def test_lengths_in_cells(cadence, flat, attenuated, zeros):
    spans = limits(CITY, cadence)
    assert (spans.flat_line_cells, spans.attenuated_signal_cells, spans.zeros_cells) == (flat, attenuated, zeros)
    assert lookback(spans) == attenuated - 1


def test_no_window_is_shorter_than_three_cells():
    short = Quality(flat_line_length="1h", attenuated_signal_length="2h", zeros_length="10m")
    spans = limits(msgspec.structs.replace(CITY, quality=short), 60)
    assert (spans.flat_line_cells, spans.attenuated_signal_cells, spans.zeros_cells) == (3, 3, 3)
    assert lookback(spans) == 2


def test_a_limit_left_out_or_zero_is_a_test_not_made():
    quiet = Parameter(unit="ppm", fail=(0, 1), suspect=(0, 1), spike=0, rate_of_change=None, flat_line=0)
    city = msgspec.structs.replace(CITY, parameters={"o3": quiet})
    spans, o3 = limits(city, 1), PARAMETERS.index("o3")
    assert spans.spike[o3] == spans.rate_of_change[o3] == np.inf
    assert spans.flat_line[o3] == spans.attenuated_signal[o3] == 0
    x = column(*[0.5] * 400, 0.9, *[0.5] * 400, parameter=o3)
    assert not surroundings(x, 0, spans).any()


def test_limits_are_those_of_the_city_file():
    pm10 = Parameter(
        unit="µg/m³", fail=(0, 9), suspect=(0, 9), spike=1, rate_of_change=2, flat_line=3, attenuated_signal=4
    )
    quality = Quality(
        flat_line_length="1h", attenuated_signal_length="2h", zeros_length="30m", pm25_over_pm10=(1.2, 7.0)
    )
    spans = limits(msgspec.structs.replace(CITY, parameters={"pm10": pm10}, quality=quality), 1)
    assert [limit[0] for limit in spans[:4]] == [1, 2, 3, 4]
    assert spans[4:] == (60, 120, 30, 1.2, 7.0)


@given(cases(), st.data())
@settings(max_examples=300, deadline=None)
def test_what_near_cells_rule_out_is_not_found(case, data):
    x, first, spans = case
    few = data.draw(st.integers(1, 3))
    shared = min(spans.flat_line_cells, spans.attenuated_signal_cells) - few
    if first < 1 or first + few > len(x) or shared < 1:
        return
    x = x[: first + few]
    back = data.draw(st.integers(1, min(shared, first)))
    found = surroundings(x, first, spans).any(axis=(0, 2))
    assert not (found & ~unsure(x[first - back :], back, spans)).any()


def test_lively_air_is_ruled_out_and_each_finding_is_not():
    spans = limits(CITY, 1)
    back = near(spans, 2)
    assert 0 < back == NEAR
    usual = np.array([40.0, 20.0, 0.03, 0.02, 0.5, 0.003])
    x = np.random.default_rng(1).normal(usual, usual / 5, (back + 2, 8, 6))
    pm10, pm25 = x[..., 0], x[..., 1]
    np.maximum(pm10, pm25, out=pm10)
    pm10[-1, 1] = 900.0  # a jump
    pm25[-2, 2] = 0.0  # perhaps zeros in a row
    pm25[:, 3] = 20.0  # a flat line
    pm10[:, 4] = 40 + 0.3 * (np.arange(back + 2) % 2)  # moves, but hardly
    pm25[-1, 5] = 1.2 * pm10[-1, 5] + 10  # PM2.5 above PM10
    pm10[:-2, 6] = np.nan  # nothing near says anything
    x[-2:, 7, 2] = np.nan  # what is missing is not judged
    x[:-2, 7, 2] = 0.03
    assert unsure(x, back, spans).tolist() == [False, True, True, True, True, True, True, False]


@pytest.mark.parametrize(("cells", "cadence", "wanted"), [(2, 60, 0), (1440, 1, 0), (100, 1, 0), (89, 1, 120)])
def test_near_cells_are_looked_at_where_little_is_judged(cells, cadence, wanted):
    assert near(limits(CITY, cadence), cells) == wanted
