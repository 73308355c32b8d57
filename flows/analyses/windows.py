"""Means of windows: as the kernels give them, for those who wait, and as rows of ``rolling``, for the lake."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.arrays import I32, I64
from flows.kernels import rolling
from flows.state.cadence import Cadence


class Means:
    """Windows of some stations that end with some slots; each that is there becomes a row.

    Rows are made when they are asked for, by (parameter, window, station, end): so sorted, like values stand together
    and pack well. The properties are their columns, each of shape (n,).

    Args:
        group: whose windows, W of them.
        columns: its stations concerned, shape (S,).
        totals: of the windows, shape (6, W, S, E).
        ends: slots that they end with, shape (E,).
        there: which of them become rows, shape (6, W, S, E).
        revision: of all rows, or of each window, of the same shape.
        closing: for windows that close for the first time, the number of that closing of each end among all of the
            zone, shape (E,); none for windows that are evaluated again.
    """

    def __init__(
        self,
        group: Cadence,
        columns: NDArray[np.integer],
        totals: rolling.Windows,
        ends: I64,
        there: NDArray[np.bool_],
        revision: int | NDArray[np.integer],
        closing: I64 | None,
    ) -> None:
        self.group, self.columns, self.totals, self.ends, self.there = group, columns, totals, ends, there
        self._revision, self.closings = np.asarray(revision, np.int32), closing

    def _rows(self, values: NDArray[Any]) -> NDArray[Any]:
        flat = np.broadcast_to(values, self.there.shape).reshape(-1)
        return flat if self._some is None else flat[self._some]

    @cached_property
    def _some(self) -> I64 | None:
        return None if self.there.all() else np.flatnonzero(self.there)

    @cached_property
    def station(self) -> I32:
        """Column in the zone's grid."""
        return self._rows(self.columns.astype(np.int32)[:, None])

    @cached_property
    def parameter(self) -> I32:
        """Index among ``AIR.gridded``."""
        return self._rows(np.arange(self.there.shape[0], dtype=np.int32)[:, None, None, None])

    @cached_property
    def window(self) -> I32:
        """Index among the group's windows."""
        return self._rows(np.arange(self.there.shape[1], dtype=np.int32)[:, None, None])

    @cached_property
    def ended(self) -> I64:
        """Slot."""
        return self._rows(self.ends)

    @cached_property
    def total(self) -> I64:
        """Sum, in quanta."""
        return self._rows(self.totals.sum)

    @cached_property
    def count(self) -> I32:
        """Values in the sum."""
        return self._rows(self.totals.count)

    @cached_property
    def filled(self) -> I32:
        """Slots that hold a value."""
        return self._rows(self.totals.filled)

    @cached_property
    def suspect(self) -> I32:
        """Suspect values among them."""
        return self._rows(self.totals.suspect)

    @cached_property
    def revision(self) -> I32:
        """0 where a window closes for the first time."""
        return self._rows(self._revision)

    @cached_property
    def closing(self) -> I64 | None:
        """Number of the closing; none for windows that are evaluated again."""
        return None if self.closings is None else self._rows(self.closings)
