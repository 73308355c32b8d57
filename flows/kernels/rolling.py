"""Rolling means as exact integer sums: each window is the difference of two running totals.

A slot weighs once, however many values it holds: by their mean. Values and means of slots become whole quanta, so that
sums are exact: neither the order of readings, nor where the grid begins, nor how often a window moved can change a
mean. Running totals are taken in 64-bit arithmetic that wraps around silently; a
difference of two of them is right whenever the window's own total fits 64 bits, however far they have wrapped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.arrays import B1, F64, I32, I64, U8, Whole
from flows.kernels.compiled import compiled, jitable

PANE_SLOTS = 10
"""Slots of a pane. Pane b holds a grid's lines 10 b - 9 to 10 b, and running totals are kept at its end; pane 0 lies
before the grid and is empty."""
PER_UNIT = 1_000_000_000
"""Quanta in a unit of a value."""
VALID_COVERAGE = 0.75
"""Coverage from which a window is valid: three quarters, as regulators ask of hours and days."""
QUANTUM = 1e-9
"""A quantum in units of a value: 1/``PER_UNIT``; finer than any instrument's last digit."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Totals of windows: P parameters, W lengths, S stations, E ends; each of shape (P, W, S, E)."""

    sum: I64
    """Quanta: the sum of the means of the filled slots."""
    count: I32
    """Values in the sum."""
    filled: I32
    """Slots that hold a value."""
    suspect: I32
    """Values that their own range, their status or a test makes suspect."""
    below: I32
    """Values that fail below their range."""
    above: I32
    """Values that fail above it."""

    def ending(self, ends: slice) -> "Windows":
        """Windows of some of the ends."""
        return Windows(*(values[..., ends] for values in self))

    def __iter__(self) -> Iterator[Any]:
        """Yield the six arrays."""
        return iter((self.sum, self.count, self.filled, self.suspect, self.below, self.above))


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


@jitable
def slot_mean(total: Any, count: Any) -> Any:
    """Mean of the values of a slot in whole quanta, halves up."""
    return total if count <= 1 else (2 * total + count) // (2 * count)


def slot_means(sums: I64, counts: Whole) -> I64:
    """Means of the values of slots in whole quanta, halves up; shapes are equal.

    >>> slot_means(np.array([7, 10, -3, 0]), np.array([1, 4, 2, 0])).tolist()
    [7, 3, -1, 0]
    """
    if not (counts > 1).any():
        return sums
    several = np.maximum(counts, 1).astype(np.int64)
    return np.where(counts > 1, (2 * sums + several) // (2 * several), sums)


Totals = tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.integer], NDArray[np.integer]]
"""Four arrays of one shape."""


def windows_at(running: Totals, cells: Totals, ends: I64, lengths: I64, columns: Whole) -> Windows:
    """Total the windows (end - length, end] of the lines of a grid, for any ends and lengths.

    The total up to a line is the running total of the last whole pane, and of the lines behind it. Each is computed
    once, however many windows begin or end there.

    A window's sum must fit 64 bits: 92,233 slots of ``schemas.city.LARGEST``, which is nine times the longest window.

    Args:
        running: sums, counts, filled lines and suspect values of all panes up to each, shape (panes, stations, P),
            with any offset. Pane b ends with line 10 b.
        cells: sums, counts, suspect values and what tests found of each line, shape (lines, stations, P); where a test
            found something, all values are suspect. What lies beyond the last line is empty.
        ends: lines, in rising order, shape (E,).
        lengths: in lines, at least 1, shape (W,).
        columns: stations, shape (S,).

    Raises:
        ValueError: the ends do not rise, or a window begins before line 0.

    >>> cells = np.arange(20).reshape(20, 1, 1), *(np.ones((3, 20, 1, 1), np.uint8))
    >>> running = np.array([0, 55]).reshape(2, 1, 1), *(np.full((3, 2, 1, 1), [[[0]], [[10]]], np.int32))
    >>> windows_at(running, cells, np.array([5, 12]), np.array([1, 3]), np.array([0])).sum[0, :, 0].tolist()
    [[5, 12], [12, 33]]
    """
    shape = cells[0].shape[2], lengths.size, columns.size, ends.size
    totals = np.empty(shape, np.int64), np.empty(shape, np.int32), np.empty(shape, np.int32), np.empty(shape, np.int32)
    if ends.size:
        _difference(running, cells, ends, lengths, columns.astype(np.int64, copy=False), totals)
    none = np.broadcast_to(np.int32(0), shape)
    return Windows(*totals, none, none)


@jitable
def _lines(ends: I64, lengths: I64, ranks: NDArray[np.uint32]) -> I64:
    """Lines at which windows end or begin, rising, each once; and for each end and each begin, which of them it is.

    Args:
        ends: shape (E,).
        lengths: shape (W,).
        ranks: takes the index among the lines, shape (1 + W, E): of the ends, then of the begins by length.
    """
    lines, number = np.empty(ranks.size, np.int64), 0
    merged = np.zeros(ranks.shape[0], np.int64)  # of the ends, and of the begins of each length: so many are in
    while merged[0] < ends.size:
        line = ends[merged[0]]
        for k in range(lengths.size):
            if merged[k + 1] < ends.size:
                line = min(line, ends[merged[k + 1]] - lengths[k])
        if line < 0 or (number and line <= lines[number - 1]):
            raise ValueError("ends must rise, and windows begin on the grid")
        for k in range(ranks.shape[0]):
            length = lengths[k - 1] if k else 0
            while merged[k] < ends.size and ends[merged[k]] - length == line:
                ranks[k, merged[k]] = number
                merged[k] += 1
        lines[number] = line
        number += 1
    return lines[:number]


@jitable
def _flat(arrays: Totals) -> Totals:
    """The four arrays, each in one dimension."""
    return arrays[0].reshape(-1), arrays[1].reshape(-1), arrays[2].reshape(-1), arrays[3].reshape(-1)


_RUNNING = "Tuple((const int64[:, :, ::1], const int32[:, :, ::1], const int32[:, :, ::1], const int32[:, :, ::1]))"
_CELLS = "Tuple((const int64[:, :, ::1], const uint8[:, :, ::1], const uint8[:, :, ::1], const uint8[:, :, ::1]))"
_TOTALS = "Tuple((int64[:, :, :, ::1], int32[:, :, :, ::1], int32[:, :, :, ::1], int32[:, :, :, ::1]))"


@compiled(f"void({_RUNNING}, {_CELLS}, const int64[:], const int64[:], const int64[:], {_TOTALS})")
def _difference(running: Totals, cells: Totals, ends: I64, lengths: I64, columns: I64, totals: Totals) -> None:
    """Fill ``totals`` column by column: the total up to each line that matters, then the windows' differences.

    Arrays are indexed flat, by unsigned numbers: the four of a kind then share one index, which takes a third less.
    """
    last, stations, parameters = cells[0].shape[0] - 1, cells[0].shape[1], cells[0].shape[2]
    sums, counts, suspects, tests = _flat(cells)
    running_sum, running_count, running_filled, running_suspect = _flat(running)
    out_sum, out_count, out_filled, out_suspect = _flat(totals)
    ranks = np.empty((lengths.size + 1, ends.size), np.uint32)
    lines = np.minimum(_lines(ends, lengths, ranks), last)
    rows, row = lines.size, np.uint64(stations * parameters)
    sum_to, count_to = np.empty(rows, np.int64), np.empty(rows, np.int32)
    filled_to, suspect_to = np.empty(rows, np.int32), np.empty(rows, np.int32)
    for s in range(columns.size):
        for p in range(parameters):
            column, line, following = np.uint64(columns[s] * parameters + p), 0, -1
            total, count, filled, suspect = np.int64(0), np.int32(0), np.int32(0), np.int32(0)
            for i in range(rows):
                if lines[i] >= following:
                    pane = lines[i] // PANE_SLOTS
                    line, following = pane * PANE_SLOTS, (pane + 1) * PANE_SLOTS
                    at = np.uint64(pane) * row + column
                    total, count = running_sum[at], running_count[at]
                    filled, suspect = running_filled[at], running_suspect[at]
                while line < lines[i]:
                    line += 1
                    at = np.uint64(line) * row + column
                    values = np.int32(counts[at])
                    total += slot_mean(sums[at], np.int64(counts[at]))
                    count += values
                    filled += np.int32(values > 0)
                    suspect += values if tests[at] else np.int32(suspects[at])
                sum_to[i], count_to[i], filled_to[i], suspect_to[i] = total, count, filled, suspect
            for k in range(lengths.size):
                first = np.uint64(((p * lengths.size + k) * columns.size + s) * ends.size)
                for e in range(ends.size):
                    end, begin, at = ranks[0, e], ranks[k + 1, e], first + np.uint64(e)
                    out_sum[at] = sum_to[end] - sum_to[begin]
                    out_count[at] = count_to[end] - count_to[begin]
                    out_filled[at] = filled_to[end] - filled_to[begin]
                    out_suspect[at] = suspect_to[end] - suspect_to[begin]


def failures_at(below: U8, above: U8, ends: I64, lengths: I64, columns: Whole) -> tuple[I32, I32]:
    """Count the values of windows (end - length, end] that fail below their range, and above it.

    Args:
        below: of each line, shape (lines, stations, P); what lies beyond the last line is empty.
        above: likewise.
        ends: lines, in rising order, shape (E,).
        lengths: in lines, shape (W,).
        columns: stations, shape (S,).

    Returns:
        Both of shape (P, W, S, E).
    """
    last = min(int(ends[-1]), below.shape[0] - 1)
    first = min(int(ends[0] - lengths.max()), last)
    shape = last - first + 1, columns.size, below.shape[2]
    counted = []
    for failures in (below, above):
        running = np.zeros(shape, np.int32)
        np.cumsum(failures[first + 1 : last + 1][:, columns], axis=0, dtype=np.int32, out=running[1:])
        upto = np.minimum(ends, last) - first
        of_lengths = [running[upto] - running[np.minimum(ends - length, last) - first] for length in lengths.tolist()]
        counted.append(np.ascontiguousarray(np.stack(of_lengths).transpose(3, 0, 2, 1)))
    return counted[0], counted[1]


def one_sided(count: Whole, below: Whole, above: Whole) -> tuple[B1, B1]:
    """Whether more than a tenth of the values of windows fail below their range, or above it.

    Args:
        count: values that count, any shape.
        below: values that fail below, likewise.
        above: values that fail above, likewise.

    >>> one_sided(np.array([9, 8]), np.array([1, 2]), np.array([0, 0]))[0].tolist()
    [False, True]
    """
    every = count + below + above
    return np.asarray(below * 10 > every), np.asarray(above * 10 > every)


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
