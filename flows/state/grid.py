"""The minute grid of one zone: the only state of its air with a history.

Minutes × instruments × gridded values. A cell holds an integer sum (in quanta of 1e-9, so that sums are exact, order
does not matter and means never drift), how many values that are, how many of them their own range or status makes
suspect, and what the tests of the surroundings found. Beside it a bit for each second taken.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flows.arrays import B1, F64, I32, I64, U8, Whole
from flows.kernels import cells, rolling
from flows.state.panes import Panes
from schemas.errors import ConfigurationError
from schemas.measured import Measured
from schemas.slots import DAY_SLOTS, SECOND_US, SLOT_S

PAGE_SLOTS = 60
"""Slots packed together for a snapshot: what an epoch did not touch is not packed again."""
SPARE_SLOTS = DAY_SLOTS
"""Slots to spare, so that the grid is moved once a day and not with every batch."""
UNBOUNDED = int(np.iinfo(np.int64).max)


def second_of(observed: I64) -> I64:
    """Whole seconds since 1970, rounded up, of times in microseconds."""
    return -(-observed // SECOND_US)


def slot_of(second: I64) -> I64:
    """Slot, in minutes since 1970, of whole seconds since 1970: the minute's end, so 60 lies in slot 1 and 61 in 2."""
    return -(-second // SLOT_S)


class Grid:
    """Cells of one zone between two slots; it moves forward and forgets what lies behind.

    Args:
        measured: which values are gridded.
        instruments: ids, in the order of the columns. Cells are kept by id.
        behind: slots kept behind where the grid is moved to.
        ahead: slots that rows may lie ahead of there.
        spare: slots beyond that, so that it need not be moved often.

    Two values of PM10 in slot 1 make a cell, whose sum is exact:

    >>> from schemas.measured import AIR
    >>> grid = Grid(AIR, ["park"], behind=60, ahead=60)
    >>> grid.move(0)
    >>> quanta = np.array([[1, 0, 0, 0, 0, 0], [2, 0, 0, 0, 0, 0]])
    >>> flags = np.where(quanta > 0, 1, 9).astype(np.uint8)
    >>> grid.add(np.zeros(2, np.int32), np.array([1, 1]), quanta, flags)
    >>> grid.layer("sums", 1, 1)[0, 0, 0], grid.layer("counts", 1, 1)[0, 0, 0]
    (np.int64(3), np.uint8(2))
    """

    def __init__(
        self, measured: Measured, instruments: list[str], behind: int, ahead: int, spare: int = SPARE_SLOTS
    ) -> None:
        self.instruments, self._measured = instruments, measured
        self.width = len(measured.gridded)
        """Gridded values of a cell."""
        self._behind = behind
        self.length = -(-(behind + ahead + spare) // PAGE_SLOTS) * PAGE_SLOTS
        """Slots that it holds."""
        message = len(measured.values)
        self._kinds: dict[str, tuple[type[np.generic], int]] = {
            "sums": (np.int64, self.width),
            "counts": (np.uint8, self.width),
            "suspects": (np.uint8, self.width),
            "found": (np.uint8, self.width),
            "taken": (np.uint64, message + 1),  # the last bit column: a message of this second was seen
        }
        self._layers = {
            name: np.zeros((self.length, len(instruments), width), kind) for name, (kind, width) in self._kinds.items()
        }
        self._base: int | None = None
        self.newest = 0
        """Newest slot that holds a reading."""
        self._panes = Panes(self.length, (len(instruments), self.width))
        self._pages: dict[int, list[bytes]] = {}
        self._touched = np.zeros(self.length // PAGE_SLOTS, bool)
        """By page, whether it was touched since the last snapshot."""

    @property
    def oldest(self) -> int:
        """Oldest slot that it holds; the grid was moved somewhere before."""
        assert self._base is not None, "the grid was never moved to a slot"
        return self._base

    @property
    def reach(self) -> int:
        """Newest slot that may be written before the grid is moved."""
        return UNBOUNDED if self._base is None else self._base + self.length - 1

    def layer(self, name: str, first: int, last: int) -> NDArray[Any]:
        """Return a view of slots first..last of a layer, shape (last - first + 1, S, width)."""
        start, end = first - self.oldest, last - self.oldest
        assert 0 <= start <= end < self.length, "the grid does not hold these slots"
        return self._layers[name][start : end + 1]

    def part(self, columns: Whole, first: int, last: int) -> "Grid":
        """Make a grid of its own that holds these instruments' cells of slots first..last, as far as this one does."""
        first = max(first, self.oldest)
        names = [self.instruments[i] for i in columns.tolist()]
        part = Grid(self._measured, names, 0, max(last - first + 1, 1), 0)
        part._base, part.newest = first, self.newest
        end = min(last, self.reach) + 1 - self.oldest
        for name, layer in self._layers.items():
            cells = layer[first - self.oldest : end][:, columns]
            part._layers[name][: len(cells)] = cells
        return part

    def windows(self, ends: I64, lengths: I64, columns: Whole) -> rolling.Windows:
        """Total the windows that end with given slots; slots ahead of the grid are empty.

        Args:
            ends: rising, shape (E,).
            lengths: of the windows in slots, shape (W,); none begins before the grid does.
            columns: of the instruments, shape (S,).

        Returns:
            Totals of shape (P, W, S, E).
        """
        lines = ends - self.oldest
        layers = self._layers["sums"], self._layers["counts"], self._layers["suspects"], self._layers["found"]
        last = min(int(lines[-1]), self.length - 1) if lines.size else 0
        running = self._panes.running(last, layers)
        totals = running.sums, running.counts, running.filled, running.suspect
        return rolling.windows_at(totals, layers, lines, lengths, columns)

    def move(self, slot: int) -> None:
        """Make room ahead of ``slot``; what lies ``behind`` or more before it is forgotten."""
        base = (slot - self._behind) // PAGE_SLOTS * PAGE_SLOTS
        if self._base is None:
            self._base = base
        shift = min(base - self._base, self.length)
        if shift <= 0:
            return
        for layer in self._layers.values():
            for line in range(shift, self.length, shift):  # all at once, numpy would make a copy first
                part = layer[line : line + shift]
                layer[line - shift : line - shift + len(part)] = part
            layer[self.length - shift :] = 0
        self._panes.shift(shift)
        self._base = base
        for page in [page for page in self._pages if page + PAGE_SLOTS <= base]:
            del self._pages[page]
        self._touched = np.append(self._touched[shift // PAGE_SLOTS :], np.zeros(shift // PAGE_SLOTS, bool))

    def take(self, column: I32, second: I64, values: F64) -> tuple[B1, B1]:
        """Take the second of each value that is not taken yet, row by row.

        Args:
            column: of each row's instrument, shape (n,).
            second: whole seconds since 1970, rounded up, shape (n,).
            values: shape (n, V), NaN where not measured.

        Returns:
            Which values are fresh, shape (n, V), and which rows are duplicates, shape (n,): every value of theirs
            was taken, or they have none and the second was seen.
        """
        slot = slot_of(second)
        self._touched[self._lines(slot) // PAGE_SLOTS] = True
        fresh, duplicate = np.zeros(values.shape, bool, order="F"), np.empty(column.size, bool)
        cells.take(column, second, slot, self.oldest, values, self._layers["taken"], fresh, duplicate)
        return fresh, duplicate

    def add(self, column: I32, slot: I64, quanta: I64, flags: U8) -> None:
        """Add values to their cells.

        Args:
            column: of each row's instrument, shape (n,).
            slot: of each row, shape (n,).
            quanta: values in units of 1e-9, shape (n, P).
            flags: shape (n, P); FAIL and MISSING are not added.
        """
        if not column.size:
            return
        self.touch(slot)
        self.newest = max(self.newest, int(slot.max()))
        layers = (self._layers[name] for name in ("sums", "counts", "suspects"))
        cells.add(column, slot, self.oldest, quanta, flags, *layers)

    def touch(self, slot: I64) -> None:
        """Note that what windows are made of changes in these slots."""
        lines = self._lines(slot)
        self._touched[lines // PAGE_SLOTS] = True
        self._panes.touch(lines)

    def _lines(self, slot: I64) -> I64:
        lines = slot - self.oldest
        assert lines.min() >= 0, "the grid does not hold these slots any more"
        assert lines.max() < self.length, "the grid does not hold these slots yet"
        return lines

    def snapshot(self) -> dict[str, object]:
        """Plain data: packed pages, of which only those touched since the last snapshot are packed now."""
        for page in np.flatnonzero(self._touched).tolist():
            first = self.oldest + page * PAGE_SLOTS
            self._pages[first] = [pa.compress(part.tobytes(), "zstd", asbytes=True) for part in self._page(first)]
        self._touched[:] = False
        return {
            "stations": list(self.instruments),
            "shape": (self._behind, self.length),
            "base": self._base,
            "newest": self.newest,
            "pages": dict(self._pages),
        }

    def restore(self, kept: dict[str, Any]) -> tuple[list[int], list[int]]:
        """Go on from a snapshot. Instruments are matched by id: a new one starts empty, one that is gone goes.

        Returns:
            Columns here, and what the same instruments' columns were in the snapshot.

        Raises:
            ConfigurationError: the grid has another shape.
        """
        if tuple(kept["shape"]) != (self._behind, self.length):
            raise ConfigurationError(
                "late.horizon, windows or quality lengths of the city file changed under this recovery store; put them "
                "back, or move the store away and make one that fits: cityair rebuild --recovery"
            )
        old = {name: i for i, name in enumerate(kept["stations"])}
        ours = [i for i, name in enumerate(self.instruments) if name in old]
        theirs = [old[self.instruments[i]] for i in ours]
        self._base, self.newest = kept["base"], kept["newest"]
        for first, packed in kept["pages"].items():
            self._touched[(first - self.oldest) // PAGE_SLOTS] = True
            for part, page, (kind, width) in zip(self._page(first), packed, self._kinds.values(), strict=True):
                size = len(part) * len(old) * width * np.dtype(kind).itemsize
                unpacked = np.frombuffer(pa.decompress(page, size, "zstd"), kind).reshape(len(part), len(old), width)
                part[:, ours] = unpacked[:, theirs]
        if list(kept["stations"]) == self.instruments:
            self._pages, self._touched[:] = dict(kept["pages"]), False
        return ours, theirs

    def _page(self, first: int) -> list[NDArray[Any]]:
        start = first - self.oldest
        return [layer[start : start + PAGE_SLOTS] for layer in self._layers.values()]
