"""Windows that end with one slot, for those who wait for it: whole blocks added up, and the slots beyond them.

The same whole numbers as ``rolling.windows`` gives for many ends at once.
"""

import numpy as np

from flows.kernels.compiled import callable_there, compiled

_BLOCKS = "Tuple((int64[:, :, ::1], int32[:, :, ::1], int32[:, :, ::1], int32[:, :, ::1]))"
_LAYERS = "Tuple((int64[:, :, ::1], uint8[:, :, ::1], uint8[:, :, ::1], uint8[:, :, ::1]))"
_FOUND = "Tuple((int64[:, :, :, :], int32[:, :, :, :], int32[:, :, :, :], int32[:, :, :, :]))"


@callable_there
def _add_slot(layers, line, columns, sign, k, found, e):
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


@callable_there
def _add_block(added, block):
    for s in range(added.shape[0]):
        for p in range(added.shape[1]):
            added[s, p] += block[s, p]


@compiled(f"void({_BLOCKS}, int64, {_LAYERS}, int64, int64[::1], int64[::1], {_FOUND}, int64)")
def total(blocks, block, layers, end, lengths, columns, found, e):
    """Total the windows that end with one line of the grid.

    All windows have whole blocks for their length, so that each begins as far into a block as it ends.

    Args:
        blocks: sums, counts, filled slots and suspect values of blocks up to the last whole one before the end, each
            of shape (at least those of the longest window, stations, 6).
        block: slots of one.
        layers: sums, counts, suspects and what tests found of each slot, each of shape (lines, stations, 6).
        end: the line; blocks end with multiples of ``block``.
        lengths: of the windows in slots, shape (W,).
        columns: the stations asked for, shape (S,).
        found: takes sums, counts, filled slots and suspect values, each of shape (6, W, S, ends).
        e: which of the ends.
    """
    rows, beyond = blocks[0].shape[0], end % block
    added = np.zeros_like(blocks[0][0]), np.zeros_like(blocks[1][0]), np.zeros_like(blocks[2][0]), np.zeros_like(blocks[3][0])
    for back in range(1, rows + 1):
        _add_block(added[0], blocks[0][rows - back])
        _add_block(added[1], blocks[1][rows - back])
        _add_block(added[2], blocks[2][rows - back])
        _add_block(added[3], blocks[3][rows - back])
        for k in range(lengths.size):
            if lengths[k] == back * block:
                for s in range(columns.size):
                    for p in range(added[0].shape[1]):
                        found[0][p, k, s, e], found[1][p, k, s, e] = added[0][columns[s], p], added[1][columns[s], p]
                        found[2][p, k, s, e], found[3][p, k, s, e] = added[2][columns[s], p], added[3][columns[s], p]
    for k in range(lengths.size):
        for line in range(end - beyond + 1, end + 1):
            _add_slot(layers, line, columns, np.int32(1), k, found, e)
            _add_slot(layers, line - lengths[k], columns, np.int32(-1), k, found, e)
