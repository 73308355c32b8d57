"""Test of PM2.5 against PM10, of which it is a part: this project's own, beside those of QARTOD."""

from flows.arrays import B1, I64, Whole
from flows.kernels.rolling import mean
from flows.kernels.temporal_tests import SLACK


def pm25_above_pm10(sums: I64, counts: Whole, first: int, pm10: int, pm25: int, ratio: float, offset: float) -> B1:
    """Cells whose PM2.5 exceeds ``ratio`` × PM10 + ``offset``, shape (T - first, S); false where either is missing.

    Args:
        sums: quanta of each cell, shape (T, S, P).
        counts: values of each cell, likewise; 0 for missing.
        first: cells before it get no result.
        pm10: which of the parameters it is.
        pm25: likewise.
        ratio: beyond what two instruments may differ.
        offset: for their noise, in µg/m³.

    >>> import numpy as np
    >>> from flows.kernels.rolling import PER_UNIT
    >>> sums = np.array([[[50, 60]], [[50, 61]]]) * PER_UNIT
    >>> pm25_above_pm10(sums, np.ones((2, 1, 2), np.uint8), 0, 0, 1, 1.1, 5.0).ravel()
    array([False,  True])
    """
    coarse, fine = (mean(sums[first:, :, p], counts[first:, :, p]) for p in (pm10, pm25))
    above: B1 = fine > ratio * coarse + (offset + SLACK)
    return above
