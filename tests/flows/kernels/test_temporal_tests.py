"""Tests of a value's own series against two plain oracles, however a range was cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.analyses.quality import limits_of
from flows.kernels.rolling import PER_UNIT, mean
from flows.kernels.temporal_tests import LOOKAHEAD, Limits, lookback, temporal_tests
from schemas.quality import Test
from tests.support.cells import CITY, as_cells
from tests.support.slow_surroundings import by_the_rules, slow_temporal_tests

CADENCES = (5, 7, 10, 15, 30, 60)
lengths = st.integers(3, 12) | st.integers(16, 45)


def signal(random, length, limits, p):
    """Quanta with everything that the tests look for, one stretch after another: at, above and below the limits."""
    spike, rate, flat, deviation = (limit[p] if 0 < limit[p] < np.inf else 1.0 for limit in limits[:4])
    series = np.empty(0, np.int64)
    while series.size < length:
        n = int(random.integers(1, 50))
        level = random.choice([0.0, 0.0, 1.0, 7.3, 40.0, -2.5, 1500.0, 99_000.0])
        noise = random.normal(0, deviation, n)
        near = random.choice([0.98, 1.0, 1.02])
        stretch = random.choice(
            [
                np.zeros(n),
                np.full(n, level),
                level + flat * near * random.integers(0, 2, n),
                level + random.choice([0.2, 0.9, 1.0, 1.1, 3.0, 30.0]) * noise,
                level + deviation * near * random.choice([-1.0, 1.0], n),
                level + deviation / 1000 * random.integers(-1600, 1600, n),
                level + random.choice([spike, rate]) * near * (np.arange(n) % 5 == 0),
                level + flat / 4 * (np.arange(n) // 4),
                random.uniform(0, 50 * deviation, n),
            ]
        )
        quanta = np.rint(stretch * PER_UNIT).astype(np.int64)
        series = np.concatenate([series, quanta + random.choice([0, 0, 1, -1]) * (quanta != 0)])
    return series[:length]


def cells_of(draw, limits, parameters, longest):
    """Sums and counts of cells, a tenth, a third or none of them missing, of one value each or of many."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    T, S = draw(st.integers(0, longest)), draw(st.integers(1, 2))
    sums = np.zeros((T, S, parameters), np.int64)
    for s in range(S):
        for p in range(parameters):
            sums[:, s, p] = signal(random, T, limits, p)
    counts = random.integers(1, draw(st.sampled_from([2, 2, 61])), sums.shape)
    counts[random.random(sums.shape) < draw(st.sampled_from([0, 0, 0.1, 0.3]))] = 0
    return sums * counts, counts.astype(draw(st.sampled_from([np.uint8, np.int64]))), draw(st.integers(0, T))


@st.composite
def cases(draw):
    """Cells, the first that is judged, and any limits."""
    parameters = draw(st.integers(1, 4))

    def each(*choices):
        chosen = st.lists(st.sampled_from(choices), min_size=parameters, max_size=parameters)
        return np.array(draw(chosen))

    limits = Limits(
        spike=each(np.inf, 2.0, 5.0, 0.1),
        rate_of_change=each(np.inf, 2.0, 5.0, 0.1),
        flat_line=each(0.0, 0.1, 1.0, 7.0, 1e-4, 1e-12),
        attenuated_signal=each(0.0, 0.5, 3e-4, 8.0, 1e-9, 1e-12, 1e4),
        flat_line_cells=draw(lengths),
        attenuated_signal_cells=draw(lengths),
        zeros_cells=draw(lengths),
    )
    return *cells_of(draw, limits, parameters, 150), limits


@st.composite
def city_cases(draw):
    """Cells, the first that is judged, and the usual limits at one of many cadences."""
    limits = limits_of(CITY, draw(st.sampled_from(CADENCES)))
    return *cells_of(draw, limits, 6, 400), limits


@given(cases() | city_cases())
@settings(max_examples=400, deadline=None)
def test_finds_what_slow_tests_find(case):
    sums, counts, first, limits = case
    bits = temporal_tests(sums, counts, first, limits)
    np.testing.assert_array_equal(bits, slow_temporal_tests(mean(sums, counts), first, limits))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_finds_what_slow_tests_find_by_the_minute(seed, kind):
    random, limits = np.random.default_rng(seed), limits_of(CITY, 1)
    sums = np.stack([np.stack([signal(random, 2400, limits, p) for p in range(6)], -1) for _ in range(2)], 1)
    sums[900:2000, 0] = sums[900, 0]
    sums[1000:2100, 1] = sums[1000, 1] + np.rint(2e8 * random.normal(0, 1, (1100, 6))).astype(np.int64)
    sums[1400:1650, :, 4:] = 0
    counts = (random.random(sums.shape) > 0.1).astype(kind)
    bits = temporal_tests(sums, counts, 719, limits)
    np.testing.assert_array_equal(bits, slow_temporal_tests(mean(sums, counts), 719, limits))
    assert all((bits & test).any() for test in Test if test is not Test.PM25_ABOVE_PM10)


def whole_signal(random, length):
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


@st.composite
def whole_cases(draw):
    """A slice of whole numbers, and limits."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    T, S = draw(st.integers(0, 150)), draw(st.integers(1, 2))
    x = np.empty((T, S, 6))
    for s in range(S):
        for p in range(6):
            x[:, s, p] = whole_signal(random, T) if T else 0
    x[random.random(x.shape) < draw(st.sampled_from([0, 0, 0.05, 0.3]))] = np.nan

    def six(*choices):
        return np.array(draw(st.lists(st.sampled_from(choices), min_size=6, max_size=6)))

    limits = Limits(
        spike=six(np.inf, 2.0, 5.0, 14.5),
        rate_of_change=six(np.inf, 2.0, 5.0, 30.0),
        flat_line=six(0.0, 0.5, 1.0, 2.0, 7.0),
        attenuated_signal=six(0.0, 0.4, 0.5, 1.0, 2.0, 8.0),
        flat_line_cells=draw(lengths),
        attenuated_signal_cells=draw(lengths),
        zeros_cells=draw(lengths),
    )
    return x, draw(st.integers(0, T)), limits


@given(whole_cases())
@settings(max_examples=200, deadline=None)
def test_finds_what_the_rules_say(case):
    x, first, limits = case
    start = max(first - lookback(limits), 0)
    # The oracle sees the lookback only: a result may depend on nothing before it.
    expected = by_the_rules(x[start:], first - start, limits)
    np.testing.assert_array_equal(temporal_tests(*as_cells(x), first, limits), expected)


@given(cases() | city_cases(), st.data())
@settings(max_examples=200, deadline=None)
def test_how_a_range_was_cut_does_not_matter(case, data):
    sums, counts, first, limits = case
    whole = temporal_tests(sums, counts, first, limits)
    cuts = sorted(data.draw(st.lists(st.integers(first, len(sums)), max_size=4)))
    parts = [whole[:0]]
    for a, b in zip([first, *cuts], [*cuts, len(sums)], strict=True):
        start = max(a - lookback(limits) - data.draw(st.integers(0, 5)), 0)
        seen = slice(start, b + LOOKAHEAD)
        parts.append(temporal_tests(sums[seen], counts[seen], a - start, limits)[: b - a])
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@given(cases())
@settings(max_examples=50, deadline=None)
def test_before_the_start_is_missing(case):
    sums, counts, first, limits = case
    more = lookback(limits)
    padded = [np.concatenate([np.zeros((more, *a.shape[1:]), a.dtype), a]) for a in (sums, counts)]
    np.testing.assert_array_equal(
        temporal_tests(sums, counts, first, limits), temporal_tests(*padded, first + more, limits)
    )


@pytest.mark.parametrize("kind", [np.int32, np.uint16, float])
def test_other_counts_are_refused(kind):
    limits = limits_of(CITY, 60)
    with pytest.raises(TypeError, match="No matching definition"):
        temporal_tests(np.zeros((3, 1, 6), np.int64), np.zeros((3, 1, 6), kind), 0, limits)
