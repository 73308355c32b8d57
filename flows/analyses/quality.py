"""Tests of cells beyond a value's own range: by its series, and of PM2.5 against PM10, with the city's limits."""

import numpy as np

from flows.arrays import I64, U8, Whole
from flows.kernels.pm_ratio import pm25_above_pm10
from flows.kernels.temporal_tests import SHORTEST, Limits, temporal_tests
from schemas.city import City
from schemas.durations import minutes
from schemas.measured import AIR
from schemas.quality import Test

PM10, PM25 = AIR.gridded.index("pm10"), AIR.gridded.index("pm25")


def limits_of(city: City, cadence: int) -> Limits:
    """Limits of the city file for cells of ``cadence`` minutes.

    Steps between neighbours have the same limit at every cadence. A length that is no multiple of the cadence is cut
    to whole cells, and none is shorter than three.

    >>> from schemas.city import City, Identity
    >>> city = City(city=Identity(id="tiny", name="Tiny", timezone="Asia/Seoul"), stations=[])
    >>> limits_of(city, 1).flat_line_cells, limits_of(city, 60).flat_line_cells, limits_of(city, 60).zeros_cells
    (360, 6, 3)
    """
    parameters, quality = city.limits(), city.quality

    def cells(duration: str) -> int:
        return max(SHORTEST, minutes(duration) // cadence)

    return Limits(
        spike=np.array([p.spike or np.inf for p in parameters]),
        rate_of_change=np.array([p.rate_of_change or np.inf for p in parameters]),
        flat_line=np.array([p.flat_line or 0.0 for p in parameters]),
        attenuated_signal=np.array([p.attenuated_signal or 0.0 for p in parameters]),
        flat_line_cells=cells(quality.flat_line_length),
        attenuated_signal_cells=cells(quality.attenuated_signal_length),
        zeros_cells=cells(quality.zeros_length),
    )


def cell_tests(sums: I64, counts: Whole, first: int, limits: Limits, pm25_over_pm10: tuple[float, float]) -> U8:
    """Run every test of a cell beside others; parameters in the order of ``AIR.gridded``.

    Args:
        sums: quanta of each cell, shape (T, S, 6).
        counts: values of each cell, likewise, as bytes or 64 bits; 0 for missing.
        first: cells before it are lookback and get no result.
        limits: of these cells, by ``limits_of(city, cadence)``.
        pm25_over_pm10: ``quality.pm25_over_pm10`` of the city file.

    Returns:
        Bits of ``schemas.quality.Test``, shape (T - first, S, 6); PM25_ABOVE_PM10 is set on both.
    """
    bits = temporal_tests(sums, counts, first, limits)
    above = pm25_above_pm10(sums, counts, first, PM10, PM25, *pm25_over_pm10)
    if above.any():
        bits[above, PM10] |= np.uint8(Test.PM25_ABOVE_PM10)
        bits[above, PM25] |= np.uint8(Test.PM25_ABOVE_PM10)
    return bits
