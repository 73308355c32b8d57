"""Laws that every kernel of quality and means keeps. A new kernel is one line in ``KERNELS``."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from flows.analyses.quality import limits_of
from flows.kernels import quality, rolling
from flows.kernels.pm_ratio import pm25_above_pm10
from flows.kernels.temporal_tests import temporal_tests
from schemas.quality import Flag
from tests.support.cells import CITY, as_cells
from tests.support.running import trailing_windows

LIMITS = limits_of(CITY, 60)
SPANS = [np.array([getattr(p, name) for p in CITY.limits()]) for name in ("fail", "suspect")]


def values(n, *shape):
    """Values with gaps, jumps, zeros and flat stretches; none at all where n is 0."""
    x = np.round(np.random.default_rng(5).gamma(2, 20, (n, *shape)), 1)
    x[np.random.default_rng(6).random(x.shape) < 0.2] = np.nan
    x[n // 3 : n // 2] = 7.0
    x[n // 2 : n // 2 + 4] = 0.0
    return x


def whole(n, dtype=np.int64):
    """Whole numbers for n blocks of 2 stations."""
    return np.random.default_rng(8).integers(0, 9, (n, 2, 6)).astype(dtype)


class Kernel(NamedTuple):
    run: Callable
    arguments: Callable  # of a number of rows


KERNELS = {
    "judge": Kernel(
        quality.judge,
        lambda n: (
            np.asfortranarray(values(n, 8))[:, :6],
            np.zeros((n, 6), np.uint8) + np.arange(6, dtype=np.uint8),
            *SPANS,
        ),
    ),
    "temporal_tests": Kernel(temporal_tests, lambda n: (*as_cells(values(n, 2, 6)), 0, LIMITS)),
    "pm25_above_pm10": Kernel(pm25_above_pm10, lambda n: (whole(n), whole(n, np.uint8), 0, 0, 1, 1.1, 5.0)),
    "quantise": Kernel(rolling.quantise, lambda n: (np.nan_to_num(values(n, 6)),)),
    "windows_at": Kernel(
        lambda *a: trailing_windows(*a, (1, 6), 0).sum.T, lambda n: (whole(n), *(whole(n, np.uint8) for _ in range(3)))
    ),
    "mean": Kernel(rolling.mean, lambda n: (whole(n), whole(n, np.int32))),
    "coverage": Kernel(rolling.coverage, lambda n: (whole(n, np.int32), 5, 60)),
}


def arrays(arguments):
    return [
        a
        for argument in arguments
        for a in (argument if isinstance(argument, tuple) else (argument,))
        if isinstance(a, np.ndarray)
    ]


@pytest.fixture(params=KERNELS)
def kernel(request):
    return KERNELS[request.param]


def test_an_empty_slice_gives_an_empty_result(kernel):
    full, empty = kernel.run(*kernel.arguments(5)), kernel.run(*kernel.arguments(0))
    assert empty.shape == (0, *full.shape[1:])
    assert empty.dtype == full.dtype


def test_one_row_is_enough(kernel):
    assert len(kernel.run(*kernel.arguments(1))) == 1


def test_arguments_are_not_written_to(kernel):
    arguments = kernel.arguments(60)
    before = [a.copy() for a in arrays(arguments)]
    assert before
    for array in arrays(arguments):
        array.flags.writeable = False
    first = kernel.run(*arguments)
    for array, copy in zip(arrays(arguments), before, strict=True):
        np.testing.assert_array_equal(array, copy)
    np.testing.assert_array_equal(kernel.run(*arguments), first)


def test_a_result_is_the_callers_own(kernel):
    arguments = kernel.arguments(60)
    result = kernel.run(*arguments)
    assert not any(np.shares_memory(result, array) for array in arrays(arguments))


def test_how_arrays_lie_in_memory_does_not_matter(kernel):
    arguments = kernel.arguments(60)

    def scattered(argument):
        if not isinstance(argument, np.ndarray) or argument.shape[0] != 60:
            return argument
        return np.repeat(argument, 2, axis=0)[::2]

    for lay in (np.asfortranarray, np.ascontiguousarray):
        moved = [lay(a) if isinstance(a, np.ndarray) else a for a in arguments]
        np.testing.assert_array_equal(kernel.run(*moved), kernel.run(*arguments))
    np.testing.assert_array_equal(kernel.run(*map(scattered, arguments)), kernel.run(*arguments))


def test_nan_never_becomes_good():
    x = values(60, 6)
    flags = quality.judge(x, np.zeros((60, 6), np.uint8), *SPANS)
    assert ((flags == Flag.MISSING) == np.isnan(x)).all()
    nothing = quality.judge(
        np.full((60, 6), np.nan), np.arange(360, dtype=np.uint16).astype(np.uint8).reshape(60, 6), *SPANS
    )
    assert (nothing == Flag.MISSING).all()


def test_nan_is_never_found_and_never_counts():
    x = values(60, 2, 6)
    bits = temporal_tests(*as_cells(x), 0, LIMITS)
    assert not bits[np.isnan(x)].any()
    assert bits.any()
    assert not temporal_tests(*as_cells(np.full((60, 2, 6), np.nan)), 0, LIMITS).any()
    assert np.isnan(rolling.mean(np.zeros(3, np.int64), np.zeros(3, np.int32))).all()
