"""Ozone's NowCast of the US EPA: the 8-hour mean around this hour, by a regression on the last two weeks of hours.

Sources: github.com/USEPA/O3-Nowcast at 9853995, ``GetNowcast.r`` (which way is taken) and ``NowcastFun_Upd.r`` (the
regression), with the R packages they call: imputeTS (``na.ma``, ``src/ma.cpp``) and pls (``mvr``, ``kernelpls.fit``).
Where the white paper in the same place says otherwise, the code is followed, which is what EPA runs.
"""

import numpy as np
from numpy.typing import NDArray

from flows.arrays import B1, F64
from flows.kernels import bands

WINDOW = 336
"""Hours of the regression, the newest last: two weeks."""
ENOUGH = 252
"""So many of them must be there: three quarters."""
GAP = 7
"""The longest run of missing hours among them."""
RECENT = 3
"""Hours, the newest among them, one of which must be there."""
LOOKBACK = WINDOW + RECENT - 1
"""Hours, the newest among them, that a NowCast may rest on: that of two hours ago has its own window."""
SLOPE, OFFSET = 0.85, 0.0045
"""Surrogate: 0.85 times the newest hour and 4.5 ppb, in ppm."""

INPUTS = 96
"""Hours that predict a mean: four days."""
BEFORE, AFTER = 4, 3
"""Hours of the mean before and after its own."""
MEAN_NEED = 6
"""So many of its eight must be there."""
ROWS = WINDOW - INPUTS + 1
"""Rows of the regression, of which the last ``AFTER`` never have a mean."""
ROWS_MISSING = 0.25
"""Share of the rows that may lack their mean, those last included."""

REACH = 4
"""Hours on either side from which a missing hour is imputed; more, until two are there."""
FURTHEST = 2 * GAP + 1
"""Hours within which two always are: of any eight hours in a row one is there."""
DISTANCE = np.repeat(np.arange(1, FURTHEST + 1), 2)
SPREAD = DISTANCE * np.tile([-1, 1], FURTHEST)
WEIGHT = 0.5**DISTANCE

WELL = 1e10
"""Condition of the normal matrix (Frobenius norm) up to which it is inverted; 1e4 to 1e6 is common."""
CUT = 1e-10
"""Singular values below this share of the largest are none: rounding leaves some 1e-14, hours in whole ppb 1e-2."""


def nowcast_o3(hours: F64, first: int) -> F64:
    """NowCast of ozone in ppm of the hours from ``first`` on, shape (S, hours asked); NaN where there is none.

    By the 336 hours up to the one asked, in this order:

    1. Fewer than 252 of them are there, or more than 7 in a row are missing: the surrogate, if one of the last three
       hours is there.
    2. All are zero: 0.
    3. The newest is missing: the NowCast of one hour ago if that hour is there, else of two hours ago if that one is,
       by that hour's own 336 hours, else none.
    4. A regression, see ``_predicted``; 0 where it is below. There is none where more than a quarter of its rows lack
       their mean (the white paper has the surrogate then, the code has nothing).

    Hours below 0 count as 0 here, as in every mean of this program; EPA takes them as they are. Causal, and the same
    to the last bit however stations and hours are cut into calls, as long as ``hours`` reaches back ``LOOKBACK - 1``
    hours before ``first``: each prediction is made from its own window alone. Hours before the slice are missing.

    Args:
        hours: hourly means in ppm, oldest first, shape (S, hours); NaN is missing.
        first: the first hour to give a NowCast of.

    >>> hours = np.full((1, 340), 0.04)
    >>> hours[0, -1] = np.nan
    >>> nowcast_o3(hours, 338).round(4), nowcast_o3(hours[:, 300:], 38).round(4)
    (array([[0.04, 0.04]]), array([[0.0385, 0.0385]]))
    """
    values = reaching(hours, first, LOOKBACK)
    there = ~np.isnan(values)
    complete = (counts(there, WINDOW) >= ENOUGH) & (counts(counts(~there, GAP + 1) > GAP, WINDOW - GAP) == 0)
    zero = complete & (counts(values > 0, WINDOW) == 0)
    fitted = complete & ~zero
    known = np.where(fitted, np.nan, _surrogate(values[:, WINDOW - RECENT :]))
    known[zero] = 0.0

    lags = np.stack([there[:, LOOKBACK - 1 - back : there.shape[1] - back] for back in range(RECENT)])
    stations = np.arange(len(values))[:, None]
    taken = np.arange(RECENT - 1, fitted.shape[1]) - np.where(fitted[:, RECENT - 1 :], lags.argmax(axis=0), 0)
    wanted = np.zeros(fitted.shape, bool)
    wanted[stations, taken] = True
    means = _centred_means(values)
    room = np.empty((ROWS - AFTER, INPUTS))
    for station, end in np.argwhere(wanted & fitted & there[:, WINDOW - 1 :]):
        window = slice(end, end + WINDOW)
        known[station, end] = _predicted(values[station, window], means[station, window], room)
    nowcast: F64 = known[stations, taken]
    return nowcast


def surrogate_o3(hours: F64, first: int) -> F64:
    """Surrogate of ozone's NowCast, from the newest of the last three hours; NaN where none is there.

    Args:
        hours: hourly means in ppm, oldest first, shape (S, hours); NaN is missing.
        first: the first hour to give a surrogate of.
    """
    return _surrogate(reaching(hours, first, RECENT))


def reaching(hours: F64, first: int, length: int) -> F64:
    """The hours from ``first`` on, and ``length - 1`` before them; before the slice there is nothing."""
    reach = min(first, length - 1)
    before = np.full((hours.shape[0], length - 1 - reach), np.nan)
    return np.concatenate([before, bands.clean(hours[:, first - reach :])], axis=1)


def counts(flags: B1, length: int) -> NDArray[np.int64]:
    """How many of ``length`` hours are flagged, for each place such a run of hours has, oldest first."""
    sums = np.pad(np.cumsum(flags, axis=1, dtype=np.int64), ((0, 0), (1, 0)))
    return sums[:, length:] - sums[:, :-length]


def _surrogate(values: F64) -> F64:
    """Surrogate of each hour but the first two, which are those before."""
    newest = values[:, RECENT - 1 :]
    for back in range(1, RECENT):
        lag = values[:, RECENT - 1 - back : values.shape[1] - back]
        newest = np.where(np.isnan(newest), lag, newest)
    return newest * SLOPE + OFFSET


def _predicted(window: F64, means: F64, room: F64) -> float:
    """Predict the mean around the newest hour from the last 96 hours; NaN where too few rows have a mean.

    EPA's partial least squares with as many components as inputs, on rows of which there are always more, is ordinary
    least squares with an intercept, and so it is solved. Where inputs depend on each other (a stuck or a strictly
    periodic series) the weights are those of least norm, which is where partial least squares ends if it stops at the
    rank; R's code goes on, with rounding errors.

    Args:
        window: hours in ppm, oldest first, shape (336,); the newest is there.
        means: 8-hour means around each; those around the newest three are not used.
        room: overwritten, shape (238, 96); fetched anew for every hour it would take half the time again.
    """
    hours = _imputed(window)
    mean = means[INPUTS - 1 : WINDOW - AFTER]
    has = ~np.isnan(mean)
    if ROWS - np.count_nonzero(has) > ROWS_MISSING * ROWS:
        return np.nan
    views = np.lib.stride_tricks.sliding_window_view(hours, INPUTS)[:-AFTER]
    rows = np.take(views, has.nonzero()[0], axis=0, out=room[: np.count_nonzero(has)], mode="clip")
    centre = rows.mean(axis=0)
    rows -= centre
    level = mean[has].mean()
    target = mean[has] - level
    predicted = level + (hours[-INPUTS:] - centre) @ _weights(rows, target)
    return max(float(predicted), 0.0)


def _weights(rows: F64, target: F64) -> F64:
    """Least squares: weights w, of least norm where there are many, that bring ``rows @ w`` nearest to ``target``.

    By the inverse of the normal matrix, and once more for what that left over; by singular values where it is near to
    singular.
    """
    normal = rows.T @ rows
    try:
        inverse = np.linalg.inv(normal)
        well = bool(np.linalg.norm(normal) * np.linalg.norm(inverse) <= WELL)
    except np.linalg.LinAlgError:
        well = False
    if not well:
        return np.asarray(np.linalg.lstsq(rows, target, rcond=CUT)[0], np.float64)
    weights: F64 = inverse @ (rows.T @ target)
    weights += inverse @ (rows.T @ (target - rows @ weights))
    return weights


def _imputed(window: F64) -> F64:
    """Fill missing hours as R's ``imputeTS::na.ma`` does by default, from the hours of the window alone.

    A missing hour is the mean of what was measured up to 4 hours before and after it, weighing a half for each hour of
    distance; where fewer than two of these are there, of as many hours more on both sides as it takes.
    """
    at = np.flatnonzero(np.isnan(window))
    if not at.size:
        return window
    near = np.pad(window, FURTHEST, constant_values=np.nan)[at[:, None] + FURTHEST + SPREAD]
    there = ~np.isnan(near)
    within = there.cumsum(axis=1)[:, 1::2]  # so many are there up to 1, 2, 3 … hours away
    reach = np.maximum((within >= 2).argmax(axis=1) + 1, REACH)
    weight = np.where(there & (reach[:, None] >= DISTANCE), WEIGHT, 0.0)
    filled = window.copy()
    filled[at] = (np.where(there, near, 0.0) * weight).sum(axis=1) / weight.sum(axis=1)
    return filled


def _centred_means(values: F64) -> F64:
    """Mean of the hours from four before to three after each, of those there; NaN with fewer than six of them."""
    length = BEFORE + 1 + AFTER
    total, count = np.zeros(values.shape), np.zeros(values.shape)
    inner = slice(BEFORE, values.shape[1] - AFTER)
    for start in range(length):
        lag = values[:, start : start + values.shape[1] - length + 1]
        there = ~np.isnan(lag)
        total[:, inner] += np.where(there, lag, 0.0)
        count[:, inner] += there
    means: F64 = np.divide(total, count, out=np.full(values.shape, np.nan), where=count >= MEAN_NEED)
    return means
