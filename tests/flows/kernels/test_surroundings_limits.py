"""Limits of the tests of the surroundings: those of the city file, with lengths in cells."""

import msgspec
import numpy as np
import pytest

from flows.kernels.surroundings import limits, lookback, surroundings
from schemas.city import Parameter, Quality
from schemas.measured import AIR
from tests.flows.kernels.cells import CITY, column


@pytest.mark.parametrize(
    ("cadence", "flat", "attenuated", "zeros"), [(1, 360, 720, 180), (5, 72, 144, 36), (7, 51, 102, 25), (60, 6, 12, 3)]
)
def test_lengths_in_cells(cadence, flat, attenuated, zeros):
    spans = limits(CITY, cadence)
    assert (spans.flat_line_cells, spans.attenuated_signal_cells, spans.zeros_cells) == (flat, attenuated, zeros)
    assert lookback(spans) == attenuated - 1


def test_no_window_is_shorter_than_three_cells():
    short = Quality(flat_line_length="1h", attenuated_signal_length="2h", zeros_length="10m")
    spans = limits(msgspec.structs.replace(CITY, quality=short), 60)
    assert (spans.flat_line_cells, spans.attenuated_signal_cells, spans.zeros_cells) == (3, 3, 3)
    assert lookback(spans) == 2


def test_a_limit_left_out_or_zero_is_a_test_not_made():
    quiet = Parameter(unit="ppm", fail=(0, 1), suspect=(0, 1), spike=0, rate_of_change=None, flat_line=0)
    city = msgspec.structs.replace(CITY, parameters={"o3": quiet})
    spans, o3 = limits(city, 1), AIR.gridded.index("o3")
    assert spans.spike[o3] == spans.rate_of_change[o3] == np.inf
    assert spans.flat_line[o3] == spans.attenuated_signal[o3] == 0
    x = column(*[0.5] * 400, 0.9, *[0.5] * 400, parameter=o3)
    assert not surroundings(x, 0, spans).any()


def test_limits_are_those_of_the_city_file():
    pm10 = Parameter(
        unit="µg/m³", fail=(0, 9), suspect=(0, 9), spike=1, rate_of_change=2, flat_line=3, attenuated_signal=4
    )
    quality = Quality(
        flat_line_length="1h", attenuated_signal_length="2h", zeros_length="30m", pm25_over_pm10=(1.2, 7.0)
    )
    spans = limits(msgspec.structs.replace(CITY, parameters={"pm10": pm10}, quality=quality), 1)
    assert [limit[0] for limit in spans[:4]] == [1, 2, 3, 4]
    assert spans[4:] == (60, 120, 30, 1.2, 7.0)
