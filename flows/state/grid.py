"""The minute grid of one zone: the only state of its air with a history.

Minutes × instruments × gridded values. A cell holds an integer sum (in quanta of 1e-9, so that sums are exact, order
does not matter and means never drift), how many values that are, how many of them their own range or status makes
suspect, how many fail below and above their range, and what the tests of the surroundings found. Beside it a bit for
each second taken, and the first value that took one.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flows.arrays import B1, F64, I32, I64, U8, Whole
from flows.kernels import cells, quality, rolling
from flows.state.panes import Panes
from schemas.errors import ConfigurationError
from schemas.measured import Measured
from schemas.slots import DAY_SLOTS, SECOND_US, SLOT_S

PAGE_SLOTS = 60
"""Slots packed together for a snapshot: what an epoch did not touch is not packed again."""
SPARE_SLOTS = DAY_SLOTS
"""Slots to spare, so that the grid is moved once a day and not with every batch."""
FIRST_LAYERS = ("sums", "counts", "suspects", "found", "taken")
"""Layers of snapshots that do not name theirs."""
UNBOUNDED = int(np.iinfo(np.int64).max)


def second_of(observed: I64) -> I64:
    """Whole seconds since 1970, rounded up, of times in microseconds."""
    return -(-observed // SECOND_US)


def slot_of(second: I64) -> I64:
    """Slot, in minutes since 1970, of whole seconds since 1970: the minute's end, so 60 lies in slot 1 and 61 in 2."""
    return -(-second // SLOT_S)


class Taken(NamedTuple):
    """What became of the seconds of n rows.

    Attributes:
        fresh: values whose second was not taken, shape (n, V).
        differs: values whose second another value has taken, as far as that is known, shape (n, V).
        repeated: rows of which every value was taken, or that have none and whose second was seen, shape (n,).
    """

    fresh: B1
    differs: B1
    repeated: B1


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
            "below": (np.uint8, self.width),
            "above": (np.uint8, self.width),
            "first": (np.int64, message),
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
        self._failing = np.zeros(self.length // PAGE_SLOTS, bool)
        """By page, whether a value in it fails by its range."""

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
        part._failing[:] = self._failing.any()  # its pages lie elsewhere
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
        windows = rolling.windows_at(totals, layers, lines, lengths, columns)
        if not lines.size or not self._failing[max(0, int(lines[0] - lengths.max())) // PAGE_SLOTS :].any():
            return windows
        failed = rolling.failures_at(self._layers["below"], self._layers["above"], lines, lengths, columns)
        return replace(windows, below=failed[0], above=failed[1])

    def failing(self, columns: Whole) -> B1:
        """Which instruments have a value on the grid that fails by its range, shape (S,)."""
        pages = np.flatnonzero(self._failing)
        if not pages.size:
            return np.zeros(columns.size, bool)
        lines = slice(int(pages[0]) * PAGE_SLOTS, (int(pages[-1]) + 1) * PAGE_SLOTS)
        below, above = (self._layers[name][lines][:, columns].any(axis=(0, 2)) for name in ("below", "above"))
        return np.asarray(below | above)

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
        pages = shift // PAGE_SLOTS
        self._touched, self._failing = (
            np.append(marks[pages:], np.zeros(pages, bool)) for marks in (self._touched, self._failing)
        )

    def take(self, column: I32, second: I64, values: F64) -> Taken:
        """Take the second of each value that is not taken yet, row by row.

        Args:
            column: of each row's instrument, shape (n,).
            second: whole seconds since 1970, rounded up, shape (n,).
            values: shape (n, V), NaN where not measured.
        """
        slot = slot_of(second)
        self._touched[self._lines(slot) // PAGE_SLOTS] = True
        fresh, differs = np.zeros((2, *values.shape[::-1]), bool).transpose(0, 2, 1)
        repeated = np.empty(column.size, bool)
        layers = self._layers["taken"], self._layers["first"]
        cells.take(column, second, slot, self.oldest, values, *layers, fresh, differs, repeated)
        return Taken(fresh, differs, repeated)

    def add(self, column: I32, slot: I64, quanta: I64, flags: U8) -> None:
        """Add values to their cells.

        Args:
            column: of each row's instrument, shape (n,).
            slot: of each row, shape (n,).
            quanta: values in units of 1e-9, shape (n, P).
            flags: with sides, as of ``quality.sides``, shape (n, P); what fails or is missing is not added.
        """
        if not column.size:
            return
        self.touch(slot)
        self.newest = max(self.newest, int(slot.max()))
        failing = (flags == quality.BELOW) | (flags == quality.ABOVE)
        if failing.any():
            self._failing[self._lines(slot[failing.any(axis=1)]) // PAGE_SLOTS] = True
        layers = (self._layers[name] for name in ("sums", "counts", "suspects", "below", "above"))
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
            parts = self._page(first)
            parts["first"] = _packed_first(parts)
            self._pages[first] = [pa.compress(part.tobytes(), "zstd", asbytes=True) for part in parts.values()]
        self._touched[:] = False
        return {
            "stations": list(self.instruments),
            "shape": (self._behind, self.length),
            "layers": list(self._kinds),
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
        names = kept.get("layers", FIRST_LAYERS)
        for first, packed in kept["pages"].items():
            page = (first - self.oldest) // PAGE_SLOTS
            self._touched[page] = True
            parts = self._page(first)
            for name, data in zip(names, packed, strict=True):
                kind, width = self._kinds[name]
                size = PAGE_SLOTS * len(old) * width * np.dtype(kind).itemsize
                unpacked = np.frombuffer(pa.decompress(data, size, "zstd"), kind).reshape(PAGE_SLOTS, len(old), width)
                parts[name][:, ours] = unpacked[:, theirs]
            parts["first"][:] = _unpacked_first(parts) if "first" in names else _first_of_sums(parts)
            self._failing[page] = parts["below"].any() or parts["above"].any()
        if list(kept["stations"]) == self.instruments and list(names) == list(self._kinds):
            self._pages, self._touched[:] = dict(kept["pages"]), False
        return ours, theirs

    def _page(self, first: int) -> dict[str, NDArray[Any]]:
        start = first - self.oldest
        return {name: layer[start : start + PAGE_SLOTS] for name, layer in self._layers.items()}


def _single(parts: Mapping[str, NDArray[Any]]) -> tuple[B1, I64]:
    """Which values of a page took one second alone, and the sum of each cell whose one value it is, else 0."""
    taken = parts["taken"][:, :, :-1]
    one = (taken != 0) & (taken & (taken - np.uint64(1)) == 0)
    sums = np.zeros(taken.shape, np.int64)
    width = parts["sums"].shape[2]
    sums[:, :, :width] = np.where(one[:, :, :width] & (parts["counts"] == 1), parts["sums"], 0)
    return one, sums


def _packed_first(parts: Mapping[str, NDArray[Any]]) -> I64:
    """First values, less what sums say already, so that hardly anything is left to be written."""
    one, sums = _single(parts)
    return np.where(one, parts["first"] - sums, 0)


def _unpacked_first(parts: Mapping[str, NDArray[Any]]) -> I64:
    """First values again; ``parts["first"]`` is as it was packed."""
    one, sums = _single(parts)
    return np.where(one, parts["first"] + sums, 0)


def _first_of_sums(parts: Mapping[str, NDArray[Any]]) -> I64:
    """First values, as far as the sums of an older snapshot say them."""
    one, sums = _single(parts)
    width = parts["sums"].shape[2]
    known = np.zeros(one.shape, bool)
    known[:, :, :width] = one[:, :, :width] & (parts["counts"] == 1)
    return np.where(known, sums, cells.UNKNOWN)
