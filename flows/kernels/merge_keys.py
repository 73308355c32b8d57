"""Keys of a partition's rows in an event-time merge: the running maximum of their times, without wild ones."""

import numpy as np

from flows.arrays import I64
from flows.kernels.compiled import compiled

BEFORE_ALL_US = int(np.iinfo(np.int64).min)
"""Key before all rows; snapshots hold it."""


@compiled("int64(const int64[:], int64, int64, int64, int64, boolean, int64[::1])")
def merge_keys(
    observed: I64, high: int, leap: int, lookahead: int, first_lookahead: int, final: bool, keys: I64
) -> int:
    """Find the keys of rows, as far as the rows behind them tell.

    A time that leaps ahead is wild if one of the next rows lies as far behind it again: it does not carry the key.

    Args:
        observed: times of rows in their order, shape (n,).
        high: key of the row before.
        leap: how far a time lies ahead of the key if it leaps.
        lookahead: rows behind one that leaps that tell whether it is wild.
        first_lookahead: the same where there is no key yet.
        final: no more rows come.
        keys: becomes the keys, shape (n,).

    Returns:
        Rows whose keys are known.

    >>> keys = np.empty(5, np.int64)
    >>> merge_keys(np.array([1, 900, 2, 3, 800]), 0, 100, 2, 2, False, keys), keys[:4].tolist()
    (4, [1, 1, 2, 3])
    """
    n = observed.size
    for row in range(n):
        at = observed[row]
        begins = high == BEFORE_ALL_US
        if begins or at > high + leap:
            rows = first_lookahead if begins else lookahead
            wild = False
            for later in range(row + 1, min(n, row + 1 + rows)):
                if observed[later] < at - leap:
                    wild = True
                    break
            if not wild:
                if row + 1 + rows > n and not final:
                    return row
                high = at
        elif at > high:
            high = at
        keys[row] = high
    return n
