"""Rolling means as exact integer sums over blocks of minutes.

Values become whole quanta, so that sums are exact: neither the order of readings, nor where a slice starts, nor how
often a window moved can change a mean. Prefix sums are taken in 64-bit arithmetic that wraps around silently; a
difference of two of them is right whenever the window's own total fits 64 bits, however far the prefix has wrapped.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from flows.arrays import B1, F64, I32, I64, Whole

T = TypeVar("T", np.int32, np.int64)

PER_UNIT = 1_000_000_000
"""Quanta in a unit of a value."""
QUANTUM = 1e-9
"""A quantum in units of a value: 1/``PER_UNIT``; finer than any instrument's last digit."""
VALID_COVERAGE = 0.75
"""Coverage from which a window is valid: three quarters, as regulators ask of hours and days."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Totals of every window that ends with one of the asked blocks; each of shape (P, lengths, S, ends)."""

    sum: I64
    """Quanta."""
    count: I32
    """Values in the sum."""
    filled: I32
    """Slots that hold a value."""
    suspect: I32
    """Values, or slots, that a test found suspect: whatever the caller counted."""

    def ending(self, ends: slice) -> "Windows":
        """Return those that end with some of the blocks."""
        return Windows(self.sum[..., ends], self.count[..., ends], self.filled[..., ends], self.suspect[..., ends])


def quantise(values: F64) -> I64:
    """Turn values into whole quanta.

    Args:
        values: in their units, finite and within ±``schemas.city.LARGEST`` (which ``judge`` has seen to), any shape.

    Raises:
        FloatingPointError: a value is NaN, infinite or beyond 64 bits.

    >>> quantise(np.array([41.0, 0.031, -2.5])).tolist()
    [41000000000, 31000000, -2500000000]
    """
    with np.errstate(invalid="raise", over="raise"):
        return np.rint(values * PER_UNIT).astype(np.int64)  # 1e9 is exact in a float, 1e-9 is not


def prefix(amounts: Whole | B1, dtype: type[T]) -> NDArray[T]:
    """Sum along the first axis from the start, with a row of zeros before it; wraps around silently.

    >>> prefix(np.array([3, 4]), np.int64).tolist()
    [0, 3, 7]
    """
    sums = np.zeros((amounts.shape[0] + 1, *amounts.shape[1:]), dtype)
    np.cumsum(amounts, axis=0, dtype=dtype, out=sums[1:])
    return sums


def trailing(prefixes: NDArray[T], length: int, first: int) -> NDArray[T]:
    """Total the rows (i - length, i] for each row i from ``first`` on; rows before 0 count as empty.

    >>> trailing(prefix(np.array([1, 2, 4, 8]), np.int64), 2, first=0).tolist()
    [1, 3, 6, 12]
    """
    ends = np.arange(first + 1, prefixes.shape[0])
    return prefixes[ends] - prefixes[np.maximum(ends - length, 0)]


def windows(sums: I64, counts: Whole, filled: Whole, suspect: Whole, lengths: tuple[int, ...], first: int) -> Windows:
    """Total the windows that end with each block from ``first`` on.

    Causal, final for the blocks given, and independent of where the slice starts as long as it reaches back
    ``max(lengths) - 1`` blocks before ``first``. Blocks before the slice count as empty.

    A window's sum must fit 64 bits: 92,233 values of ``schemas.city.LARGEST``, so a day at one a second fits whatever
    they are. Longer windows fit as long as count × mean stays below 9.2e9 units: 7 days at one a second up to a mean
    of 15,250, far above the fail span of any pollutant.

    Args:
        sums: quanta in each block, shape (B, S, P).
        counts: values in each block, same shape, any integers.
        filled: slots of each block that hold a value, likewise.
        suspect: suspect ones among them, likewise.
        lengths: of the windows, in blocks.
        first: the first block to end a window with.

    >>> block = np.array([1, 2, 3], np.int64).reshape(3, 1, 1)
    >>> windows(block, block, block, block, (1, 2), first=1).sum[0, :, 0].tolist()
    [[2, 3], [3, 5]]
    """
    blocks, stations, parameters = sums.shape

    def total(amounts: Whole, dtype: type[T]) -> NDArray[T]:
        prefixes = np.zeros((parameters, stations, blocks + 1), dtype)
        np.cumsum(amounts.transpose(2, 1, 0), axis=-1, dtype=dtype, out=prefixes[..., 1:])
        totals = np.empty((parameters, len(lengths), stations, blocks - first), dtype)
        for i, length in enumerate(lengths):
            short = min(max(length - first - 1, 0), blocks - first)  # windows that begin before the slice
            totals[:, i] = prefixes[..., first + 1 :]
            totals[:, i, :, short:] -= prefixes[..., first + 1 + short - length : blocks + 1 - length]
        return totals

    return Windows(total(sums, np.int64), total(counts, np.int32), total(filled, np.int32), total(suspect, np.int32))


def mean(total: I64, count: Whole) -> F64:
    """Mean of ``count`` values that total ``total`` quanta, in their unit; NaN where there are none.

    >>> mean(np.array([63_000_000_000, 0]), np.array([3, 0]))
    array([21., nan])
    """
    if np.all(count):
        return np.asarray(total / np.multiply(count, float(PER_UNIT)))
    means = np.full(np.broadcast_shapes(np.shape(total), np.shape(count)), np.nan)
    np.divide(total, np.multiply(count, float(PER_UNIT)), out=means, where=np.asarray(count) > 0)
    return means


def coverage(filled: Whole, cadence_minutes: int, length_minutes: float | Whole | F64) -> F64:
    """Share of a window that its filled slots stand for, at most 1.

    Each slot stands for one cadence, of at least a minute; the whole window counts at a stream's start too.

    >>> coverage(np.array([1, 6, 8]), cadence_minutes=60, length_minutes=480)
    array([0.125, 0.75 , 1.   ])
    """
    minutes = filled if cadence_minutes <= 1 else np.multiply(filled, cadence_minutes)
    share: F64 = np.asarray(np.divide(minutes, length_minutes))
    return np.minimum(share, 1.0, out=share)


def windows_at(running, layers, ends, lengths, columns):
    """Interim."""

    def at(line):
        pane = line // 10
        out = []
        sums, counts, suspects, found = layers
        doubtful = np.where(found, counts, suspects)
        for total, cells in zip(running, (sums, counts, counts > 0, doubtful), strict=True):
            value = total[pane][:, columns].astype(total.dtype).copy()
            for i, e in enumerate(line.tolist()):
                value[i] += cells[e // 10 * 10 + 1 : e + 1][:, columns].sum(axis=0, dtype=total.dtype)
            out.append(value)
        return out

    end = at(ends)
    result = [np.empty((e.shape[2], lengths.size, columns.size, ends.size), e.dtype) for e in end]
    for w, length in enumerate(lengths.tolist()):
        begin = at(ends - length)
        for r, e, b in zip(result, end, begin, strict=True):
            r[:, w] = (e - b).transpose(2, 1, 0)
    return Windows(*result)
