"""Tests of the surroundings against a plain oracle, however a range was cut, and what near cells rule out."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels.nearby import NEAR, near, unsure
from flows.kernels.rolling import mean, quantise
from flows.kernels.surroundings import LOOKAHEAD, Limits, limits, lookback, surroundings
from schemas.quality import Test
from tests.flows.kernels.cells import CITY
from tests.support.recorded import DATA

SEOUL = DATA / "seoul" / "readings_2017.tsv.gz"


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


@pytest.mark.data("seoul/readings_2017.tsv.gz")
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


def as_cells(x):
    """Sums and counts of cells with one value each."""
    return quantise(np.nan_to_num(x)), ~np.isnan(x) * np.uint8(1)


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
    sums, counts = as_cells(x)
    found = surroundings(mean(sums, counts), first, spans).any(axis=(0, 2))
    for kind in (np.uint8, np.int64):
        some = unsure(sums[first - back :], counts[first - back :].astype(kind), back, spans)
        assert not (found & ~some).any()


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
    assert unsure(*as_cells(x), back, spans).tolist() == [False, True, True, True, True, True, True, False]


@pytest.mark.parametrize(("cells", "cadence", "wanted"), [(2, 60, 0), (1440, 1, 0), (100, 1, 0), (89, 1, 120)])
def test_near_cells_are_looked_at_where_little_is_judged(cells, cadence, wanted):
    assert near(limits(CITY, cadence), cells) == wanted
