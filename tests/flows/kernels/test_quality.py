"""Gross range and status against a plain loop, and the table of cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flows.kernels.quality import judge
from schemas.city import DEFAULT_PARAMETERS, LARGEST
from schemas.measured import AIR
from schemas.quality import FAIL_STATUS, Flag

FAIL = np.array([DEFAULT_PARAMETERS[name].fail for name in AIR.gridded])
SUSPECT = np.array([DEFAULT_PARAMETERS[name].suspect for name in AIR.gridded])
PM10 = AIR.gridded.index("pm10")

edges = sorted({*FAIL.ravel(), *SUSPECT.ravel()})
near = [float(np.nextafter(edge, way)) for edge in edges for way in (-np.inf, np.inf)]
value = st.sampled_from([*edges, *near, np.nan, np.inf, -np.inf, 0.0, -0.0]) | st.floats(-2100, 2100)
code = st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5, 8, 9, 10, 255])


def plain(value, status, fail, suspect):
    """One value, as the rule is written."""
    if np.isnan(value):
        return Flag.MISSING
    if not np.isfinite(value) or not fail[0] <= value <= fail[1] or status in {2, 4, 8, 9}:
        return Flag.FAIL
    if not suspect[0] <= value <= suspect[1] or status != 0:
        return Flag.SUSPECT
    return Flag.GOOD


@given(
    st.integers(0, 12).flatmap(
        lambda n: st.tuples(arrays(float, (n, 6), elements=value), arrays(np.uint8, (n, 6), elements=code))
    )
)
@settings(max_examples=200, deadline=None)
def test_judges_as_the_rule_is_written(drawn):
    values, status = drawn
    expected = [[plain(values[i, p], status[i, p], FAIL[p], SUSPECT[p]) for p in range(6)] for i in range(len(values))]
    np.testing.assert_array_equal(judge(values, status, FAIL, SUSPECT), np.array(expected, np.uint8).reshape(-1, 6))


@pytest.mark.parametrize(
    ("pm10", "status", "flag"),
    [
        (-5.0, 0, Flag.GOOD),
        (800.0, 0, Flag.GOOD),
        (np.nextafter(800, np.inf), 0, Flag.SUSPECT),
        (2000.0, 0, Flag.SUSPECT),
        (np.nextafter(2000, np.inf), 0, Flag.FAIL),
        (np.nextafter(-5, -np.inf), 0, Flag.FAIL),
        (np.inf, 0, Flag.FAIL),
        (np.nan, 9, Flag.MISSING),
        (40.0, 1, Flag.SUSPECT),
        (40.0, 2, Flag.FAIL),
        (40.0, 4, Flag.FAIL),
        (40.0, 8, Flag.FAIL),
        (40.0, 9, Flag.FAIL),
        (40.0, 3, Flag.SUSPECT),
        (900.0, 2, Flag.FAIL),
        (2500.0, 1, Flag.FAIL),
    ],
)
def test_pm10(pm10, status, flag):
    values, codes = np.full((1, 6), np.nan), np.zeros((1, 6), np.uint8)
    values[0, PM10], codes[0, PM10] = pm10, status
    flags = judge(values, codes, FAIL, SUSPECT)
    assert flags[0, PM10] == flag
    assert (np.delete(flags[0], PM10) == Flag.MISSING).all()


def test_infinity_fails_any_span():
    spans = np.full((1, 2), [-np.inf, np.inf])
    flags = judge(np.array([[np.inf], [-np.inf], [1e300]]), np.zeros((3, 1), np.uint8), spans, spans)
    assert flags[:, 0].tolist() == [Flag.FAIL, Flag.FAIL, Flag.GOOD]


def test_what_is_suspect_but_outside_the_fail_span_fails():
    flags = judge(np.array([[5.0]]), np.zeros((1, 1), np.uint8), np.array([[0.0, 1.0]]), np.array([[0.0, 9.0]]))
    assert flags[0, 0] == Flag.FAIL


@pytest.mark.parametrize("layout", ["C", "F", "slice"])
def test_a_parameters_flags_lie_together(layout):
    values = np.full((5, 8), 1.0, order="C" if layout == "C" else "F")
    values = values[:, :6] if layout == "slice" else np.copy(values[:, :6], order=layout)
    flags = judge(values, np.zeros((5, 6), np.uint8), FAIL, SUSPECT)
    assert flags.flags.f_contiguous
    assert flags.dtype == np.uint8


def test_values_that_count_fit_a_sum():
    # rolling.quantise relies on it: nothing but FAIL lies beyond LARGEST, whatever the spans of a city file.
    values = np.array([[np.nextafter(LARGEST, np.inf)]])
    widest = np.array([[-LARGEST, LARGEST]])
    assert judge(values, np.zeros((1, 1), np.uint8), widest, widest)[0, 0] == Flag.FAIL


def test_the_fail_codes_are_airkoreas():
    assert {2, 4, 8, 9} == FAIL_STATUS
