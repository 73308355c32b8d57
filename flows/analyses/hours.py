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

    Slots that the grid does not hold are empty: an hour that lies in them has mean NaN and coverage 0.

    Args:
        grid: of the zone.
        columns: S instruments of one cadence.
        cadence_slots: theirs.
        ended: rising, shape (n,).
    """
    means = np.full((ended.size, columns.size, grid.width), np.nan)
    coverage = np.zeros(means.shape)
    whole = (ended - HOUR_SLOTS >= grid.oldest) & (ended <= grid.reach)
    ahead = (ended > grid.reach) & (ended - HOUR_SLOTS < grid.reach)
    for rows, ends, lengths in (
        (whole, ended[whole], HOUR),
        (ahead, np.array([grid.reach]), HOUR_SLOTS - (ended[ahead] - grid.reach)),
    ):
        if rows.any():
            totals = grid.windows(ends, lengths, columns)  # of (P, W, S, E), either one window or one end
            by_row = [
                values.transpose(3, 1, 2, 0).reshape(-1, columns.size, grid.width)
                for values in (totals.sum, totals.count, totals.filled)
            ]
            means[rows] = rolling.mean(by_row[0], by_row[1])
            coverage[rows] = rolling.coverage(by_row[2], cadence_slots, HOUR_SLOTS)
    return means, coverage


def valid_hours(grid: Grid, columns: Whole, cadence_slots: int, ended: I64) -> F64:
    """Means of hours as of ``hourly``; NaN where values cover less than ``VALID_COVERAGE``."""
    means, coverage = hourly(grid, columns, cadence_slots, ended)
    return np.where(coverage >= VALID_COVERAGE, means, np.nan)
