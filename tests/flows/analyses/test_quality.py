"""Tests of cells with the limits of a city file, and flags of what they find on a grid."""

import msgspec
import numpy as np
import pytest

from flows.analyses.base import Span
from flows.analyses.quality import AirTests, Quality, cell_tests, limits_of
from flows.kernels.rolling import mean
from flows.kernels.temporal_tests import lookback, temporal_tests
from schemas.city import Parameter
from schemas.city import QualitySettings as Lengths
from schemas.measured import AIR
from schemas.quality import Flag, Test
from schemas.slots import SLOT_US
from tests.support import grids
from tests.support.cells import CITY, as_cells, column
from tests.support.recorded import SEOUL, seoul_month
from tests.support.slow_surroundings import by_the_rules

PM_RATIO = CITY.quality.pm25_over_pm10


@pytest.mark.parametrize(
    ("cadence", "flat", "attenuated", "zeros"), [(1, 360, 720, 180), (5, 72, 144, 36), (7, 51, 102, 25), (60, 6, 12, 3)]
)
def test_lengths_in_cells(cadence, flat, attenuated, zeros):
    limits = limits_of(CITY, cadence)
    assert (limits.flat_line_cells, limits.attenuated_signal_cells, limits.zeros_cells) == (flat, attenuated, zeros)
    assert lookback(limits) == attenuated - 1


def test_no_window_is_shorter_than_three_cells():
    short = Lengths(flat_line_length="1h", attenuated_signal_length="2h", zeros_length="10m")
    limits = limits_of(msgspec.structs.replace(CITY, quality=short), 60)
    assert (limits.flat_line_cells, limits.attenuated_signal_cells, limits.zeros_cells) == (3, 3, 3)
    assert lookback(limits) == 2


def test_a_limit_left_out_or_zero_is_a_test_not_made():
    quiet = Parameter(unit="ppm", fail=(0, 1), suspect=(0, 1), spike=0, rate_of_change=None, flat_line=0)
    city = msgspec.structs.replace(CITY, parameters={"o3": quiet})
    limits, o3 = limits_of(city, 1), AIR.gridded.index("o3")
    assert limits.spike[o3] == limits.rate_of_change[o3] == np.inf
    assert limits.flat_line[o3] == limits.attenuated_signal[o3] == 0
    x = column(*[0.5] * 400, 0.9, *[0.5] * 400, parameter=o3)
    assert not temporal_tests(*as_cells(x), 0, limits).any()


def test_limits_are_those_of_the_city_file():
    pm10 = Parameter(
        unit="µg/m³", fail=(0, 9), suspect=(0, 9), spike=1, rate_of_change=2, flat_line=3, attenuated_signal=4
    )
    quality = Lengths(flat_line_length="1h", attenuated_signal_length="2h", zeros_length="30m")
    limits = limits_of(msgspec.structs.replace(CITY, parameters={"pm10": pm10}, quality=quality), 1)
    assert [limit[0] for limit in limits[:4]] == [1, 2, 3, 4]
    assert limits[4:] == (60, 120, 30)


def test_pm25_above_pm10_is_set_on_both():
    x = np.full((2, 2, 6), 0.5)
    x[1, 1, :2] = 50.0, 60.001
    expected = np.zeros((1, 2, 6))
    expected[0, 1, :2] = Test.PM25_ABOVE_PM10
    np.testing.assert_array_equal(cell_tests(*as_cells(x), 1, limits_of(CITY, 60), (1.1, 5.0)), expected)


def plain(x, first, limits, ratio):
    """Every test as it is written, over every window, on the whole slice."""
    bits = by_the_rules(x, first, limits)
    above = x[first:, :, 1] > ratio[0] * x[first:, :, 0] + ratio[1]
    bits[..., :2] += above[..., None] * np.uint8(Test.PM25_ABOVE_PM10)
    return bits


@pytest.mark.data(SEOUL)
def test_a_month_of_seoul():
    x = seoul_month()[..., [4, 5, 3, 1, 2, 0]]  # so2 no2 co o3 pm10 pm25 of the file, in our order
    limits = limits_of(CITY, 60)
    bits = cell_tests(*as_cells(x), 24, limits, PM_RATIO)
    # The oracle works in binary; decimals at a limit are kept off it by half a quantum.
    wider = limits._replace(spike=limits.spike + 5e-10, rate_of_change=limits.rate_of_change + 5e-10)
    wider = wider._replace(flat_line=np.maximum(limits.flat_line - 5e-10, 0))
    np.testing.assert_array_equal(bits, plain(x, 24, wider, (PM_RATIO[0], PM_RATIO[1] + 5e-10)))
    assert all((bits & test).any() for test in Test if test is not Test.ATTENUATED_SIGNAL)


def test_a_day_by_the_minute():
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
    limits = limits_of(CITY, 1)
    first = lookback(limits)
    sums, counts = as_cells(x)
    bits = cell_tests(sums, counts, first, limits, PM_RATIO)
    np.testing.assert_array_equal(bits, plain(mean(sums, counts), first, limits, PM_RATIO))
    assert all((bits & test).any() for test in Test)
    assert bits[-1, 0, 5] == Test.RATE_OF_CHANGE


class Above:
    """A test of cells: a value above 100 is a spike, and so is one whose next cell is three times as high."""

    lookback = 1

    def __init__(self, cadence_slots):
        self.cadence_slots = cadence_slots

    def __call__(self, sums, counts, first):
        x = np.nan_to_num(mean(sums, counts))
        ahead = np.concatenate([x[1:], np.zeros_like(x[:1])])
        return np.where((x > 100) | ((x > 0) & (ahead > 3 * x)), Test.SPIKE, 0).astype(np.uint8)[first:]


def flagging():
    return Quality(AIR, Above, "flags", 60)


def test_a_cell_is_judged_as_it_closes_and_kept_on_the_grid():
    grid, cadence = grids.new_grid(2), grids.cadence_of(600)
    grids.put(grid, [(1, 13, {"co": 90.0}), (1, 17, {"co": 130.0}), (0, 24, {"co": 101.0})])
    results = flagging().close(grids.view_of(grid, cadence), cadence, grids.START, grids.START + 30, 1)
    [rows] = results.rows
    columns = rows.columns()
    assert (rows.table, rows.size, columns["parameter"].names) == ("flags", 2, AIR.gridded)
    assert columns["instrument"].tolist() == [1, 0]
    assert columns["parameter"].code.tolist() == [AIR.gridded.index("co")] * 2
    assert columns["ended_at"].tolist() == [(grids.START + ended) * SLOT_US for ended in (20, 30)]
    assert [columns["tests"].names[code] for code in columns["tests"].code.tolist()] == ["spike"] * 2
    assert columns["flag"].tolist() == [Flag.SUSPECT] * 2
    assert columns["revision"].tolist() == [0, 0]
    kept = grid.layer("found", grids.START + 1, grids.START + 30)[:, 1, AIR.gridded.index("co")]
    assert kept.tolist() == [0] * 10 + [Test.SPIKE] * 10 + [0] * 10
    assert results.reconsider.size == 0


def test_what_the_next_cell_sheds_light_on_is_to_be_considered_again():
    grid, cadence, analysis = grids.new_grid(2), grids.cadence_of(at=5), flagging()
    grids.put(grid, [(0, 5, {"co": 1.0}), (0, 6, {"co": 4.0}), (1, 5, {"co": 2.0}), (1, 6, {"co": 4.0})])
    view = grids.view_of(grid, cadence)
    results = analysis.close(view, cadence, grids.START + 5, grids.START + 6, 1)
    assert results.reconsider.tolist() == [0]
    assert results.rows == [], "of the cells that close there is nothing to say"
    span = Span(cadence, results.reconsider, grids.START + 5, grids.START + 6, 3, 1)
    assert grids.newest_flags(analysis.revise(view, span, None)) == {(0, "co", 5): Test.SPIKE}


def test_what_is_found_no_more_is_withdrawn_and_what_stands_is_not_said_again():
    grid, cadence, analysis = grids.new_grid(2), grids.cadence_of(at=20), flagging()
    view = grids.view_of(grid, cadence)
    grids.put(grid, [(0, 6, {"co": 150.0}), (0, 7, {"pm10": 150.0})])
    assert len(grids.newest_flags(analysis.close(view, cadence, grids.START, grids.START + 20, 1))) == 2
    grids.put(grid, [(0, 6, {"co": 2.0})])
    span = Span(cadence, np.array([0]), grids.START + 6, grids.START + 20, 3, 1)
    assert analysis.revise(view, span._replace(records=True), None).rows == []
    [rows] = analysis.revise(view, span, None).rows
    assert (rows.tests.tolist(), rows.revision.tolist(), (rows.ended - grids.START).tolist()) == ([0], [3], [6])
    assert rows.columns()["flag"].tolist() == [Flag.GOOD]
    assert analysis.revise(view, span, None).rows == []


def test_a_revision_looks_no_further_than_it_may():
    """The cell after the newest evaluated one has come, but its slot has not fired for this revision."""
    grid, cadence, analysis = grids.new_grid(1), grids.cadence_of(columns=(0,), at=5), flagging()
    grids.put(grid, [(0, 5, {"co": 1.0}), (0, 6, {"co": 9.0})])
    view = grids.view_of(grid, cadence)
    span = Span(cadence, np.array([0]), grids.START + 5, grids.START + 5, 3, 1)
    assert analysis.revise(view, span, None).rows == []
    assert grids.newest_flags(analysis.revise(view, span._replace(until=grids.START + 6), None))


def test_the_tests_of_air_are_those_of_the_city_file():
    tests = AirTests(CITY, 60)
    limits = limits_of(CITY, 60)
    x = np.random.default_rng(4).uniform(0, 300, (30, 3, 6))
    expected = cell_tests(*as_cells(x), tests.lookback, limits, PM_RATIO)
    np.testing.assert_array_equal(tests(*as_cells(x), tests.lookback), expected)
    assert expected.any()
    assert (tests.lookback, AirTests.longest(CITY)) == (lookback(limits), 720)
