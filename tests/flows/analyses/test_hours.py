"""Hourly means against the cells of each hour, wherever the grid begins and ends."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.analyses.hours import hourly, hours_between, valid_hours
from flows.kernels.quality import ABOVE, BELOW
from flows.kernels.rolling import slot_mean
from flows.state.grid import Grid
from schemas.measured import AIR
from schemas.quality import Flag
from tests.support.grids import START, P, new_grid, put

NAMES = ("sums", "counts", "below", "above")
CO = AIR.gridded.index("co")


@given(st.integers(-500, 500), st.integers(-500, 500))
def test_hours_in_a_range(first, last):
    assert hours_between(first, last).tolist() == [slot for slot in range(first + 1, last + 1) if slot % 60 == 0]


def slow_hourly(grid, columns, slots, ended):
    """Mean and coverage of one hour from its cells; those that the grid does not hold are empty."""
    means, coverage = np.full((len(columns), P), np.nan), np.zeros((len(columns), P))
    if ended - 60 < grid.oldest:
        return means, coverage
    inside = [slot for slot in range(ended - 59, ended + 1) if slot <= grid.reach]
    for i, column in enumerate(columns):
        for p in range(P):
            cells = [[int(grid.layer(name, t, t)[0, column, p]) for name in NAMES] for t in inside]
            values = [slot_mean(total, count) for total, count, *_ in cells if count]
            coverage[i, p] = min(1.0, len(values) * slots / 60)
            count, below, above = (sum(of[k] for of in cells) for k in (1, 2, 3))
            if values and max(below, above) * 10 <= count + below + above:
                means[i, p] = sum(values) / (len(values) * 1e9)
    return means, coverage


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 10, 60]),
    st.sampled_from([[0, 1, 2], [2], [0, 2]]),
    st.sets(st.integers(-20, 320), min_size=1, max_size=6),
    st.sampled_from([60, 600]),
)
def test_means_and_coverage_are_those_of_the_cells(seed, slots, columns, ends, data_size):
    random = np.random.default_rng(seed)
    grid = Grid(AIR, list("abc"), 60, 60, spare=60)
    grid.move(START)
    n = data_size
    slot = random.integers(grid.oldest + 1, grid.reach + 1, n)
    flags = random.choice([Flag.GOOD] * 9 + [Flag.SUSPECT, Flag.FAIL, BELOW, ABOVE], (n, P)).astype(np.uint8)
    grid.add(random.integers(0, 3, n).astype(np.int32), slot, random.integers(-(10**12), 10**12, (n, P)), flags)
    ended = grid.oldest + np.array(sorted(ends))
    means, coverage = hourly(grid, np.array(columns), slots, ended)
    assert means.shape == coverage.shape == (ended.size, len(columns), P)
    for i, end in enumerate(ended.tolist()):
        expected = slow_hourly(grid, columns, slots, end)
        np.testing.assert_array_equal(means[i], expected[0])
        np.testing.assert_array_equal(coverage[i], expected[1])


@pytest.mark.parametrize(("minutes", "valid"), [(44, False), (45, True), (60, True)])
def test_an_hour_is_valid_from_three_quarters_on(minutes, valid):
    grid = new_grid(1)
    put(grid, [(0, minute, {"co": 2.0}) for minute in range(1, minutes + 1)])
    [[[*_, value, _]]] = valid_hours(grid, np.array([0]), 1, np.array([START + 60])).tolist()
    assert math.isnan(value) != valid
    assert hourly(grid, np.array([0]), 1, np.array([START + 60]))[0][0, 0, CO] == 2.0, "the mean itself is there"


def test_an_hour_that_the_grid_holds_in_part_is_not_there():
    grid = new_grid(1)
    first = grid.oldest - START
    put(grid, [(0, minute, {"co": 2.0}) for minute in range(first, first + 61)])
    ended = grid.oldest + np.array([59, 60])
    assert np.isnan(hourly(grid, np.array([0]), 1, ended)[0][:, 0, CO]).tolist() == [True, False]


def test_beyond_the_grid_there_is_nothing_more():
    grid = new_grid(1)
    last = grid.reach - START
    put(grid, [(0, minute, {"co": 2.0}) for minute in range(last - 49, last + 1)])
    ended = grid.reach + np.array([0, 5, 10, 11, 60, 1000])
    coverage = hourly(grid, np.array([0]), 1, ended)[1][:, 0, CO]
    assert (coverage * 60).tolist() == pytest.approx([50, 50, 50, 49, 0, 0])
