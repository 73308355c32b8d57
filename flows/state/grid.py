"""The minute grid of one zone: the only air state with a history.

Minutes × stations × parameters. A cell holds an integer sum (in quanta of 1e-9, so that sums are exact, order does
not matter and means never drift), how many values that are, how many of them their own range or status makes
suspect, and what the tests of the surroundings found. Beside it a bit for each second taken.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flows.arrays import F64, I32, I64, U8
from flows.kernels import cells
from flows.kernels.cells import SECONDS
from flows.kernels.rolling import PANE_SLOTS, Windows, windows_at
from flows.state.panes import Panes
from schemas.errors import ConfigurationError
from schemas.measured import AIR

MICROSECONDS = 1_000_000
PAGE = 60
"""Slots packed together for a snapshot: what an epoch did not touch is not packed again."""
ROOM = 1440
"""Slots to spare, so that the grid is moved once a day and not with every batch."""
P = len(AIR.gridded)
MESSAGE = len(AIR.values)
"""The bit column beyond those of the values: a message of this second was seen."""

LAYERS: dict[str, tuple[type[np.generic], int]] = {
    "sums": (np.int64, P),
    "counts": (np.uint8, P),
    "suspects": (np.uint8, P),
    "found": (np.uint8, P),
    "taken": (np.uint64, MESSAGE + 1),
}


def second_of(observed: I64) -> I64:
    """Whole seconds since 1970, rounded up, of times in microseconds."""
    return -(-observed // MICROSECONDS)


def slot_of(second: I64) -> I64:
    """Slot, in minutes since 1970, of whole seconds since 1970: the minute's end, so 60 lies in slot 1 and 61 in 2."""
    return -(-second // SECONDS)


class Grid:
    """Cells of one zone between two slots; it moves forward and forgets what lies behind.

    Args:
        stations: ids, in the order of the columns. Cells are kept by id.
        behind: slots kept behind where the grid is moved to.
        ahead: slots that rows may lie ahead of there.
    """

    def __init__(self, stations: list[str], behind: int, ahead: int) -> None:
        self.stations = stations
        self._behind = behind
        self.length = -(-(behind + ahead + ROOM) // PAGE) * PAGE
        """Slots that it holds."""
        self._layers = {
            name: np.zeros((self.length, len(stations), width), kind) for name, (kind, width) in LAYERS.items()
        }
        self.base: int | None = None
        """Slot of the first line; none while the grid is empty."""
        self.newest = 0
        """Newest slot that holds a reading."""
        self._blocks = Panes(self.length, (len(stations), P))
        self._pages: dict[int, list[bytes]] = {}
        self._touched = np.zeros(self.length // PAGE, bool)
        """By page, whether it was touched since the last snapshot."""

    def line(self, slot: int) -> int:
        """Line of a slot in the layers."""
        return slot - self._base()

    def reach(self) -> int:
        """Newest slot that may be written before the grid is moved."""
        return np.iinfo(np.int64).max if self.base is None else self.base + self.length - 1

    def layer(self, name: str, first: int, last: int) -> NDArray[Any]:
        """Return a view of slots first..last of a layer, shape (last - first + 1, S, width)."""
        start = self.line(first)
        assert 0 <= start <= self.line(last) < self.length, "the grid does not hold these slots"
        return self._layers[name][start : self.line(last) + 1]

    def cells(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return sums, counts, suspects and what tests found, shape (lines, stations, 6) each; not to be written to."""
        return self._layers["sums"], self._layers["counts"], self._layers["suspects"], self._layers["found"]

    def windows(self, ends: I64, lengths: I64, columns: NDArray[np.integer]) -> Windows:
        """Return the totals of windows (end - length, end] of some stations; slots beyond the grid hold nothing.

        Args:
            ends: slots, rising.
            lengths: in slots; no window begins before the first slot of the grid ends.
            columns: the stations.
        """
        lines = ends - self._base()
        pane = min(int(lines[-1]), self.length - 1) // PANE_SLOTS if ends.size else 0
        sums, counts, filled, suspect = self._blocks.running(pane, self._layers_of)
        return windows_at((sums, counts, filled, suspect), self.cells(), lines, lengths, columns)

    def _layers_of(self, begin: int, end: int) -> dict[str, NDArray[Any]]:
        return {name: layer[begin:end] for name, layer in self._layers.items()}

    def move(self, slot: int) -> None:
        """Make room ahead of ``slot``; what lies ``behind`` or more before it is forgotten."""
        base = (slot - self._behind) // PAGE * PAGE
        if self.base is None:
            self.base = base
        shift = min(base - self.base, self.length)
        if shift <= 0:
            return
        for layer in self._layers.values():
            for line in range(shift, self.length, shift):  # all at once, numpy would make a copy first
                part = layer[line : line + shift]
                layer[line - shift : line - shift + len(part)] = part
            layer[self.length - shift :] = 0
        self._blocks.shift(shift // PANE_SLOTS)
        self.base = base
        for page in [page for page in self._pages if page + PAGE <= base]:
            del self._pages[page]
        self._touched = np.append(self._touched[shift // PAGE :], np.zeros(shift // PAGE, bool))

    def take(self, station: I32, second: I64, values: F64) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Take the second of each value that is not taken yet, row by row.

        Args:
            station: column of each row, shape (n,).
            second: whole seconds since 1970, rounded up, shape (n,).
            values: shape (n, 8), NaN where not measured.

        Returns:
            Which values are fresh, shape (n, 8), and which rows are duplicates, shape (n,): every value of theirs
            was taken, or they have none and the second was seen.
        """
        slot = slot_of(second)
        self._touched[self._lines(slot) // PAGE] = True
        fresh, duplicate = np.zeros(values.shape, bool, order="F"), np.empty(station.size, bool)
        cells.take(station, second, slot, self._base(), values, self._layers["taken"], fresh, duplicate)
        return fresh, duplicate

    def add(self, station: I32, slot: I64, quanta: I64, flags: U8) -> None:
        """Add values to their cells.

        Args:
            station: column of each row, shape (n,).
            slot: of each row, shape (n,).
            quanta: values in units of 1e-9, shape (n, 6).
            flags: shape (n, 6); FAIL and MISSING are not added.
        """
        if not station.size:
            return
        self.touch(slot)
        self.newest = max(self.newest, int(slot.max()))
        cells.add(station, slot, self._base(), quanta, flags, *self.cells()[:3])

    def _base(self) -> int:
        assert self.base is not None
        return self.base

    def _lines(self, slot: I64) -> I64:
        lines = slot - self._base()
        assert lines.min() >= 0, "the grid does not hold these slots any more"
        assert lines.max() < self.length, "the grid does not hold these slots yet"
        return lines

    def touch(self, slot: I64) -> None:
        """Note that what windows are made of changes in these slots."""
        lines = self._lines(slot)
        self._touched[lines // PAGE] = True
        self._blocks.touch(lines)

    def snapshot(self) -> dict[str, object]:
        """Plain data: packed pages, of which only those touched since the last snapshot are packed now."""
        for page in np.flatnonzero(self._touched).tolist():
            first = self._base() + page * PAGE
            self._pages[first] = [pa.compress(part.tobytes(), "zstd", asbytes=True) for part in self._page(first)]
        self._touched[:] = False
        shape = (self._behind, self.length)
        return {
            "stations": list(self.stations),
            "shape": shape,
            "base": self.base,
            "newest": self.newest,
            "pages": dict(self._pages),
        }

    def restore(self, kept: dict[str, Any]) -> tuple[list[int], list[int]]:
        """Go on from a snapshot. Stations are matched by id: a new one starts empty, one that is gone goes.

        Returns:
            Columns here, and what the same stations' columns were in the snapshot.

        Raises:
            ConfigurationError: the grid has another shape.
        """
        if tuple(kept["shape"]) != (self._behind, self.length):
            raise ConfigurationError(
                "late.horizon, windows or quality lengths of the city file changed under this recovery store; put them "
                "back, or move the store away and make one that fits: cityair rebuild --recovery"
            )
        old = {station: i for i, station in enumerate(kept["stations"])}
        ours = [i for i, station in enumerate(self.stations) if station in old]
        theirs = [old[self.stations[i]] for i in ours]
        self.base, self.newest = kept["base"], kept["newest"]
        for first, packed in kept["pages"].items():
            self._touched[self.line(first) // PAGE] = True
            for part, blob, (kind, width) in zip(self._page(first), packed, LAYERS.values(), strict=True):
                size = len(part) * len(old) * width * np.dtype(kind).itemsize
                part_kept = np.frombuffer(pa.decompress(blob, size, "zstd"), kind).reshape(len(part), len(old), width)
                part[:, ours] = part_kept[:, theirs]
        if list(kept["stations"]) == self.stations:
            self._pages, self._touched[:] = dict(kept["pages"]), False
        return ours, theirs

    def _page(self, first: int) -> list[NDArray[Any]]:
        start = self.line(first)
        return [layer[start : start + PAGE] for layer in self._layers.values()]
