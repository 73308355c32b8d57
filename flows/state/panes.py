"""Ten-minute partial aggregates of the grid, and their running totals: every window is a difference of two of them.

They follow from the cells alone and are no state of their own: what changed is added up again when it is asked for.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.arrays import I64, Whole
from flows.kernels.rolling import PANE_SLOTS, slot_means

Layers = tuple[NDArray[Any], ...]
"""Sums, counts, suspects and findings of each slot, each of shape (lines, instruments, parameters)."""


class Totals(NamedTuple):
    """Totals of n panes, each of shape (n, instruments, parameters).

    Attributes:
        sums: quanta, the sum of the means of slots.
        counts: values.
        filled: slots that hold a value.
        suspect: values that their own range, their status or their surroundings make suspect.
    """

    sums: I64
    counts: Whole
    filled: Whole
    suspect: Whole

    @classmethod
    def empty(cls, panes: int, shape: tuple[int, int]) -> "Totals":
        """Make totals of nothing."""
        return cls(*(np.zeros((panes, *shape), kind) for kind in (np.int64, np.int32, np.int32, np.int32)))

    @classmethod
    def of_slots(cls, layers: Layers) -> "Totals":
        """Total whole panes, given the layers of their slots."""
        sums, counts, suspects, findings = layers
        sums = slot_means(sums, counts)
        suspect = np.where(findings, counts, suspects) if findings.any() else suspects
        kinds = (np.int64, np.int32, np.int32, np.int32)
        return cls(
            *(
                values.reshape(-1, PANE_SLOTS, *values.shape[1:]).sum(axis=1, dtype=kind)
                for values, kind in zip((sums, counts, counts > 0, suspect), kinds, strict=True)
            )
        )


class Panes:
    """Totals of the panes of a grid.

    Args:
        length: lines of the grid, a multiple of ``PANE_SLOTS``.
        shape: instruments and parameters.
    """

    def __init__(self, length: int, shape: tuple[int, int]) -> None:
        panes = length // PANE_SLOTS
        self._totals = Totals.empty(panes, shape)
        self._stale = np.ones(panes, bool)
        self._running = Totals.empty(panes, shape)
        self._added = 1
        """Panes before this one are in the running totals."""

    def touch(self, line: I64) -> None:
        """Note that cells on these lines of the grid change."""
        pane = (line + PANE_SLOTS - 1) // PANE_SLOTS
        pane = pane[pane < self._stale.size]  # the grid's last lines make no whole pane
        if pane.size:
            self._stale[pane] = True
            self._added = min(self._added, max(1, int(pane.min())))

    def running(self, last_line: int, layers: Layers) -> Totals:
        """Return the totals of all panes up to each, which hold up to the last pane before a line.

        They wrap around, which does not matter to differences.
        """
        last = last_line // PANE_SLOTS
        if self._added <= last:
            self._refresh(last, layers)
            for running, totals in zip(self._running, self._totals, strict=True):
                np.cumsum(totals[self._added : last + 1], axis=0, out=running[self._added : last + 1])
                running[self._added : last + 1] += running[self._added - 1]
            self._added = last + 1
        return self._running

    def _refresh(self, last: int, layers: Layers) -> None:
        """Total the stale panes among those to be added."""
        stale = np.flatnonzero(self._stale[self._added : last + 1]) + self._added
        for first, end in _runs(stale):
            lines = slice((first - 1) * PANE_SLOTS + 1, (end - 1) * PANE_SLOTS + 1)
            new = Totals.of_slots(tuple(layer[lines] for layer in layers))
            for totals, part in zip(self._totals, new, strict=True):
                totals[first:end] = part
            self._stale[first:end] = False

    def shift(self, lines: int) -> None:
        """Forget the oldest lines, whole panes of them, and make room for as many new ones."""
        panes = lines // PANE_SLOTS
        self._added = max(1, self._added - panes)
        for values in (*self._totals, *self._running):
            values[:-panes] = values[panes:].copy()
        self._stale[:-panes] = self._stale[panes:].copy()
        self._stale[-panes:] = True


def _runs(numbers: NDArray[np.integer]) -> Iterator[tuple[int, int]]:
    """Yield runs of consecutive numbers: the first of each, and the number after its last."""
    if numbers.size:
        cuts = np.flatnonzero(np.diff(numbers) > 1)
        firsts, lasts = numbers[[0, *(cuts + 1)]], numbers[[*cuts, -1]]
        yield from zip(firsts.tolist(), (lasts + 1).tolist(), strict=True)
