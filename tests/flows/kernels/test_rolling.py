"""Rolling means against pandas and against Python's whole numbers."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels.rolling import QUANTUM, coverage, failures_at, mean, quantise, windows_at
from schemas.city import LARGEST
from tests.support.recorded import SEOUL, seoul_month
from tests.support.running import running_totals, trailing_windows

SECONDS_A_DAY = 86_400


@st.composite
def grids(draw):
    """Lines of cells: sums, counts, suspect values and what tests found; and which windows are wanted of them."""
    lines, stations, parameters = draw(st.integers(1, 70)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = lines, stations, parameters
    counts = random.integers(1, 61, shape).astype(np.uint8)
    counts[random.random(shape) < draw(st.sampled_from([0, 0.3, 0.9]))] = 0
    sums = np.where(counts, random.integers(-(2**62) // 40, 2**62 // 40, shape), 0)
    suspects = random.integers(0, counts + 1).astype(np.uint8)
    tests = np.where(random.random(shape) < 0.1, counts, 0).astype(np.uint8)
    longest = draw(st.integers(1, min(lines, 40)))
    lengths = draw(st.lists(st.integers(1, longest), max_size=4, unique=True))
    ends = draw(st.sets(st.integers(longest, lines + 15)) | st.just(set(range(longest, lines + 2))))
    columns = draw(st.lists(st.integers(0, stations - 1), max_size=4))
    return (sums, counts, suspects, tests), np.array(sorted(ends), int), np.array(lengths, int), np.array(columns, int)


def by_dictionary(cells, ends, lengths, columns):
    """Sums, counts, filled lines and suspect values of windows, cell by cell, in Python's whole numbers."""
    lines, stations, parameters = cells[0].shape
    held = {
        (line, s, p): tuple(int(layer[line, s, p]) for layer in cells)
        for line in range(lines)
        for s in range(stations)
        for p in range(parameters)
    }
    totals = np.zeros((4, parameters, len(lengths), len(columns), len(ends)), object)
    for p, k, s, e in np.ndindex(totals.shape[1:]):
        for line in range(ends[e] - lengths[k] + 1, ends[e] + 1):
            total, count, suspect, test = held.get((line, columns[s], p), (0, 0, 0, 0))
            mean_of_slot = (2 * total + count) // (2 * count) if count else total
            totals[:, p, k, s, e] += (mean_of_slot, count, int(count > 0), count if test else suspect)
    return totals


def assert_totals(windows, expected):
    for totals, sums in zip((windows.sum, windows.count, windows.filled, windows.suspect), expected, strict=True):
        assert totals.shape == sums.shape
        np.testing.assert_array_equal(totals.astype(object), sums)
    assert windows.sum.dtype == np.int64
    assert {windows.count.dtype, windows.filled.dtype, windows.suspect.dtype} == {np.dtype(np.int32)}


@given(grids(), st.integers(-(2**31), 2**31 - 1))
@settings(max_examples=300, deadline=None)
def test_windows_are_plain_sums(grid, offset):
    cells, ends, lengths, columns = grid
    windows = windows_at(running_totals(*cells, offset), cells, ends, lengths, columns)
    assert_totals(windows, by_dictionary(cells, ends, lengths, columns))


@given(grids(), st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_where_the_grid_begins_does_not_matter(grid, panes):
    cells, ends, lengths, columns = grid
    windows = windows_at(running_totals(*cells), cells, ends, lengths, columns)
    longer = tuple(np.concatenate([np.full((10 * panes, *c.shape[1:]), 3, c.dtype), c]) for c in cells)
    assert_totals(
        windows_at(running_totals(*longer), longer, ends + 10 * panes, lengths, columns),
        np.array([windows.sum, windows.count, windows.filled, windows.suspect], object),
    )


def test_one_end_is_that_of_many():
    random = np.random.default_rng(2)
    counts = random.integers(0, 3, (3000, 5, 6)).astype(np.uint8)
    cells = random.integers(0, 9, counts.shape) * counts, counts, counts // 2, (counts > 1) * np.uint8(4)
    running, lengths, columns = running_totals(*cells), np.array([10, 60, 480, 1440]), np.array([4, 0, 3])
    ends = np.arange(1440, 3000)
    many = windows_at(running, cells, ends, lengths, columns)
    for ended in (np.array([1440]), np.array([2999]), np.array([1447, 1450]), np.arange(1500, 3000, 10)):
        few = windows_at(running, cells, ended, lengths, columns)
        for name in ("sum", "count", "filled", "suspect"):
            np.testing.assert_array_equal(getattr(few, name), getattr(many, name)[..., ended - 1440])


@pytest.mark.parametrize(("ends", "lengths"), [([7, 6], [2]), ([5], [2, 6]), ([-1], []), ([-1, 3], [1])])
def test_ends_rise_and_windows_lie_on_the_grid(ends, lengths):
    cells = np.zeros((20, 1, 1), np.int64), *np.zeros((3, 20, 1, 1), np.uint8)
    with pytest.raises(ValueError, match="ends must rise, and windows begin on the grid"):
        windows_at(running_totals(*cells), cells, np.array(ends), np.array(lengths, int), np.array([0]))


@pytest.mark.parametrize("sign", [1, -1])
def test_running_totals_may_wrap_around(sign):
    # Three months of one value a second, each as large as any may be: 1.3e19 of 9.22e18.
    largest, days = int(quantise(np.array([sign * LARGEST]))[0]), 91
    assert abs(largest) * days * 1440 > 2**63, "running totals wrap"
    sums = np.full((days * 1440, 1, 1), 60 * largest, np.int64)
    counts = np.full(sums.shape, 60, np.uint8)
    found = trailing_windows(sums, counts, counts, counts, (10, 7 * 1440), first=0, every=7)
    assert found.sum[0, :, 0, -1].tolist() == [10 * largest, 7 * 1440 * largest]
    assert found.count[0, 1, 0, -1] == 7 * SECONDS_A_DAY
    np.testing.assert_array_equal(mean(found.sum, found.filled), np.full(found.sum.shape, sign * LARGEST))


def test_a_slot_weighs_once_whatever_it_holds():
    sums, counts = np.array([60 * 500, 5, 5, 5]).reshape(4, 1, 1), np.array([60, 1, 1, 1], np.uint8).reshape(4, 1, 1)
    found = trailing_windows(sums, counts, counts, counts, (4,), first=3)
    assert (found.sum.item(), found.count.item(), found.filled.item()) == (500 + 15, 63, 4)


@given(st.data())
@settings(deadline=None)
def test_failures_of_windows_are_sums_of_their_lines(data):
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    below, above = random.integers(0, 3, (2, 60, 3, 2)).astype(np.uint8)
    lengths = np.array(data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=3, unique=True)))
    ends = np.array(sorted(data.draw(st.sets(st.integers(30, 75), min_size=1, max_size=6))))
    columns = np.array(data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True)))
    for counted, lines in zip(failures_at(below, above, ends, lengths, columns), (below, above), strict=True):
        assert counted.shape == (2, lengths.size, columns.size, ends.size)
        for w, e in np.ndindex(lengths.size, ends.size):
            inside = lines[max(0, ends[e] - lengths[w] + 1) : ends[e] + 1, columns]
            np.testing.assert_array_equal(counted[:, w, :, e], inside.sum(axis=0, dtype=int).T)


def by_pandas(values, length):
    """Mean over up to ``length`` rows of what is there, column by column."""
    frame = pd.DataFrame(values.reshape(len(values), -1))
    return frame.rolling(length, min_periods=1).mean().to_numpy().reshape(values.shape)


def assert_means_are_pandas(values, lengths):
    present = ~np.isnan(values)
    counts = present.astype(np.uint8)
    found = trailing_windows(quantise(np.where(present, values, 0)), counts, counts, counts, lengths, first=0)
    means = mean(found.sum, found.filled).transpose(3, 1, 2, 0)
    for w, length in enumerate(lengths):
        np.testing.assert_allclose(means[:, w], by_pandas(values, length), rtol=0, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("gaps", [0.0, 0.3, 0.95, 1.0])
def test_means_are_those_of_pandas(gaps):
    random = np.random.default_rng(7)
    values = np.round(random.gamma(2, 20, (400, 3, 6)), 3)
    values[random.random(values.shape) < gaps] = np.nan
    assert_means_are_pandas(values, (1, 6, 48, 144))


@pytest.mark.data(SEOUL)
def test_means_of_a_month_of_seoul_are_those_of_pandas():
    values = seoul_month()
    assert np.isfinite(values).sum() > 90_000
    assert_means_are_pandas(values, (1, 8, 24))


def test_one_more_value_changes_only_windows_that_hold_it():
    sums, nothing = np.zeros((10, 1, 1), np.int64), np.zeros((10, 1, 1), np.uint8)
    sums[4] = 5
    found = trailing_windows(sums, nothing, nothing, nothing, (3,), first=2)
    assert found.sum[0, 0, 0].tolist() == [0, 0, 5, 5, 5, 0, 0, 0]


@given(st.floats(-LARGEST, LARGEST))
@settings(deadline=None)
def test_quantise_is_off_by_half_a_quantum_at_most(value):
    whole = int(quantise(np.array([value]))[0])
    assert abs(whole - Fraction(value) * 10**9) <= Fraction(51, 100)  # and what a float of 1e14 cannot hold
    assert float(mean(np.array([whole]), np.array([1]))[0]) == pytest.approx(value, abs=0.53 * QUANTUM)


def test_quantise_keeps_decimals():
    assert quantise(np.array([[0.1, 0.3], [2.675, -0.007]])).tolist() == [
        [100_000_000, 300_000_000],
        [2_675_000_000, -7_000_000],
    ]
    assert QUANTUM == 1e-9


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_quantise_refuses_what_is_no_number(value):
    with pytest.raises(FloatingPointError):
        quantise(np.array([1.0, value]))


def test_mean_of_nothing_is_missing():
    assert np.isnan(mean(np.array([0, 5]), np.array([0, 0]))).all()
    assert mean(np.array([[6_000_000_000]]), np.array([[4]], np.int32)).tolist() == [[1.5]]


@pytest.mark.parametrize(
    ("filled", "cadence", "length", "share"),
    [
        (45, 1, 60, 0.75),
        (44, 1, 60, 44 / 60),
        (60, 1, 60, 1.0),
        (61, 1, 60, 1.0),
        (0, 1, 60, 0.0),
        (2, 5, 10, 1.0),
        (1, 60, 1440, 1 / 24),
        (18, 60, 1440, 0.75),
        (5, 0, 10, 0.5),
    ],
)
def test_coverage(filled, cadence, length, share):
    assert coverage(np.array([filled], np.int32), cadence, length)[0] == share
