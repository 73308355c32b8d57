"""Imputation of ozone's missing hours: by hand, and as its manual says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels import nowcast_o3 as o3
from tests.flows.kernels.epa_o3 import NA, plain_filled


def filled(window):
    return o3._imputed(np.array(window, float)).tolist()


def test_a_missing_hour_weighs_four_on_either_side_by_halves():
    one = [0.0] * 4 + [NA] + [16.0] + [0.0] * 6
    assert filled(one)[4] == pytest.approx(16 / 2 / (15 / 8))
    assert filled([9.0, 0, 0, 0, NA, 0, 0, 0, 16, 99, 99])[4] == pytest.approx(25 / 16 / (15 / 8))
    assert filled([3.0, NA, 6, 12]) == pytest.approx([3, (3 / 2 + 6 / 2 + 12 / 4) / (5 / 4), 6, 12])
    assert filled([1.0, 2, 3]) == [1, 2, 3]


def test_imputed_hours_are_not_imputed_from():
    assert filled([2.0, 2, 2, 2, NA, NA, 8, 8, 8, 8])[4:6] == pytest.approx(
        [(2 * 15 + 8 * 7) / 22, (8 * 15 + 2 * 7) / 22]
    )


def test_where_fewer_than_two_are_near_the_window_grows():
    begin = filled([NA] * 7 + [9.0, 3.0, 30.0, 0, 0, 0, 0])
    assert begin[:5] == pytest.approx([7] * 5)  # (2 * 9 + 3) / 3: two are enough, wherever they are
    assert begin[5] == pytest.approx((4 * 9 + 2 * 3 + 30) / 7)
    lone = filled([5.0] + [NA] * 7 + [9.0] + [NA] * 7 + [1.0, 1])
    assert lone[4] == pytest.approx(7)  # the middle between two at four hours
    assert lone[5] == pytest.approx((9 * 4 + 5) / 5)  # one at three, the other at five
    assert filled([NA] * 7 + [9.0] + [NA] * 7 + [3.0, 3])[0] == pytest.approx((9 * 256 + 3) / 257)  # seven and fifteen
    assert filled([3.0, 3] + [NA] * 7 + [9.0] + [NA] * 7)[-1] == pytest.approx((9 * 256 + 3) / 257)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 7)), min_size=1, max_size=12), st.booleans())
@settings(max_examples=60, deadline=None)
def test_imputation_is_as_its_manual_says(runs, first):
    window = [NA] * 3 * first + [float(v) for run, gap in runs for v in [*range(run, 0, -1)] + [NA] * gap] + [5.0, 2.0]
    assert filled(window) == pytest.approx(plain_filled(window), rel=1e-14)
