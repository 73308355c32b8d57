"""What the nearest cells rule out: nearly always they show that no test of the surroundings can find anything.

Those tests look back over hours. Where little is judged, it is quicker to see first that the air moves.
"""

import numpy as np

from flows.arrays import B1, F64, I64, Whole
from flows.kernels.compiled import jitable, compiled
from flows.kernels.rolling import PER_UNIT
from flows.kernels.surroundings import PM10, PM25, ROUNDED, SLACK, Limits, lookback

NEAR = 120
"""Cells before the first one judged that may rule out findings by themselves."""
WORTH = 8
"""How many times as long as what is judged the lookback must be for that to be worth it."""


def near(limits: Limits, cells: int) -> int:
    """Cells before so many that ``unsure`` is to look at; 0 where it would save nothing."""
    shared = min(limits.flat_line_cells, limits.attenuated_signal_cells) - cells
    return min(NEAR, shared) if lookback(limits) >= WORTH * cells and shared > 0 else 0


def unsure(sums: I64, counts: Whole, first: int, limits: Limits) -> B1:
    """Tell of which stations ``surroundings`` may find something, from the nearest cells alone.

    A window's range is at least that of a part of it, and so is the sum of its squared deviations: cells are looked
    at from the newest back, until both are large enough.

    Args:
        sums: quanta of each cell, shape (T, S, 6), with fewer cells before ``first`` than ``surroundings`` is given:
            all of them lie in every window that is judged.
        counts: values of each cell, likewise, as bytes or 64 bits; 0 for missing.
        first: cells before it are lookback; at least 1.
        limits: as for ``surroundings``.

    Returns:
        Shape (S,). Where it is false nothing is found; where it is true something may be.
    """
    found: B1 = np.zeros(sums.shape[1], np.bool_)
    _unsure(sums, counts, first, *limits[:4], limits.attenuated_signal_cells, found)
    _above(sums, counts, first, limits.pm25_ratio, limits.pm25_offset, found)
    return found


_CELLS = "const int64[:, :, :], const uint8[:, :, :]", "const int64[:, :, :], const int64[:, :, :]"


@jitable
def _mean(sums: I64, counts: Whole, t: int, s: int, p: int) -> float:
    return float(sums[t, s, p] / (counts[t, s, p] * float(PER_UNIT))) if counts[t, s, p] else np.nan


@compiled(
    *(
        f"void({cells}, int64, const float64[:], const float64[:], const float64[:], const float64[:], int64, bool_[:])"
        for cells in _CELLS
    )
)
def _unsure(
    sums: I64,
    counts: Whole,
    first: int,
    spike: F64,
    rate_of_change: F64,
    flat_line: F64,
    attenuated: F64,
    attenuated_cells: int,
    found: B1,
) -> None:
    for s in range(sums.shape[1]):
        for p in range(sums.shape[2]):
            new, before = False, _mean(sums, counts, first - 1, s, p)
            for t in range(first, sums.shape[0]):
                value = _mean(sums, counts, t, s, p)
                if not np.isnan(value):
                    new = True
                    found[s] |= abs(value - before) > min(spike[p], rate_of_change[p]) or value == 0
                before = value
            least = ROUNDED * attenuated[p] * attenuated[p] * attenuated_cells
            low, high, origin, total, squares, number = np.inf, -np.inf, np.nan, 0.0, 0.0, 0
            still = flat_line[p] > 0 or attenuated[p] > 0
            t = first
            while new and still and t >= 0:
                value = _mean(sums, counts, t, s, p)
                t -= 1
                if np.isnan(value):
                    continue
                if number == 0:
                    origin = value
                low, high, number = min(low, value), max(high, value), number + 1
                total += value - origin
                squares += (value - origin) ** 2
                still = (flat_line[p] > 0 and not high - low >= flat_line[p]) or (
                    attenuated[p] > 0 and not squares - total * total / number >= least
                )
            found[s] |= new and still


@compiled(*(f"void({cells}, int64, float64, float64, bool_[:])" for cells in _CELLS))
def _above(sums: I64, counts: Whole, first: int, ratio: float, offset: float, found: B1) -> None:
    for s in range(sums.shape[1]):
        for t in range(first, sums.shape[0]):
            pm10, pm25 = _mean(sums, counts, t, s, PM10), _mean(sums, counts, t, s, PM25)
            found[s] |= pm25 > ratio * pm10 + (offset + SLACK)
