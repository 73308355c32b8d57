"""Tests of a value by its own series: QARTOD's spike, rate of change, flat line and attenuated signal, and zeros.

Every test gives at most SUSPECT and takes nothing out of a mean: a dust front is a legal jump. The four are QARTOD's
(as in ``ioos_qc``), zeros in a row are this project's. All depend on a bounded stretch before a cell and one cell
after it, so that late data can be judged again.

Flat line, attenuated signal and zeros look back over hours. The scan runs from the cell backward and stops as soon as
the cells seen rule the test out, which in lively air a few do; and whatever cells rule it out here rule it out for
every later window that still holds them.
"""

from typing import Any, NamedTuple

import numpy as np

from flows.arrays import B1, F64, I64, U8, Whole
from flows.kernels.compiled import compiled, jitable
from flows.kernels.rolling import PER_UNIT, QUANTUM
from schemas.quality import Test

LOOKAHEAD = 1
"""Cells after a cell that its result may depend on: the spike test looks at both neighbours."""
SHORTEST = 3
"""Cells of the shortest window; it must hold a value in each."""
PRESENCE_PERCENT = 75
"""Share of a window's cells that must hold a value; fewer say nothing about a stuck sensor."""
UNITS_IN_LIMIT = 1000
"""A signal's deviation is measured in this fraction of its limit, as whole numbers."""

# Values are multiples of a quantum and limits are decimals; in binary 10.1 - 10.0 is less than 0.1. This is more than
# any rounding of values below schemas.city.LARGEST, and less than half of what a half quantum can make.
SLACK = QUANTUM / 4
NO_RANGE = 5e-324
"""The smallest float above 0: a range is below it where all values are equal."""
LARGEST_UNITS = 2.0**62
"""Values are cut to so many units; only a limit of less than a quantum has as many in a value."""

SPIKE, RATE_OF_CHANGE, ZEROS = int(Test.SPIKE), int(Test.RATE_OF_CHANGE), int(Test.ZEROS)
FLAT_LINE, ATTENUATED_SIGNAL = int(Test.FLAT_LINE), int(Test.ATTENUATED_SIGNAL)


class Limits(NamedTuple):
    """Limits by parameter, shape (P,), each in its parameter's unit, and window lengths in cells, at least SHORTEST.

    ``spike`` and ``rate_of_change`` are infinite, ``flat_line`` and ``attenuated_signal`` 0, where no test is made.
    """

    spike: F64
    rate_of_change: F64
    flat_line: F64
    attenuated_signal: F64
    flat_line_cells: int
    attenuated_signal_cells: int
    zeros_cells: int


def lookback(limits: Limits) -> int:
    """Cells before a cell that its result may depend on."""
    return max(limits.flat_line_cells, limits.attenuated_signal_cells, limits.zeros_cells) - 1


def temporal_tests(sums: I64, counts: Whole, first: int, limits: Limits) -> U8:
    """Test each value against its own series; P parameters, S stations, T cells.

    The result of cell i depends on cells ``i - lookback(limits)`` to ``i + LOOKAHEAD`` and on nothing else; what lies
    before the slice counts as missing. It is final once cell i + 1 is: the last cell of a slice has no spike yet.

    * SPIKE: farther than the limit from the middle of its two neighbours, both present.
    * RATE_OF_CHANGE: farther than the limit from the value before, which is present.
    * ZEROS: this and every value of its window are exactly 0.
    * FLAT_LINE: the range of its window is below the tolerance, and it is not ZEROS.
    * ATTENUATED_SIGNAL: the population's standard deviation over its window is below the limit, computed in whole
      thousandths of the limit, and the range of the flat line's window is not.

    A window of W cells ends at the value and is judged only with 0.75 W values or more in it, so at least 3.
    A difference that equals a limit in decimals is neither above nor below it.

    Args:
        sums: quanta of each cell, shape (T, S, P). A cell is one cadence of one station.
        counts: values of each cell, likewise, as bytes or 64 bits; 0 for missing.
        first: cells before it are lookback and get no result.
        limits: of these cells.

    Returns:
        Bits of ``schemas.quality.Test``, shape (T - first, S, P); 0 where nothing was found or no value is.

    >>> off, none = np.array([np.inf]), np.array([0.0])
    >>> limits = Limits(np.array([150.0]), np.array([300.0]), none, none, 6, 12, 3)
    >>> sums = np.array([40, 41, 400, 42]).reshape(4, 1, 1) * PER_UNIT
    >>> temporal_tests(sums, np.ones((4, 1, 1), np.uint8), 0, limits).ravel()
    array([0, 1, 3, 2], dtype=uint8)
    """
    bits: U8 = np.zeros((sums.shape[0] - first, *sums.shape[1:]), np.uint8)
    _test(sums, counts, first, tuple(limits), bits)
    return bits


def lifeless_hours(layers: tuple[I64, Whole], places: tuple[Whole, Whole], ends: I64, slots: int, limits: Limits) -> B1:
    """Tell which hours hold no living value: each is ZEROS or FLAT_LINE, or lies below zero.

    Args:
        layers: sums in quanta and counts, as bytes, of each slot, shape (T, S, P); what lies before them, or behind,
            counts as missing. They begin where a cell does.
        places: columns of the stations, shape (C,), and of the parameters, shape (V,).
        ends: lines behind the last of each hour, rising multiples of the slots of a cell, shape (n,).
        slots: of a cell.
        limits: of these cells.

    Returns:
        Shape (n, C, V); true, too, where there is no value.

    >>> none, first = np.array([0.0]), np.array([0])
    >>> limits = Limits(none, none, none, none, 6, 12, 3)
    >>> sums = np.array([5, 0, 0, 0, 0, -1]).reshape(6, 1, 1) * PER_UNIT
    >>> ends = np.arange(1, 7) * 60
    >>> hours = np.zeros((360, 1, 1), np.int64), np.zeros((360, 1, 1), np.uint8)
    >>> hours[0][59::60], hours[1][59::60] = sums, 1
    >>> lifeless_hours(hours, (first, first), ends, 60, limits).ravel().tolist()
    [False, False, False, True, True, True]
    """
    columns, parameters = (place.astype(np.int64, copy=False) for place in places)
    lifeless: B1 = np.empty((ends.size, columns.size, parameters.size), bool)
    numbers = limits.flat_line, limits.flat_line_cells, limits.zeros_cells
    _search(*layers, columns, parameters, ends // slots - 1, slots, numbers, lifeless)
    return lifeless


@jitable
def _value(sums: I64, counts: Whole, t: int, s: int, p: int) -> float:
    """Mean of a cell, as ``rolling.mean`` gives it; NaN for a missing one and for one outside the slice."""
    inside = 0 <= t < sums.shape[0] and counts[t, s, p] != 0
    return float(sums[t, s, p] / (counts[t, s, p] * float(PER_UNIT))) if inside else np.nan


@jitable
def _fewest(cells: int) -> int:
    """Values that a window of ``cells`` must hold to be judged; all three in the shortest."""
    return -(-PRESENCE_PERCENT * cells // 100)


@jitable
def _first_flat(sums: I64, counts: Whole, t: int, s: int, p: int, cells: int, tolerance: float) -> int:
    """First cell from t on whose window of ``cells`` may have a range below ``tolerance``; t if its own has."""
    low, high, values = np.inf, -np.inf, 0
    for row in range(t, max(t - cells, -1), -1):
        value = _value(sums, counts, row, s, p)
        if np.isnan(value):
            continue
        low, high, values = min(low, value), max(high, value), values + 1
        if high - low >= tolerance:
            return row + cells
    return t if values >= _fewest(cells) else t + 1


@jitable
def _first_attenuated(sums: I64, counts: Whole, t: int, s: int, p: int, cells: int, limit: float) -> int:
    """First cell from t on whose window of ``cells`` may deviate by less than ``limit``; t if its own does.

    The sum of squared deviations of n values, n Σq² - (Σq)² over n, only grows as more cells are seen. It is exact:
    q are whole units, counted from the newest value, and n values of range r deviate by at least r / sqrt(2 n), so
    that twice that range rules the test out before any product could leave 64 bits.
    """
    unit, widest = limit / UNITS_IN_LIMIT, 2 * limit * np.sqrt(cells)
    most = cells * UNITS_IN_LIMIT**2
    low, high, origin, values, total, squares = np.inf, -np.inf, 0, 0, 0, 0
    for row in range(t, max(t - cells, -1), -1):
        value = _value(sums, counts, row, s, p)
        if np.isnan(value):
            continue
        low, high = min(low, value), max(high, value)
        if high - low >= widest:
            return row + cells
        units = int(np.rint(min(max(value / unit, -LARGEST_UNITS), LARGEST_UNITS)))
        if values == 0:
            origin = units
        values, total, squares = values + 1, total + units - origin, squares + (units - origin) ** 2
        if values * squares - total * total >= values * most:
            return row + cells
    small = values * squares - total * total < (UNITS_IN_LIMIT * values) ** 2
    return t if small and values >= _fewest(cells) else t + 1


_LIMITS = "Tuple((const float64[:], const float64[:], const float64[:], const float64[:], int64, int64, int64))"


@jitable
def _cell(sums: I64, counts: Whole, t: int, s: int, p: int, slots: int) -> float:
    """Mean of cell t, of so many slots; NaN for a missing one and for one outside the layers."""
    total, values = 0, 0
    for line in range(max(t * slots, 0), min((t + 1) * slots, sums.shape[0])):
        total, values = total + sums[line, s, p], values + counts[line, s, p]
    return float(total / (values * float(PER_UNIT))) if values else np.nan


@jitable
def _stands(sums: I64, counts: Whole, t: int, s: int, p: int, slots: int, cells: int, tolerance: float) -> bool:
    """Whether the range of cell t's window is below ``tolerance``."""
    low, high, values = np.inf, -np.inf, 0
    for row in range(t, t - cells, -1):
        if row < 0:
            break
        value = _cell(sums, counts, row, s, p, slots)
        if np.isnan(value):
            continue
        low, high, values = min(low, value), max(high, value), values + 1
        if high - low >= tolerance:
            return False
    return values >= _fewest(cells)


@jitable
def _lives(sums: I64, counts: Whole, t: int, s: int, p: int, slots: int, limits: Any) -> bool:
    """Whether a cell holds a value that is neither below zero nor ZEROS nor FLAT_LINE."""
    flat_line, flat_cells, zeros_cells = limits
    value = _cell(sums, counts, t, s, p, slots)
    if not value >= 0:
        return False
    if value == 0 and _stands(sums, counts, t, s, p, slots, zeros_cells, NO_RANGE):
        return False
    if flat_line[p] <= 0:
        return True
    return not _stands(sums, counts, t, s, p, slots, flat_cells, max(flat_line[p] - SLACK, SLACK))


@compiled(
    "void(const int64[:, :, :], const uint8[:, :, :], const int64[:], const int64[:], const int64[:], int64, "
    "Tuple((const float64[:], int64, int64)), bool_[:, :, ::1])"
)
def _search(
    sums: I64,
    counts: Whole,
    columns: I64,
    parameters: I64,
    last: I64,
    slots: int,
    limits: Any,
    lifeless: B1,
) -> None:
    """Search each hour backward, and no cell twice: one that lives in it is enough for all hours that hold it."""
    hour = 60 // slots
    for c in range(columns.size):
        for v in range(parameters.size):
            living, searched = -1, -1
            for i in range(last.size):
                before = last[i] - hour
                if living <= before:
                    for t in range(last[i], max(before, searched), -1):
                        if _lives(sums, counts, t, columns[c], parameters[v], slots, limits):
                            living = t
                            break
                    searched = last[i]
                lifeless[i, c, v] = living <= before


@compiled(
    *(
        f"void(const int64[:, :, :], const {kind}[:, :, :], int64, {_LIMITS}, uint8[:, :, ::1])"
        for kind in ("uint8", "int64")
    )
)
def _test(sums: I64, counts: Whole, first: int, limits: Any, bits: U8) -> None:
    spike, rate_of_change, flat_line, attenuated_signal, flat_cells, attenuated_cells, zeros_cells = limits
    for s in range(sums.shape[1]):
        for p in range(sums.shape[2]):
            tolerance = max(flat_line[p] - SLACK, SLACK)
            # First cell of which it is not known yet that its window rules the test out.
            zeros_from = flat_from = attenuated_from = first
            value, following = _value(sums, counts, first - 1, s, p), _value(sums, counts, first, s, p)
            for t in range(first, sums.shape[0]):
                before, value, following = value, following, _value(sums, counts, t + 1, s, p)
                if np.isnan(value):
                    continue
                if abs(value - (before + following) / 2) > spike[p] + SLACK:
                    bits[t - first, s, p] |= SPIKE
                if abs(value - before) > rate_of_change[p] + SLACK:
                    bits[t - first, s, p] |= RATE_OF_CHANGE
                if value == 0 and zeros_from <= t:
                    zeros_from = _first_flat(sums, counts, t, s, p, zeros_cells, NO_RANGE)
                if flat_line[p] > 0 and flat_from <= t:
                    flat_from = _first_flat(sums, counts, t, s, p, flat_cells, tolerance)
                zeros, flat = value == 0 and zeros_from <= t, flat_line[p] > 0 and flat_from <= t
                if zeros:
                    bits[t - first, s, p] |= ZEROS
                elif flat:
                    bits[t - first, s, p] |= FLAT_LINE
                if flat or not attenuated_signal[p] > 0:
                    continue
                if attenuated_from <= t:
                    attenuated_from = _first_attenuated(sums, counts, t, s, p, attenuated_cells, attenuated_signal[p])
                if attenuated_from <= t:
                    bits[t - first, s, p] |= ATTENUATED_SIGNAL
