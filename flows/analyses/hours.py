"""Hourly means of the grid: what indices, ozone's history, lights and alerts rest on."""

import numpy as np

from flows.arrays import F64, I64, Whole
from flows.kernels import rolling
from flows.kernels.rolling import VALID_COVERAGE
from flows.state.grid import Grid
from schemas.slots import HOUR_SLOTS

HOUR = np.array([HOUR_SLOTS], np.int64)


def hours_between(first: int, last: int) -> I64:
    """Ends of the hours in (first, last], as slots.

    >>> hours_between(59, 180).tolist()
    [60, 120, 180]
    """
    return np.arange(first // HOUR_SLOTS * HOUR_SLOTS + HOUR_SLOTS, last + 1, HOUR_SLOTS, dtype=np.int64)


def hourly(grid: Grid, columns: Whole, cadence_slots: int, ended: I64) -> tuple[F64, F64]:
    """Means of the hours that end with given slots, and the share that values cover; shape (n, S, P) each.

    An hour that began before the grid does has mean NaN and coverage 0; slots ahead of the grid are empty. The mean is
    NaN, too, where more than a tenth of the values fail on one side of their range.

    Args:
        grid: of the zone.
        columns: S instruments of one cadence.
        cadence_slots: theirs.
        ended: rising, shape (n,).
    """
    means = np.full((ended.size, columns.size, grid.width), np.nan)
    coverage = np.zeros(means.shape)
    known = ended - HOUR_SLOTS >= grid.oldest
    if known.any():
        totals = grid.windows(ended[known], HOUR, columns)
        filled = totals.filled[:, 0].transpose(2, 1, 0)
        mean = rolling.mean(totals.sum[:, 0].transpose(2, 1, 0), filled)
        below, above = rolling.one_sided(totals.count, totals.below, totals.above)
        means[known] = np.where((below | above)[:, 0].transpose(2, 1, 0), np.nan, mean)
        coverage[known] = rolling.coverage(filled, cadence_slots, HOUR_SLOTS)
    return means, coverage


def valid_hours(grid: Grid, columns: Whole, cadence_slots: int, ended: I64) -> F64:
    """Means of hours as of ``hourly``; NaN where values cover less than ``VALID_COVERAGE``."""
    means, coverage = hourly(grid, columns, cadence_slots, ended)
    return np.where(coverage >= VALID_COVERAGE, means, np.nan)
