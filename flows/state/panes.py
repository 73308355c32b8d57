"""Totals of every ten minutes of the grid, added up once: windows, hours, indices and alerts all rest on them.

They follow from the cells alone and are no state of their own: what changed is added up again when it is asked for.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.arrays import I64
from flows.kernels.rolling import PANE_SLOTS

Cells = dict[str, NDArray[Any]]
Whole = NDArray[Any]
"""Whole numbers, or whether."""


class Totals(NamedTuple):
    """Totals of n runs of slots, each of shape (n, stations, parameters).

    Attributes:
        sums: quanta.
        counts: values.
        filled: slots that hold a value.
        suspect: values that their own range, their status or their surroundings make suspect.
    """

    sums: I64
    counts: Whole
    filled: Whole
    suspect: Whole

    def added(self, run: int) -> "Totals":
        """Add up runs of so many."""
        return Totals(
            *(
                one.reshape(-1, run, *one.shape[1:]).sum(axis=1, dtype=kind)
                for one, kind in zip(self, KINDS, strict=True)
            )
        )


KINDS: tuple[Any, ...] = (np.int64, np.int32, np.int32, np.int32)
"""What totals of more than one slot are kept in."""


def of_slots(layers: Cells) -> Totals:
    """Make totals of single slots from layers of the grid."""
    counts, found, suspect = layers["counts"], layers["found"], layers["suspects"]
    return Totals(layers["sums"], counts, counts > 0, np.where(found, counts, suspect) if found.any() else suspect)


class Panes:
    """Totals of the blocks of a grid.

    Args:
        length: slots of the grid, a multiple of ``PANE_SLOTS``; the first ends a block that began before the grid.
        shape: stations and parameters.
    """

    def __init__(self, length: int, shape: tuple[int, int]) -> None:
        lines = length // PANE_SLOTS + 1
        self._totals = Totals(*(np.zeros((lines, *shape), kind) for kind in KINDS))
        self._stale = np.ones(lines, bool)
        self._running = Totals(*(np.zeros((lines, *shape), kind) for kind in KINDS))
        self._added = 1
        """Panes before this one are in the running totals; the first block has no lines before the grid."""

    def touch(self, line: I64) -> None:
        """Note that cells on these lines of the grid change."""
        block = (line + PANE_SLOTS - 1) // PANE_SLOTS
        self._stale[block] = True
        self._added = min(self._added, max(1, int(block.min())))

    def get(self, first: int, last: int, layers: Callable[[int, int], Cells]) -> Totals:
        """Return the totals of blocks first..last-1, of which block b has the lines 10 b - 9 to 10 b.

        Args:
            first: block, at least 1.
            last: block.
            layers: gives the layers of some lines of the grid, from one to before another.
        """
        stale = np.flatnonzero(self._stale[first:last]) + first
        for low, high in _runs(stale):
            new = of_slots(layers((low - 1) * PANE_SLOTS + 1, (high - 1) * PANE_SLOTS + 1)).added(PANE_SLOTS)
            for kept, part in zip(self._totals, new, strict=True):
                kept[low:high] = part
            self._stale[low:high] = False
        return Totals(*(kept[first:last] for kept in self._totals))

    def running(self, last: int, layers: Callable[[int, int], Cells]) -> Totals:
        """Return running totals, of which two blocks' difference is the total from after the one to the other.

        They wrap around, which does not matter to differences.

        Args:
            last: block, up to which they hold.
            layers: as for ``get``.
        """
        if self._added <= last:
            for kept, new in zip(self._running, self.get(self._added, last + 1, layers), strict=True):
                np.cumsum(new, axis=0, out=kept[self._added : last + 1])
                kept[self._added : last + 1] += kept[self._added - 1]
            self._added = last + 1
        return self._running

    def shift(self, blocks: int) -> None:
        """Forget the oldest blocks, and make room for as many new ones."""
        self._added = max(1, self._added - blocks)
        for kept in (*self._totals, *self._running):
            kept[:-blocks] = kept[blocks:].copy()
        self._stale[:-blocks] = self._stale[blocks:].copy()
        self._stale[-blocks:] = True


def _runs(numbers: NDArray[np.integer]) -> Iterator[tuple[int, int]]:
    """Runs of consecutive numbers: the first of each, and the number after its last."""
    if numbers.size:
        cuts = np.flatnonzero(np.diff(numbers) > 1)
        firsts, lasts = numbers[[0, *(cuts + 1)]], numbers[[*cuts, -1]]
        yield from zip(firsts.tolist(), (lasts + 1).tolist(), strict=True)
