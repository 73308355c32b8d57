"""Tests of a value's own series case by case: PM10 of one station."""

import numpy as np
import pandas as pd
import pytest

from flows.kernels.temporal_tests import Limits, temporal_tests
from schemas.quality import Test
from tests.support.cells import as_cells, column

OFF = Limits(
    spike=np.full(6, np.inf),
    rate_of_change=np.full(6, np.inf),
    flat_line=np.zeros(6),
    attenuated_signal=np.zeros(6),
    flat_line_cells=3,
    attenuated_signal_cells=3,
    zeros_cells=3,
)
"""No test but zeros in a row."""


def bits(values, **changes):
    found = temporal_tests(*as_cells(column(*values)), 0, OFF._replace(**changes))
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
    assert temporal_tests(*as_cells(x), 1, spans)[:, 0, 0].tolist() == [Test.SPIKE | Test.RATE_OF_CHANGE] * 2 + [0]


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
    assert not temporal_tests(*as_cells(column(*x)), 0, spans).any()
    x = level + 1e-5 * random.choice([-1.0, 1.0], 1440)
    assert temporal_tests(*as_cells(column(*x)), 0, spans)[-1, 0, 0] == Test.ATTENUATED_SIGNAL


def test_a_wrapped_variance_is_not_small():
    # Two levels whose n Σq² - (Σq)² is exactly 2^64 units: nothing modulo 2^64.
    low, high, n = 0, 2**26, 128  # n²/4 × 2^52 = 2^64
    x = [float(low), float(high)] * (n // 2)
    spans = OFF._replace(attenuated_signal=only(0, 1000.0, others=0.0), attenuated_signal_cells=n)
    assert not temporal_tests(*as_cells(column(*x)), 0, spans).any()


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
    found = temporal_tests(*as_cells(x), 0, OFF._replace(spike=only(parameter, 5.0)))
    assert set(map(tuple, np.argwhere(found))) == {(1, 0, parameter), (1, 1, parameter)}
