"""What an index is asked about: NowCasts of the US EPA and trailing means, of every station and hour.

Sources: EPA, PM NowCast (nepis P100X0J6; forum.airnowtech.org, The NowCast for PM2.5 and PM10); for ozone see
``nowcast_o3``.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from flows.arrays import B1, F64
from flows.kernels import bands, cai
from flows.kernels.bands import I8, I16
from flows.kernels.nowcast_o3 import RECENT, WINDOW, counts, nowcast_o3, reaching, surrogate_o3
from schemas.indices import Average, IndexTable
from schemas.measured import AIR

PM_HOURS = 12
"""Hours of a PM NowCast."""
PM_NEED, PM_NEWEST = 2, 3
"""So many of the newest three must be there."""
LEAST_WEIGHT = 0.5
"""However the air changes, an hour counts at least half of the one after it."""
COVERAGE = 0.75
"""Share of the hours of a mean that must be there: 6 of 8, 18 of 24."""
HOURS: dict[Average, int] = {
    "1h": 1,
    "8h": 8,
    "24h": 24,
    "c24e": cai.HOURS,
    "nowcast_pm": PM_HOURS,
    "surrogate_o3": RECENT,
    "nowcast_o3": WINDOW,
}
"""Hours behind each average, of which ``missing`` counts those that are missing."""
LOOKBACK = max(cai.LOOKBACK, *(hours for kind, hours in HOURS.items() if kind != "nowcast_o3"))
"""Hours, the newest among them, that any average but ``nowcast_o3`` may rest on; that one has its own lookback."""


class Averaged(NamedTuple):
    """An average of some hours; each of shape (S, hours asked).

    Attributes:
        concentration: the average, in our unit; NaN where there is too little air.
        missing: hours missing of those it is of.
    """

    concentration: F64
    missing: I16


@dataclass(frozen=True, slots=True)
class NowcastRows:
    """What the table ``aqi`` holds for one parameter of one index; each of shape (S, hours asked).

    Attributes:
        concentration: what was graded, unrounded, in our unit; NaN where there is too little air.
        index: of it; ``bands.NONE``, also where the table has grades only.
        grade: of it, 1 the best; ``bands.NO_GRADE``.
        missing: hours missing of those the average is of.
        over_range: it lies above the table's last band.
        exists: there is a concentration: a row is worth keeping.
    """

    concentration: F64
    index: I16
    grade: I8
    missing: I16
    over_range: B1
    exists: B1


def rows(hours: F64, first: int, table: IndexTable, ozone: Averaged | None = None) -> dict[str, NowcastRows]:
    """Evaluate the hours from ``first`` on, for each parameter of a table.

    Causal, final for the hours given, and the same to the last bit however hours are cut into calls, as long as
    ``hours`` reaches back ``LOOKBACK - 1`` hours before ``first``. Hours before it count as missing.

    Args:
        hours: valid hourly means, oldest first, shape (S, hours, 6), the six ``AIR.gridded`` last; NaN is missing.
        first: the first hour to evaluate.
        table: a version of any index.
        ozone: what ``averaged`` says of ``nowcast_o3``, from hours that reach back further; without it, it is taken
            from ``hours`` too.
    """
    made = {}
    scales = bands.bands_of(table)
    for parameter, scale in table.parameters.items():
        own = hours[:, :, AIR.gridded.index(parameter)]
        ready = scales[parameter]
        given = ozone if scale.average == "nowcast_o3" else None
        concentration, lacks = given or averaged(own, first, scale.average, parameter)
        made[parameter] = NowcastRows(
            concentration,
            bands.index(concentration, ready),
            bands.grade(concentration, ready),
            lacks,
            bands.beyond(concentration, ready),
            ~np.isnan(concentration),
        )
    return made


def averaged(hours: F64, first: int, kind: Average, parameter: str) -> Averaged:
    """Take an average of the hours from ``first`` on, and count the hours missing behind it.

    Raises:
        ValueError: see ``average``.
    """
    return Averaged(average(hours, first, kind, parameter), missing(hours, first, kind))


def missing(hours: F64, first: int, kind: Average) -> I16:
    """Count the hours missing behind an average of the hours from ``first`` on, shape (S, hours asked)."""
    return counts(np.isnan(reaching(hours, first, HOURS[kind])), HOURS[kind]).astype(np.int16)


def average(hours: F64, first: int, kind: Average, parameter: str) -> F64:
    """Take an average of the hours from ``first`` on, shape (S, hours asked); NaN where too few are there.

    Raises:
        ValueError: C24E is asked of a gas.
    """
    match kind:
        case "c24e":
            if parameter not in cai.TURN:
                raise ValueError(f"average c24e is defined for {', '.join(cai.TURN)}, not for {parameter}")
            return cai.c24e(hours, first, parameter).mean
        case "nowcast_pm":
            return nowcast_pm(hours, first)
        case "surrogate_o3":
            return surrogate_o3(hours, first)
        case "nowcast_o3":
            return nowcast_o3(hours, first)
        case _:
            return mean(hours, first, HOURS[kind])


def nowcast_pm(hours: F64, first: int) -> F64:
    """NowCast of PM: a mean of 12 hours in which each counts ``w`` times the one after it.

    ``w = 1 - (max - min) / max``, at least one half; missing hours keep their place. It takes two of the newest three
    hours. Hours below 0 count as 0. Unrounded: the index truncates.

    Args:
        hours: hourly means in µg/m³, oldest first, shape (S, hours); NaN is missing.
        first: the first hour to give a NowCast of.

    >>> newest_last = np.array([[20.0] * 11 + [60.0]])
    >>> nowcast_pm(newest_last, 11).round(3)
    array([[40.005]])
    """
    lags = _lags(hours, first, PM_HOURS)
    highest, lowest = lags[0], lags[0]
    for lag in lags[1:]:
        highest, lowest = np.fmax(highest, lag), np.fmin(lowest, lag)
    some = highest > 0
    weight = np.ones(highest.shape)
    weight[some] = np.maximum(1.0 - (highest[some] - lowest[some]) / highest[some], LEAST_WEIGHT)
    amount, share = np.zeros(highest.shape), np.zeros(highest.shape)
    for lag in reversed(lags):  # Horner's rule, from the oldest hour on
        there = ~np.isnan(lag)
        amount = amount * weight + np.where(there, lag, 0.0)
        share = share * weight + there
    enough = sum((~np.isnan(lag)).astype(np.int8) for lag in lags[:PM_NEWEST]) >= PM_NEED
    nowcast: F64 = np.divide(amount, share, out=np.full(highest.shape, np.nan), where=enough)
    return nowcast


def mean(hours: F64, first: int, length: int) -> F64:
    """Mean of the last ``length`` hours, of those that are there; NaN with less than three quarters of them.

    Sums are taken hour by hour from the newest back, and hours below 0 count as 0.

    Args:
        hours: hourly means, oldest first, shape (S, hours); NaN is missing.
        first: the first hour to end a mean with.
        length: hours, at most ``LOOKBACK``.
    """
    lags = _lags(hours, first, length)
    total, count = np.zeros(lags[0].shape), np.zeros(lags[0].shape)
    for lag in lags:
        there = ~np.isnan(lag)
        total += np.where(there, lag, 0.0)
        count += there
    means: F64 = np.divide(total, count, out=np.full(total.shape, np.nan), where=count >= COVERAGE * length)
    return means


def _lags(hours: F64, first: int, length: int) -> list[F64]:
    """The hours from ``first`` on, then those one hour earlier, and so on; before the slice there is nothing."""
    values = reaching(hours, first, length)
    asked = hours.shape[1] - first
    return [values[:, length - 1 - back : length - 1 - back + asked] for back in range(length)]
