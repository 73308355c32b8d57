"""The tests of a value's own series in numpy, over every window of every cell: slow, and without a short cut."""

import numpy as np

from flows.kernels.temporal_tests import PRESENCE_PERCENT, SLACK, UNITS_IN_LIMIT, lookback
from schemas.quality import Test


def slow_temporal_tests(x, first, limits):
    """Bits of ``temporal_tests`` for values ``x`` of shape (T, S, P), NaN where missing."""
    start = max(first - lookback(limits), 0)
    x, first = x[start:], first - start
    bits = np.zeros((len(x) - first, *x.shape[1:]), np.uint8)
    bits |= jumps(x, first, limits)
    bits |= stuck(x, first, limits)
    return bits


def jumps(x, first, limits):
    """Spike and rate of change."""
    nothing = np.full((1, *x.shape[1:]), np.nan)
    padded = np.concatenate([nothing, x, nothing])[first:]
    before, value, after = padded[:-2], padded[1:-1], padded[2:]
    bits = np.zeros(value.shape, np.uint8)
    bits[np.abs(value - (before + after) / 2) > limits.spike + SLACK] |= np.uint8(Test.SPIKE)
    bits[np.abs(value - before) > limits.rate_of_change + SLACK] |= np.uint8(Test.RATE_OF_CHANGE)
    return bits


def stuck(x, first, limits):
    """Flat line, attenuated signal and zeros."""
    present = ~np.isnan(x)
    tolerance = np.where(limits.flat_line > 0, np.maximum(limits.flat_line - SLACK, SLACK), 0.0)

    def enough(cells):
        return present[first:] & (trailing(present, cells, first, np.int32) >= -(-PRESENCE_PERCENT * cells // 100))

    others = trailing(present & (x != 0), limits.zeros_cells, first, np.int32)
    zeros = enough(limits.zeros_cells) & (others == 0)
    flat = enough(limits.flat_line_cells) & (spread(x, limits.flat_line_cells)[first:] < tolerance)
    attenuated = enough(limits.attenuated_signal_cells) & ~flat
    attenuated &= damped(x, first, limits.attenuated_signal, limits.attenuated_signal_cells)
    bits = np.zeros(zeros.shape, np.uint8)
    bits[zeros] |= np.uint8(Test.ZEROS)
    bits[flat & ~zeros] |= np.uint8(Test.FLAT_LINE)
    bits[attenuated] |= np.uint8(Test.ATTENUATED_SIGNAL)
    return bits


def damped(x, first, limit, cells):
    """Whose standard deviation over the window is below the limit, in whole units.

    With n values of q units, n Σq² - (Σq)² is n² times their variance. All of it is computed modulo 2^64, where it
    is exact as long as the result itself is small. That a small result is not a large one wrapped around is seen from
    the range r: n values have a standard deviation of at least r / sqrt(2 n), so twice that is far too much.
    """
    present = ~np.isnan(x)
    unit = np.where(limit > 0, limit, 1.0) / UNITS_IN_LIMIT
    q = np.rint(np.clip(np.where(present, x, 0.0) / unit, -(2.0**62), 2.0**62)).astype(np.int64)
    n, total, squares = (trailing(amount, cells, first, np.int64) for amount in (present, q, q * q))
    small = n * squares - total * total < (UNITS_IN_LIMIT * n) ** 2
    return small & (spread(x, cells)[first:] < 2 * limit * np.sqrt(cells))


def trailing(amounts, length, first, kind):
    """Total of rows (i - length, i] for each row i from ``first`` on; it wraps around."""
    sums = np.zeros((len(amounts) + 1, *amounts.shape[1:]), kind)
    np.cumsum(amounts, axis=0, dtype=kind, out=sums[1:])
    ends = np.arange(first + 1, len(sums))
    return sums[ends] - sums[np.maximum(ends - length, 0)]


def spread(x, length):
    """Highest less lowest of the values in (i - length, i], for each row i; NaN where there are none."""
    high, low, width = x.copy(), x.copy(), 1
    while width < length:
        further = min(width, length - width)
        high[further:] = np.fmax(high[further:], high[:-further])
        low[further:] = np.fmin(low[further:], low[:-further])
        width += further
    return high - low


def by_the_rules(x, first, limits):
    """The same of the whole slice with every test as it is written, in binary: decimals at a limit are not for it."""
    nothing = np.full((1, *x.shape[1:]), np.nan)
    before, after = np.concatenate([nothing, x[:-1]]), np.concatenate([x[1:], nothing])

    def judged(cells):
        present = np.isfinite(windows(x, cells)).sum(axis=-1)
        return np.isfinite(x) & (present >= 3) & (present >= 0.75 * cells)

    def quiet(cells):
        limit = limits.attenuated_signal
        q = np.rint(x / np.where(limit > 0, limit / 1000, 1))
        window = windows(q, cells)
        n = np.isfinite(window).sum(axis=-1)
        q = np.where(np.isfinite(window), window, 0).astype(np.int64)
        return (limit > 0) & (n * (q * q).sum(axis=-1) - q.sum(axis=-1) ** 2 < (1000 * n) ** 2)

    in_zeros_window, in_flat_window = windows(x, limits.zeros_cells), windows(x, limits.flat_line_cells)
    zeros = judged(limits.zeros_cells) & ((in_zeros_window == 0) | np.isnan(in_zeros_window)).all(axis=-1)
    span = np.fmax.reduce(in_flat_window, axis=-1) - np.fmin.reduce(in_flat_window, axis=-1)
    flat = judged(limits.flat_line_cells) & (span < limits.flat_line)
    attenuated = judged(limits.attenuated_signal_cells) & quiet(limits.attenuated_signal_cells)
    bits = (
        (np.abs(x - (before + after) / 2) > limits.spike) * int(Test.SPIKE)
        + (np.abs(x - before) > limits.rate_of_change) * int(Test.RATE_OF_CHANGE)
        + zeros * int(Test.ZEROS)
        + (flat & ~zeros) * int(Test.FLAT_LINE)
        + (attenuated & ~flat) * int(Test.ATTENUATED_SIGNAL)
    )
    return bits[first:].astype(np.uint8)


def windows(x, cells):
    """Windows that end at each row, before the start missing: shape (T, ..., cells)."""
    padded = np.concatenate([np.full((cells - 1, *x.shape[1:]), np.nan), x])
    return np.lib.stride_tricks.sliding_window_view(padded, cells, axis=0) if len(x) else np.empty((*x.shape, cells))
