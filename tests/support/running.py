"""Windows over plain lines of cells: the running totals that a grid would keep of them."""

import numpy as np

from flows.kernels.rolling import PANE_SLOTS, slot_means, windows_at

KINDS = (np.int64, np.int32, np.int32, np.int32)


def running_totals(sums, counts, suspects, tests, offset=0):
    """Running totals of panes, where pane b ends with line 10 b; line 0 is in none."""
    amounts = slot_means(sums, counts), counts, counts > 0, np.where(tests > 0, counts, suspects)
    totals = [np.full(((len(sums) - 1) // PANE_SLOTS + 1, *sums.shape[1:]), offset, kind) for kind in KINDS]
    for total, amount in zip(totals, amounts, strict=True):
        total[1:] += np.cumsum(amount[1:], axis=0, dtype=total.dtype)[PANE_SLOTS - 1 :: PANE_SLOTS]
    return tuple(totals)


def trailing_windows(sums, counts, suspects, tests, lengths, first, every=1):
    """Windows that end with each ``every`` of the rows from ``first`` on; before the rows nothing is."""
    before = max(lengths)
    cells = tuple(
        np.ascontiguousarray(np.concatenate([np.zeros((before, *rows.shape[1:]), rows.dtype), rows]))
        for rows in (sums, counts, suspects, tests)
    )
    ends, columns = np.arange(before + first, before + len(sums), every), np.arange(sums.shape[1])
    return windows_at(running_totals(*cells), cells, ends, np.array(lengths), columns)
