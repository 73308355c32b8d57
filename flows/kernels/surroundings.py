"""Judge values by what surrounds them: the same station just before and after, and its other parameters.

Every test gives at most SUSPECT and takes nothing out of a mean: a dust front is a legal jump. Spike, rate of change,
flat line and attenuated signal are QARTOD's (as in ``ioos_qc``); zeros in a row and PM2.5 above PM10 are this
project's. All depend on a bounded stretch before a cell and one cell after it, so that late data can be judged again.

Most series are never stuck nor jump. So two passes over all cells give the highest and lowest value of each block of
cells; from these, columns (a station's parameter) that cannot hold a finding are ruled out, and the exact tests run
on the rest only. Ruling out errs to the safe side, so blocks can never be seen in a result.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.arrays import B1, F64, U8
from flows.kernels.rolling import QUANTUM, prefix, trailing
from schemas.city import City
from schemas.durations import minutes
from schemas.measured import AIR
from schemas.quality import Test

LOOKAHEAD = 1
"""Cells after a cell that its result may depend on: the spike test looks at both neighbours."""
SHORTEST = 3
"""Cells of the shortest window; it must hold a value in each."""
PRESENCE_PERCENT = 75
"""Share of a window's cells that must hold a value; fewer say nothing about a stuck sensor."""
UNITS_IN_LIMIT = 1000
"""A signal's deviation is measured in this fraction of its limit, as whole numbers."""
ROUNDED = 1.01
"""More than the root of a sum of squares may differ for values that are rounded to such units."""
LONGEST_BLOCK = 10

# Values are multiples of a quantum and limits are decimals; in binary 10.1 - 10.0 is less than 0.1. This is more than
# any rounding of values below schemas.city.LARGEST, and less than half of what a half quantum can make.
SLACK = QUANTUM / 4

PM10, PM25 = AIR.gridded.index("pm10"), AIR.gridded.index("pm25")


class Limits(NamedTuple):
    """Limits by parameter, shape (6,), each in its parameter's unit, and lengths in cells.

    ``spike`` and ``rate_of_change`` are infinite, ``flat_line`` and ``attenuated_signal`` 0, where no test is made.
    """

    spike: F64
    rate_of_change: F64
    flat_line: F64
    attenuated_signal: F64
    flat_line_cells: int
    attenuated_signal_cells: int
    zeros_cells: int
    pm25_ratio: float
    pm25_offset: float


def limits(city: City, cadence: int) -> Limits:
    """Limits of ``city`` for cells of ``cadence`` minutes.

    Steps between neighbours have the same limit at every cadence. A length that is no multiple of the cadence is cut
    to whole cells, and none is shorter than three.

    >>> from schemas.city import City, Identity
    >>> city = City(city=Identity(id="tiny", name="Tiny", timezone="Asia/Seoul"), stations=[])
    >>> limits(city, 1).flat_line_cells, limits(city, 60).flat_line_cells, limits(city, 60).zeros_cells
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
        pm25_ratio=quality.pm25_over_pm10[0],
        pm25_offset=quality.pm25_over_pm10[1],
    )


def lookback(limits: Limits) -> int:
    """Cells before a cell that its result may depend on."""
    return max(limits.flat_line_cells, limits.attenuated_signal_cells, limits.zeros_cells) - 1


def surroundings(x: F64, first: int, limits: Limits) -> U8:
    """Find values that their surroundings make suspect.

    The result of cell i depends on ``x[i - lookback(limits) : i + LOOKAHEAD + 1]`` and on nothing else; what lies
    before the slice counts as missing. It is final once cell i + 1 is: the last cell of a slice has no spike yet.

    * SPIKE: farther than the limit from the middle of its two neighbours, both present.
    * RATE_OF_CHANGE: farther than the limit from the value before, which is present.
    * ZEROS: this and every value of its window are exactly 0.
    * FLAT_LINE: the range of its window is below the tolerance, and it is not ZEROS.
    * ATTENUATED_SIGNAL: the population's standard deviation over its window is below the limit, computed in whole
      thousandths of the limit, and the range of the flat line's window is not.
    * PM25_ABOVE_PM10: PM2.5 > ratio × PM10 + offset; set on both.

    A window of W cells ends at the value and is judged only with 0.75 W values or more in it, so at least 3.
    A difference that equals a limit in decimals is neither above nor below it.

    Args:
        x: shape (T, S, 6), in the order of ``AIR.gridded``, each in its unit, finite or NaN for missing. A cell is
            one cadence of one station.
        first: cells before it are lookback and get no result.
        limits: of these cells, by ``limits(city, cadence)``.

    Returns:
        Bits of ``schemas.quality.Test``, shape (T - first, S, 6); 0 where nothing was found or no value is.

    >>> from schemas.city import City, Identity
    >>> city = City(city=Identity(id="tiny", name="Tiny", timezone="Asia/Seoul"), stations=[])
    >>> x = np.full((4, 1, 6), np.nan)
    >>> x[:, 0, 0] = 40.0, 41.0, 400.0, 42.0  # PM10 by the hour
    >>> surroundings(x, 0, limits(city, 60))[:, 0, 0]
    array([0, 1, 3, 2], dtype=uint8)
    """
    T, S, P = x.shape
    found = np.zeros((T - first, S, P), np.uint8)
    if not found.size:
        return found
    start = max(first - lookback(limits), 0)
    cells = x[start:].reshape(T - start, S * P)
    columns = found.reshape(T - first, S * P)
    _columns(cells, first - start, limits, S, columns)

    pm10, pm25 = x[first:, :, PM10], x[first:, :, PM25]
    above = pm25 > limits.pm25_ratio * pm10 + (limits.pm25_offset + SLACK)
    if above.any():
        found[above, PM10] |= np.uint8(Test.PM25_ABOVE_PM10)
        found[above, PM25] |= np.uint8(Test.PM25_ABOVE_PM10)
    return found


def _columns(cells: F64, first: int, limits: Limits, stations: int, found: U8) -> None:
    """Test each column of ``cells``, shape (T, columns), and put what is found into ``found``."""
    spike, rate = np.tile(limits.spike, stations), np.tile(limits.rate_of_change, stations)
    flat, attenuated = np.tile(limits.flat_line, stations), np.tile(limits.attenuated_signal, stations)
    flat[flat > 0] = np.maximum(flat[flat > 0] - SLACK, SLACK)
    blocks = _Blocks(cells, limits)

    jumpy = np.flatnonzero(blocks.may_jump(first, np.minimum(spike, rate)))
    for some in _few(jumpy):
        found[:, some] |= _jumps(cells, first, some, spike[some], rate[some])

    stuck = np.flatnonzero(
        blocks.may_be_zeros()
        | blocks.may_be_flat(first, limits.flat_line_cells, flat)
        | blocks.may_be_attenuated(first, limits.attenuated_signal_cells, attenuated)
    )
    for some in _few(stuck):
        found[:, some] |= _stuck(cells[:, some], first, flat[some], attenuated[some], limits)


def _few(columns: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Split columns into runs whose arrays stay in a processor's cache."""
    for i in range(0, columns.size, 16):
        yield columns[i : i + 16]


def _jumps(cells: F64, first: int, columns: NDArray[np.intp], spike: F64, rate: F64) -> U8:
    """Spike and rate of change, exactly, of some columns."""
    missing = np.full((1, columns.size), np.nan)
    before = cells[first - 1 : first, columns] if first else missing
    x = np.concatenate([before, cells[first:, columns], missing])
    previous, value, following = x[:-2], x[1:-1], x[2:]
    found = np.zeros(value.shape, np.uint8)
    found[np.abs(value - (previous + following) / 2) > spike + SLACK] |= np.uint8(Test.SPIKE)
    found[np.abs(value - previous) > rate + SLACK] |= np.uint8(Test.RATE_OF_CHANGE)
    return found


def _stuck(x: F64, first: int, tolerance: F64, deviation: F64, limits: Limits) -> U8:
    """Flat line, attenuated signal and zeros, exactly, of some columns ``x`` of shape (T, columns)."""
    present = ~np.isnan(x)
    counted = prefix(present, np.int32)
    here = present[first:]

    def enough(cells: int) -> B1:
        return here & (trailing(counted, cells, first) >= _fewest(cells))

    others = trailing(prefix(present & (x != 0), np.int32), limits.zeros_cells, first)
    zeros = enough(limits.zeros_cells) & (others == 0)

    flat = enough(limits.flat_line_cells) & (_range(x, limits.flat_line_cells)[first:] < tolerance)

    damped = enough(limits.attenuated_signal_cells) & ~flat
    if damped.any():
        damped &= _damped(x, first, deviation, limits.attenuated_signal_cells)

    found = np.zeros(here.shape, np.uint8)
    found[zeros] |= np.uint8(Test.ZEROS)
    found[flat & ~zeros] |= np.uint8(Test.FLAT_LINE)
    found[damped] |= np.uint8(Test.ATTENUATED_SIGNAL)
    return found


def _damped(x: F64, first: int, limit: F64, cells: int) -> B1:
    """Tell whose standard deviation over the window is below ``limit``, in whole numbers.

    With n values of q units, n Σq² - (Σq)² is n² times their variance. All of it is computed modulo 2^64, where it
    is exact as long as the result itself is small. That a small result is not a large one wrapped around is seen from
    the range r: n values have a standard deviation of at least r / sqrt(2 n), so twice that is far too much.
    """
    present = ~np.isnan(x)
    unit = np.where(limit > 0, limit, 1.0) / UNITS_IN_LIMIT
    q = np.rint(np.clip(np.where(present, x, 0.0) / unit, -(2.0**62), 2.0**62)).astype(np.int64)
    n = trailing(prefix(present, np.int64), cells, first)
    total = trailing(prefix(q, np.int64), cells, first)
    squares = trailing(prefix(q * q, np.int64), cells, first)
    small: B1 = n * squares - total * total < (UNITS_IN_LIMIT * n) ** 2
    small &= _range(x, cells)[first:] < 2 * limit * np.sqrt(cells)
    return small


def _range(x: F64, length: int) -> F64:
    """Highest less lowest of the values in (i - length, i], for each row i; NaN where there are none."""
    return _extreme(np.fmax, x, length) - _extreme(np.fmin, x, length)


def _extreme(extreme: Callable[[F64, F64], F64], x: F64, length: int) -> F64:
    """Extreme of rows (i - length, i] for each row i, by windows that double until they suffice."""
    width, widest = 1, x.copy()
    while width < length:
        further = min(width, length - width)
        widest[further:] = extreme(widest[further:], widest[:-further])
        width += further
    return widest


def _fewest(cells: int) -> int:
    """Values that a window of ``cells`` must hold to be judged; all three in the shortest."""
    return -(-PRESENCE_PERCENT * cells // 100)


def _any(found: B1) -> B1:
    """Tell which columns hold a finding."""
    return np.asarray(found.any(axis=0))


class _Blocks:
    """Highest and lowest value of each block of cells, and what they rule out, column by column.

    Blocks start at the slice's first cell; those that lie whole in a window show a part of what the window shows.
    They are so short that a window with enough values has some in a whole block, or else they are single cells.
    """

    def __init__(self, cells: F64, limits: Limits) -> None:
        T, C = cells.shape
        shortest = min(limits.flat_line_cells, limits.attenuated_signal_cells, limits.zeros_cells)
        self.size = max(1, min(LONGEST_BLOCK, shortest // 8))
        self.whole = T // self.size
        blocks = cells[: self.whole * self.size].reshape(self.whole, self.size, C)
        rest = cells[self.whole * self.size :]
        self.high: F64 = np.fmax.reduce(blocks, axis=1)
        self.low: F64 = np.fmin.reduce(blocks, axis=1)
        if len(rest):
            self.high = np.concatenate([self.high, np.fmax.reduce(rest, axis=0)[None]])
            self.low = np.concatenate([self.low, np.fmin.reduce(rest, axis=0)[None]])

    def may_jump(self, first: int, limit: F64) -> B1:
        """Rule out by range: two neighbours lie within two blocks, and a spike is at most its larger step."""
        spread = _extreme(np.fmax, self.high, 2) - _extreme(np.fmin, self.low, 2)
        return _any(spread[first // self.size :] > limit)

    def may_be_zeros(self) -> B1:
        """Rule out by blocks of zeros: zeros in a row fill at least one."""
        return _any((self.high == 0) & (self.low == 0))

    def may_be_flat(self, first: int, cells: int, tolerance: F64) -> B1:
        """Rule out by range: that of a window's whole blocks is at most the window's."""
        high, low, inside = self.high[: self.whole], self.low[: self.whole], self._inside(cells)
        spread = _extreme(np.fmax, high, inside) - _extreme(np.fmin, low, inside)
        return _any(spread[self._last(first) :] < tolerance)

    def may_be_attenuated(self, first: int, cells: int, limit: F64) -> B1:
        """Rule out by squared deviations: a window's sum to at least those of its blocks' highest and lowest values.

        Highest and lowest deviate from their middle by half their distance each, and the middles from one another;
        counting a middle once is too little, never too much, also where highest and lowest are one cell.
        """
        high, low, inside = self.high[: self.whole], self.low[: self.whole], self._inside(cells)
        empty = np.isnan(high)
        middle = np.where(empty, 0.0, (high + low) / 2)
        squares = np.cumsum(middle * middle + np.where(empty, 0.0, (high - low) ** 2 / 2), axis=0)
        rounding = 1e-9 * squares[-1:]  # far more than sums of less than a million blocks can lose
        sums, counts = np.cumsum(middle, axis=0), np.cumsum(~empty, axis=0)
        for amount in (squares, sums, counts):
            amount[inside:] -= amount[:-inside].copy()
        deviations = squares - sums * sums / np.maximum(counts, 1) - rounding
        small = (deviations < ROUNDED * limit * limit * cells) & (counts > 0)
        return _any(small[self._last(first) :]) & (limit > 0)

    def _inside(self, cells: int) -> int:
        """Blocks that lie whole in a window of ``cells`` wherever it ends."""
        return (cells + 1) // self.size - 1

    def _last(self, first: int) -> int:
        """Find the last block that lies whole in the window that ends at ``first``."""
        return max((first + 1) // self.size - 1, 0)
