"""Windows that end with one slot, for those who wait for it: whole blocks added up, and the slots beyond them.

The same whole numbers as ``rolling.windows`` gives for many ends at once.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.arrays import I64
from flows.kernels.compiled import compiled, jitable

Whole4 = tuple[NDArray[Any], ...]
"""Four arrays of whole numbers."""

_BLOCKS = "Tuple((const int64[:, :, :], const int32[:, :, :], const int32[:, :, :], const int32[:, :, :]))"
_LAYERS = "Tuple((const int64[:, :, :], const uint8[:, :, :], const uint8[:, :, :], const uint8[:, :, :]))"
_FOUND = "Tuple((int64[:, :, :, :], int32[:, :, :, :], int32[:, :, :, :], int32[:, :, :, :]))"


@jitable
def _add_slot(layers: Whole4, line: int, columns: I64, sign: np.int32, k: int, found: Whole4, e: int) -> None:
    """Add the cells of one line to the windows of one length, or take them away again."""
    sums, counts, suspects, tests = layers
    for s in range(columns.size):
        for p in range(sums.shape[2]):
            number = np.int32(counts[line, columns[s], p])
            if number:
                doubtful = number if tests[line, columns[s], p] else np.int32(suspects[line, columns[s], p])
                found[0][p, k, s, e] += sign * sums[line, columns[s], p]
                found[1][p, k, s, e] += sign * number
                found[2][p, k, s, e] += sign
                found[3][p, k, s, e] += sign * doubtful


@compiled(f"void({_BLOCKS}, int64, int64, {_LAYERS}, int64, const int64[:], const int64[:], {_FOUND}, int64)")
def total(
    running: Whole4,
    last: int,
    block: int,
    layers: Whole4,
    end: int,
    lengths: I64,
    columns: I64,
    found: Whole4,
    e: int,
) -> None:
    """Total the windows that end with one line of the grid.

    All windows have whole blocks for their length, so that each begins as far into a block as it ends.

    Args:
        running: sums, counts, filled slots and suspect values of all blocks up to each, each of shape (blocks,
            stations, 6).
        last: the last whole block before the end.
        block: slots of one.
        layers: sums, counts, suspects and what tests found of each slot, each of shape (lines, stations, 6).
        end: the line; blocks end with multiples of ``block``.
        lengths: of the windows in slots, shape (W,).
        columns: the stations asked for, shape (S,).
        found: takes sums, counts, filled slots and suspect values, each of shape (6, W, S, ends).
        e: which of the ends.
    """
    sums, counts, filled, suspect = running
    for k in range(lengths.size):
        before = last - lengths[k] // block
        for s in range(columns.size):
            column = columns[s]
            for p in range(sums.shape[2]):
                found[0][p, k, s, e] = sums[last, column, p] - sums[before, column, p]
                found[1][p, k, s, e] = counts[last, column, p] - counts[before, column, p]
                found[2][p, k, s, e] = filled[last, column, p] - filled[before, column, p]
                found[3][p, k, s, e] = suspect[last, column, p] - suspect[before, column, p]
        for line in range(end - end % block + 1, end + 1):
            _add_slot(layers, line, columns, np.int32(1), k, found, e)
            _add_slot(layers, line - lengths[k], columns, np.int32(-1), k, found, e)
