"""Breakpoint tables as arrays: which band a concentration lies in, and its index between the band's ends.

SQL computes the same from the same arrays (``sinks/catalog/macros/``), operation for operation, so that both agree to
the last bit: additions, products, quotients and floors only, in one order.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flows.arrays import B1, F64
from schemas.indices import IndexTable, Scale

I16 = NDArray[np.int16]
I8 = NDArray[np.int8]

NONE = -1
"""An index that does not exist."""
NO_GRADE = 0
"""A grade that does not exist; grades count from 1."""
HAIR = 1e-9
"""Added before a floor, in units of the last digit: 0.003 ppm times 2500 must round as the 7.5 it is."""
HALF = 0.5 + HAIR
"""``floor(x + HALF)`` rounds to the nearest whole number, halves up."""


@dataclass(frozen=True, slots=True)
class Bands:
    """A scale made ready; arrays of shape (bands,), best band first.

    Attributes:
        factor: from our unit to that of the bands.
        power: ten to the decimals at which a concentration is taken; 0: it is taken as it is.
        shift: what makes a floor round as the scale does.
        low, high: ends of each band.
        start: index at ``low``; empty where the table has grades only, like the two that follow.
        slope: index a unit of concentration.
        floor: the lowest index of the band, one below ``start``: what lies between two bands is not better than the
            lower of them.
        top: the highest index of the band.
    """

    factor: float
    power: float
    shift: float
    low: F64
    high: F64
    start: F64
    slope: F64
    floor: F64
    top: F64


def bands_of(table: IndexTable) -> dict[str, Bands]:
    """Make the scales of a table ready, by parameter.

    The index of a concentration C is ``(I_high - I_low) / (BP_high - BP_low) * (C - BP_low) + I_low``.
    """
    return {name: _ready(scale, table.index) for name, scale in table.parameters.items()}


def _ready(scale: Scale, index: tuple[tuple[int, int], ...]) -> Bands:
    low, high = np.array(scale.bands, np.float64).T
    start, top = np.array(index, np.float64).reshape(-1, 2)[: low.size].T
    slope = (top - start) / (high - low) if index else top
    return Bands(
        factor=scale.factor,
        power=0.0 if scale.digits is None else 10.0**scale.digits,
        shift=HALF if scale.rounding == "nearest" else HAIR,
        low=low,
        high=high,
        start=start,
        slope=slope,
        floor=np.maximum(start - 1, 0),
        top=top,
    )


def clean(values: F64) -> F64:
    """Take concentrations below 0 as 0, which only noise is, and what is no number as missing (NaN)."""
    return np.where(np.isfinite(values), np.maximum(values, 0.0), np.nan)


def taken(values: F64, bands: Bands) -> F64:
    """Concentrations as they are looked up: not below 0, in the bands' unit, at the scale's digits; NaN is missing.

    >>> from schemas.indices import Scale
    >>> taken(np.array([15.49, 15.5, -3.0]), _ready(Scale(bands=[(0, 15), (16, 35)], average="1h", digits=0), ()))
    array([15., 16.,  0.])
    """
    values = clean(values) * bands.factor
    if not bands.power:
        return values
    return np.floor(values * bands.power + bands.shift) / bands.power


def index(values: F64, bands: Bands) -> I16:
    """Index of each concentration, rounded once and half up; ``NONE`` where it is missing or the table has none.

    The band is the first whose highest concentration is not exceeded. Above the last the index stays at its top.

    Args:
        values: in our unit, any shape; NaN is missing.
        bands: scale of the pollutant.
    """
    at = taken(values, bands)
    if not bands.top.size:
        return np.full(at.shape, NONE, np.int16)
    found = ~np.isnan(at)
    at = np.minimum(np.where(found, at, 0.0), bands.high[-1])
    band = np.searchsorted(bands.high, at)
    exact = np.maximum(bands.slope[band] * (at - bands.low[band]) + bands.start[band], bands.floor[band])
    return np.where(found, np.floor(exact + HALF), NONE).astype(np.int16)


def grade(values: F64, bands: Bands) -> I8:
    """Grade of each concentration, 1 the best, that of its rounded index; ``NO_GRADE`` where it is missing.

    Where the table has no index it is the first band whose highest concentration is not exceeded.
    """
    if bands.top.size:
        return grade_of(index(values, bands), bands.top)
    at = taken(values, bands)
    band = np.searchsorted(bands.high[:-1], np.where(np.isnan(at), 0.0, at)) + 1
    return np.where(np.isnan(at), NO_GRADE, band).astype(np.int8)


def grade_of(indices: I16, tops: F64) -> I8:
    """Grade of each index by the highest index of each grade; ``NO_GRADE`` where there is no index.

    >>> grade_of(np.array([0, 50, 51, 500, -1], np.int16), np.array([50.0, 100.0, 250.0, 500.0])).tolist()
    [1, 1, 2, 4, 0]
    """
    return np.where(indices == NONE, NO_GRADE, np.searchsorted(tops, indices) + 1).astype(np.int8)


def beyond(values: F64, bands: Bands) -> B1:
    """Tell which concentrations lie above the last band."""
    above: B1 = taken(values, bands) > bands.high[-1]
    return above
