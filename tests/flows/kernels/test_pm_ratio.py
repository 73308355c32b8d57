"""PM2.5 above PM10, case by case."""

import numpy as np
import pytest

from flows.kernels.pm_ratio import pm25_above_pm10
from tests.support.cells import as_cells

nan = np.nan


@pytest.mark.parametrize(
    ("pm10", "pm25", "above"),
    [
        (50, 60, False),
        (50, 60.001, True),
        (nan, 99, False),
        (50, nan, False),
        (0, 5, False),
        (0, 5.1, True),
        (2.3, 7.53, False),
        (2.3, 7.530001, True),
    ],
)
def test_pm25_above_pm10(pm10, pm25, above):
    x = np.full((3, 2, 5), 0.5)
    x[0] = 99.0
    x[2, 1, [3, 1]] = pm10, pm25
    expected = [[False, False], [False, above]]
    assert pm25_above_pm10(*as_cells(x), 1, 3, 1, 1.1, 5.0).tolist() == expected


def test_a_cell_is_the_mean_of_its_values():
    sums, counts = np.array([[[60, 130]]]) * 10**9, np.array([[[1, 2]]])
    assert not pm25_above_pm10(sums, counts, 0, 0, 1, 1.0, 5.0).any()
    assert pm25_above_pm10(sums, counts, 0, 0, 1, 1.0, 4.9).all()
