"""Rolling means against pandas and against Python's whole numbers."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels.rolling import QUANTUM, coverage, mean, prefix, quantise, trailing, windows
from schemas.city import LARGEST
from tests.support.recorded import DATA

SEOUL = DATA / "seoul" / "readings_2017.tsv.gz"
SECONDS_A_DAY = 86_400


@st.composite
def grids(draw):
    """Panes of whole numbers: sums, counts, filled and suspect slots, and windows over them."""
    shape = draw(st.integers(0, 30)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    sums = random.integers(-(2**62) // 40, 2**62 // 40, shape)
    counts, filled, suspect = (
        random.integers(0, 100, shape).astype(draw(st.sampled_from([np.int16, np.uint8, np.int64]))) for _ in range(3)
    )
    lengths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=4).map(tuple))
    return sums, counts, filled, suspect, lengths, draw(st.integers(0, shape[0]))


def by_end(totals):
    """Totals with their axes as blocks have them: (ends, lengths, S, P)."""
    return totals.transpose(3, 1, 2, 0)


@given(grids())
@settings(max_examples=100, deadline=None)
def test_windows_are_plain_sums(grid):
    *amounts, lengths, first = grid
    found = windows(*amounts, lengths, first)
    for amount, totals in zip(amounts, (found.sum, found.count, found.filled, found.suspect), strict=True):
        totals = by_end(totals)  # noqa: PLW2901
        assert totals.shape == (len(amount) - first, len(lengths), *amount.shape[1:])
        for b in range(first, len(amount)):
            for w, length in enumerate(lengths):
                expected = amount[max(b - length + 1, 0) : b + 1].astype(object).sum(axis=0)
                np.testing.assert_array_equal(totals[b - first, w].astype(object), expected)
    assert found.sum.dtype == np.int64
    assert {found.count.dtype, found.filled.dtype, found.suspect.dtype} == {np.dtype(np.int32)}


@given(grids(), st.data())
@settings(max_examples=100, deadline=None)
def test_where_a_slice_starts_does_not_matter(grid, data):
    *amounts, lengths, first = grid
    start = data.draw(st.integers(0, max(0, first - max(lengths) + 1)))
    end = data.draw(st.integers(first, len(amounts[0])))
    whole, part = windows(*amounts, lengths, first), windows(*(a[start:end] for a in amounts), lengths, first - start)
    np.testing.assert_array_equal(part.sum, whole.sum[..., : end - first])
    np.testing.assert_array_equal(part.count, whole.count[..., : end - first])
    np.testing.assert_array_equal(part.filled, whole.filled[..., : end - first])
    np.testing.assert_array_equal(part.suspect, whole.suspect[..., : end - first])


@pytest.mark.parametrize("sign", [1, -1])
def test_prefix_sums_may_wrap_around(sign):
    # A day at one value a second, each as large as any may be, by blocks of 10 minutes: 8.64e18 of 9.22e18.
    block = 600 * int(quantise(np.array([sign * LARGEST]))[0])
    days = 7
    sums = np.full((days * 144, 1, 1), block, np.int64)
    assert abs(block) * days * 144 > 2**63  # the prefix wraps several times
    assert abs(block) * 144 < 2**63
    some = np.full(sums.shape, 600)
    found = windows(sums, some, some, some, (1, 144), first=0)
    assert found.sum[0, :, 0, -1].tolist() == [block, 144 * block]
    assert found.count[0, 1, 0, -1] == SECONDS_A_DAY
    np.testing.assert_array_equal(mean(found.sum, found.count), np.full(found.sum.shape, sign * LARGEST))


def test_a_week_by_the_second_holds_up_to_15250_units():
    values = 7 * SECONDS_A_DAY
    assert values * 15_250 * 10**9 < 2**63
    block = int(quantise(np.array([15_250.0]))[0]) * 3600
    sums, some = np.full((24 * 14, 1, 1), block, np.int64), np.full((24 * 14, 1, 1), 3600)
    found = windows(sums, some, some, some, (7 * 24,), first=24 * 13)
    np.testing.assert_array_equal(mean(found.sum, found.count), np.full((1, 1, 1, 24), 15_250.0))


def by_pandas(values, length):
    """Mean over up to ``length`` rows of what is there, column by column."""
    frame = pd.DataFrame(values.reshape(len(values), -1))
    return frame.rolling(length, min_periods=1).mean().to_numpy().reshape(values.shape)


def assert_means_are_pandas(values, lengths):
    present = ~np.isnan(values)
    counts = present.astype(np.int16)
    found = windows(quantise(np.where(present, values, 0)), counts, counts, counts, lengths, first=0)
    means = mean(found.sum, found.count)
    for w, length in enumerate(lengths):
        np.testing.assert_allclose(by_end(means)[:, w], by_pandas(values, length), rtol=0, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("gaps", [0.0, 0.3, 0.95, 1.0])
def test_means_are_those_of_pandas(gaps):
    random = np.random.default_rng(7)
    values = np.round(random.gamma(2, 20, (400, 3, 6)), 3)
    values[random.random(values.shape) < gaps] = np.nan
    assert_means_are_pandas(values, (1, 6, 48, 144))


@pytest.mark.data("seoul/readings_2017.tsv.gz")
def test_means_of_a_month_of_seoul_are_those_of_pandas():
    table = pd.read_csv(SEOUL, sep="\t", header=None, na_values=["null"], parse_dates=[0])
    month = table[table[0].dt.strftime("%Y-%m") == "2017-05"].groupby([0, 1]).first()
    hours = pd.date_range("2017-05-01", "2017-05-31 23:00", freq="h")
    stations = month.index.unique(level=1)
    values = (
        month.reindex(pd.MultiIndex.from_product([hours, stations])).to_numpy().reshape(len(hours), len(stations), 6)
    )
    values[values < 0] = np.nan
    assert np.isfinite(values).sum() > 90_000
    assert_means_are_pandas(values, (1, 8, 24))


def test_one_more_value_changes_only_windows_that_hold_it():
    sums = np.zeros((10, 1, 1), np.int64)
    sums[4] = 5
    found = windows(sums, sums, sums, sums, (3,), first=2)
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


def test_prefix_and_trailing():
    sums = prefix(np.array([[1], [2], [3]], np.uint8), np.int32)
    assert sums.ravel().tolist() == [0, 1, 3, 6]
    assert trailing(sums, 2, first=1).ravel().tolist() == [3, 5]
    assert trailing(sums, 99, first=2).ravel().tolist() == [6]
    assert trailing(sums, 2, first=3).shape == (0, 1)
