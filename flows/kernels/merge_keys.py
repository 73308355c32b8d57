"""Keys of a partition's rows in an event-time merge: the running maximum of their times, without wild ones."""

import numpy as np

from flows.arrays import I64
from flows.kernels.compiled import compiled

BEFORE_ALL_US = int(np.iinfo(np.int64).min)
"""Key before all rows; snapshots hold it."""
MORE, END, GO_ON = range(3)
"""What comes behind the rows: more; nothing; more, but what is there goes on without it."""


@compiled("int64(const int64[:], int64, int64, int64, int64, int64, int64[::1], int64[::1])")
def merge_keys(
    observed: I64, high: int, leap: int, lookahead: int, first_lookahead: int, behind: int, doubt: I64, keys: I64
) -> int:
    """Find the keys of rows, as far as the rows behind them tell.

    A time that leaps ahead is wild if one of the next rows lies as far behind it again: it does not carry the key.

    Args:
        observed: times of rows in their order, shape (n,).
        high: key of the row before.
        leap: how far a time lies ahead of the key if it leaps.
        lookahead: rows behind one that leaps that tell whether it is wild.
        first_lookahead: the same where there is no key yet.
        behind: what comes behind the rows. One that leaps, and goes on before that is known, does not carry the key;
            the next one does, if it is about there too, or later.
        doubt: time of such a row, `BEFORE_ALL_US` for none, shape (1,). Written to.
        keys: becomes the keys, shape (n,).

    Returns:
        Rows whose keys are known.

    >>> keys, doubt = np.empty(5, np.int64), np.full(1, BEFORE_ALL_US)
    >>> merge_keys(np.array([1, 900, 2, 3, 800]), 0, 100, 2, 2, MORE, doubt, keys), keys[:4].tolist()
    (4, [1, 1, 2, 3])
    """
    n = observed.size
    for row in range(n):
        at = observed[row]
        begins = high == BEFORE_ALL_US
        if begins or at > high + leap:
            rows = first_lookahead if begins else lookahead
            wild = False
            again = doubt[0] > BEFORE_ALL_US and at >= doubt[0] - leap
            for later in range(row + 1, min(n, row + 1 + rows)):
                if observed[later] < at - leap:
                    wild = True
                    break
            if not wild:
                unknown = row + 1 + rows > n and not again
                if unknown and behind == MORE:
                    return row
                doubt[0] = BEFORE_ALL_US
                if unknown and behind == GO_ON and not begins:
                    doubt[0] = at
                else:
                    high = at
        else:
            doubt[0] = BEFORE_ALL_US
            high = max(high, at)
        keys[row] = high
    return n
