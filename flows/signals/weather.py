"""Carried values of a zone, minute by minute: what lights show beside the air, and nothing else needs.

They are put in as readings are, late ones at once, because nothing is evaluated from them.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flows.arrays import F64, I32, I64, U8, Whole
from flows.kernels import rolling
from flows.kernels.compiled import compiled
from flows.state.grid import PAGE_SLOTS, Grid
from schemas.slots import HOUR_SLOTS, NEVER

KEPT_SLOTS = 8 * HOUR_SLOTS
"""Slots before the newest decision that a snapshot keeps: no hour that a light may show began earlier."""


class Weather:
    """Sums and counts of C carried values of each slot and instrument, on the lines of the zone's grid.

    Args:
        grid: of the zone; it was moved somewhere before anything is put in.
        carried: names of the values.

    >>> from schemas.measured import AIR
    >>> grid = Grid(AIR, ["park"], behind=60, ahead=60)
    >>> grid.move(0)
    >>> weather = Weather(grid, AIR.carried)
    >>> weather.put(np.zeros(2, np.int32), np.array([1, 2]), np.array([[4.0, np.nan], [5.0, 60.0]]))
    >>> means, coverage = weather.hourly(np.array([0]), 30, np.array([60]))
    >>> means[0, 0].tolist(), coverage[0, 0].tolist()
    ([4.5, 60.0], [1.0, 0.5])
    """

    def __init__(self, grid: Grid, carried: tuple[str, ...]) -> None:
        self._grid, self._base = grid, NEVER
        shape = grid.length, len(grid.instruments), len(carried)
        self._sums, self._counts = np.zeros(shape, np.int64), np.zeros(shape, np.uint8)
        self._touched: set[int] = set()
        self._pages: dict[int, list[bytes]] = {}
        """By first slot, pages as they were packed last."""

    def put(self, column: I32, slot: I64, values: F64) -> None:
        """Add values to their cells.

        Args:
            column: of each reading's instrument, shape (n,).
            slot: shape (n,).
            values: shape (n, C), NaN where there is none.
        """
        self._follow()
        known = ~np.isnan(values)
        row, value = np.nonzero(known)
        if not row.size:
            return
        at = slot[row] - self._base, column[row], value
        np.add.at(self._sums, at, rolling.quantise(values[known]))
        np.add.at(self._counts, at, np.uint8(1))
        self._touched.update(np.unique(slot // PAGE_SLOTS * PAGE_SLOTS).tolist())

    def hourly(self, columns: Whole, cadence_slots: int, ended: I64) -> tuple[F64, F64]:
        """Means of the hours that end with given slots, and the share that values cover; shape (n, S, C) each.

        Args:
            columns: S instruments of one cadence.
            cadence_slots: theirs.
            ended: rising, shape (n,).
        """
        self._follow()
        means = np.full((ended.size, columns.size, self._sums.shape[2]), np.nan)
        coverage = np.zeros(means.shape)
        known = ended - HOUR_SLOTS >= self._base
        if not known.any():
            return means, coverage
        ends = ended[known] - self._base
        shape = ends.size, columns.size, self._sums.shape[2]
        total, filled = np.empty(shape, np.int64), np.empty(shape, np.int64)
        _total_hours(self._sums, self._counts, columns.astype(np.int64, copy=False), ends, total, filled)
        means[known] = rolling.mean(total, filled)
        coverage[known] = rolling.coverage(filled, cadence_slots, HOUR_SLOTS)
        return means, coverage

    def _follow(self) -> None:
        """Move on with the grid."""
        shift = self._grid.oldest - self._base
        if not shift:
            return
        length = self._sums.shape[0]
        for layer in (self._sums, self._counts):
            if 0 < shift < length:
                layer[: length - shift] = layer[shift:].copy()
                layer[length - shift :] = 0
            else:
                layer[:] = 0
        self._base = self._grid.oldest

    def snapshot(self, since: int) -> dict[str, Any]:
        """Plain data from some hours before a slot on; pages that did not change are the same objects."""
        self._follow_if_moved()
        for page in self._touched:
            if page >= self._base:
                self._pages[page] = [pa.compress(part.tobytes(), "zstd", asbytes=True) for part in self._page(page)]
        self._touched.clear()
        self._pages = {page: packed for page, packed in self._pages.items() if page > since - KEPT_SLOTS}
        return {"stations": list(self._grid.instruments), "pages": dict(self._pages)}

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from a snapshot. Instruments are matched by id."""
        self._follow()
        old = {name: i for i, name in enumerate(kept["stations"])}
        ours = [i for i, name in enumerate(self._grid.instruments) if name in old]
        theirs = [old[self._grid.instruments[i]] for i in ours]
        for page, packed in kept["pages"].items():
            if page < self._base:
                continue
            self._touched.add(page)
            for part, data in zip(self._page(page), packed, strict=True):
                shape = PAGE_SLOTS, len(old), part.shape[2]
                unpacked = np.frombuffer(pa.decompress(data, int(np.prod(shape)) * part.itemsize, "zstd"), part.dtype)
                part[:, ours] = unpacked.reshape(shape)[:, theirs]

    def _follow_if_moved(self) -> None:
        if self._touched:
            self._follow()

    def _page(self, first: int) -> list[NDArray[Any]]:
        """A page; slots that the grid does not hold yet are left out of the last, whose length is the grid's."""
        start = first - self._base
        return [layer[start : start + PAGE_SLOTS] for layer in (self._sums, self._counts)]


@compiled(
    "void(const int64[:, :, :], const uint8[:, :, :], const int64[:], const int64[:], int64[:, :, ::1], "
    "int64[:, :, ::1])"
)
def _total_hours(sums: I64, counts: U8, columns: I64, ends: I64, total: I64, filled: I64) -> None:
    """Total the hours that end with rising lines: the mean of each slot, and the slots that hold a value."""
    for c in range(columns.size):
        for v in range(sums.shape[2]):
            begin = end = ends[0] - HOUR_SLOTS + 1  # of what is in the running sums
            quanta, slots = 0, 0
            for i in range(ends.size):
                while end <= min(ends[i], sums.shape[0] - 1):
                    count = np.int64(counts[end, columns[c], v])
                    if count:
                        quanta += (2 * sums[end, columns[c], v] + count) // (2 * count)
                        slots += 1
                    end += 1
                while begin <= ends[i] - HOUR_SLOTS and begin < end:
                    count = np.int64(counts[begin, columns[c], v])
                    if count:
                        quanta -= (2 * sums[begin, columns[c], v] + count) // (2 * count)
                        slots -= 1
                    begin += 1
                total[i, c, v], filled[i, c, v] = quanta, slots
