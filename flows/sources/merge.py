"""Partitions read as one: rows in the order of (running maximum of ``observed`` in the partition, partition, row).

A partition is a file, or one of a topic. The order does not depend on how they are cut into blocks. Offsets of one
partition leave in their order, readings and rejects alike, so that what has left it is told by one number.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.arrays import I64
from flows.decode.batch import OffsetRange, Readings, concatenate, no_readings
from flows.sources.base import Block, Place, Reader
from schemas.rejected import Reject

LOWEST = int(np.iinfo(np.int64).min)
BLOCKS = 16
"""All files together hold about so many blocks; with more files each block is smaller."""
SPAN = 4 * 86_400_000_000
"""Microseconds of air that leave together."""
LEAST_ROWS = 256
FIRST_ROWS = 64
"""To know where a file begins in time, so many rows are enough."""
FILES_A_CALL = 64
"""So many files are looked into at a time, so that a stop need not wait for thousands."""


class _Waiting:
    """A block whose rows wait for those of other files.

    Attributes:
        keys: running maximum of ``observed`` within the file, shape (n,).
        released: rows that may leave; ``left``: rows that have.
    """

    def __init__(self, found: Block, high: int) -> None:
        self.block = found
        self.keys: I64 = np.maximum(np.maximum.accumulate(found.readings.observed), high)
        self.rejects = deque(found.rejects)
        self.released = self.left = 0


class Track:
    """One file on its way: what has been read of it, and what has left.

    Args:
        reader: gives its blocks; None for a file that is done with.
        part: its index among the partitions.
        koff: the first offset that has not left yet.
        high: the largest ``observed`` that has left.
    """

    def __init__(self, reader: Reader | None, part: int, koff: int = 0, high: int = LOWEST) -> None:
        self._reader = reader
        self.part, self.offset = part, koff
        self.left_high = self.high = high
        """Largest ``observed`` that has left; that has been read."""
        self._waiting: deque[_Waiting] = deque()

    @property
    def unread(self) -> bool:
        """Whether there may be more to read."""
        return self._reader is not None

    @property
    def held(self) -> bool:
        """Whether something read has not left."""
        return bool(self._waiting)

    def waiting(self) -> int:
        """Count the messages that have been read and not released."""
        return sum(one.keys.size - one.released + len(one.rejects) for one in self._waiting)

    def place(self) -> Place | None:
        """Return where reading must go on to lose nothing; None at the end."""
        if self._waiting:
            return self._waiting[0].block.place
        return self._reader.place if self._reader else None

    def read(self, rows: int) -> None:
        """Read a block of about ``rows`` messages."""
        if self._reader is None:
            return
        found = self._reader.read(rows)
        if found is None:
            self._reader = None
            return
        self.put(found)

    def put(self, found: Block) -> None:
        """Take a block that was read."""
        if found.first < self.offset and not self._waiting:
            found = _rest(found, self.offset)
        if found.end > found.first:
            self._waiting.append(_Waiting(found, self.high))
            if len(found.readings):
                self.high = int(self._waiting[-1].keys[-1])

    def pause(self) -> None:
        """Give back what the operating system lends, until the next read."""
        if self._reader is not None:
            self._reader.pause()

    def release(self, high: int | None, part: int) -> list[tuple[Readings, I64]]:
        """Return the rows up to a limit, and their keys; all of them without one."""
        runs = []
        for waiting in self._waiting:
            n, begin = waiting.keys.size, waiting.released
            if high is not None:
                n = int(np.searchsorted(waiting.keys, high, "right" if self.part <= part else "left"))
            if n > begin:
                readings = waiting.block.readings
                if n - begin < len(readings):
                    readings = readings.slice(begin, n)
                runs.append((readings, waiting.keys[begin:n]))
                waiting.released = n
            if n < waiting.keys.size:
                break
        return runs

    def leave(self, count: int) -> tuple[list[Reject], OffsetRange | None]:
        """Let ``count`` released rows go, with the rejects before the first row that stays."""
        first, rejects, rows = self.offset, [], count
        while self._waiting:
            waiting = self._waiting[0]
            readings = waiting.block.readings
            now = min(count, len(readings) - waiting.left)
            if now:
                waiting.left += now
                count -= now
                self.left_high = int(waiting.keys[waiting.left - 1])
            stays = waiting.left < len(readings)
            self.offset = int(readings.offset[waiting.left]) if stays else waiting.block.end
            while waiting.rejects and waiting.rejects[0].offset < self.offset:
                rejects.append(waiting.rejects.popleft())
            if stays:
                break
            self._waiting.popleft()
        number = rows - count + len(rejects)
        gap = self.offset - first - number
        taken = OffsetRange(self.part, first, self.offset - 1, number, gap) if self.offset > first else None
        return rejects, taken


class Merged(NamedTuple):
    """What leaves together; nothing, where nothing has come yet."""

    readings: Readings
    rejects: list[Reject]
    taken: list[OffsetRange]


class Merge:
    """Puts the rows of several tracks in order; the rows of one track alone just pass.

    Args:
        tracks: the files, in the order of their appearance.
        rows: at most so many rows leave together.
    """

    def __init__(self, tracks: Sequence[Track], rows: int) -> None:
        self.tracks = tracks
        self._rows = rows
        self._unopened = deque(track for track in tracks if track.unread)
        self._alone = len(self._unopened) == 1
        self._live: list[tuple[int, int]] = []
        self._by_part = {track.part: track for track in tracks}
        self._ready: deque[Readings] = deque()

    def next(self) -> Merged | None:
        """Return what leaves next, None when all has left."""
        if self._unopened:
            self._open()
            if self._unopened:
                return Merged(no_readings(), [], [])
        if not self._ready:
            if not self._live and not any(track.held for track in self.tracks):
                return None
            self._read()
            self._ready.extend(released(self.tracks, self._live[0] if self._live else (None, 0), self._rows))
        return leaving(self.tracks, self._ready.popleft() if self._ready else no_readings())

    def _open(self) -> None:
        """Look where some files begin in time."""
        for _ in range(min(FILES_A_CALL, len(self._unopened))):
            track = self._unopened.popleft()
            if not self._alone:
                track.read(FIRST_ROWS)
                track.pause()
            if track.unread or track.held:
                heapq.heappush(self._live, (track.high, track.part))

    def _read(self) -> None:
        """Read the files that hold the others back, until there is enough to let go."""
        rows = min(self._rows, max(LEAST_ROWS, BLOCKS * self._rows // max(1, len(self._live))))
        free = 0
        for _ in range(len(self._live)):
            if not self._live or 2 * free > self._rows:
                break
            track = self._by_part[self._live[0][1]]
            # All that this file holds may leave: what comes next from it, or from another, is not before it.
            free += track.waiting()
            track.read(rows)
            if track.unread:
                heapq.heapreplace(self._live, (track.high, track.part))
            else:
                heapq.heappop(self._live)


def released(tracks: Sequence[Track], limit: tuple[int | None, int], rows: int) -> list[Readings]:
    """Return what may go up to a limit (a key and a partition), in its order and in pieces.

    A piece has at most ``rows`` and spans at most ``SPAN``, because what comes of it grows with the air's time: a
    reading a day brings all the means of that day.
    """
    runs = [run for track in tracks if track.held for run in track.release(*limit)]
    if not runs:
        return []
    readings, keys = concatenate([run for run, _ in runs]), np.concatenate([keys for _, keys in runs])
    order: NDArray[Any] | None = None
    if (np.diff(keys) < 0).any():
        order = np.argsort(keys, kind="stable")  # runs stand in the order of their partitions
        keys = keys[order]
    cuts = _cuts(keys, rows)
    if order is None:
        return [readings.slice(begin, end) for begin, end in pairwise(cuts)] if len(cuts) > 2 else [readings]
    return [readings.take(order[begin:end]) for begin, end in pairwise(cuts)]


def _cuts(keys: I64, rows: int) -> list[int]:
    """Where pieces begin and end, for rising ``keys``."""
    cuts = [0]
    while cuts[-1] < keys.size:
        span_ends = int(np.searchsorted(keys, keys[cuts[-1]] + SPAN, "right"))
        cuts.append(min(cuts[-1] + rows, span_ends))
    return cuts


def leaving(tracks: Sequence[Track], readings: Readings) -> Merged:
    """Let released readings go, and the rejects that stood among them."""
    count = np.bincount(readings.part, minlength=1) if len(readings) else np.zeros(1, np.int64)
    rejects, taken = [], []
    for track in tracks:
        if track.held:
            some, receipt = track.leave(int(count[track.part]) if track.part < count.size else 0)
            rejects.extend(some)
            if receipt:
                taken.append(receipt)
    return Merged(readings, rejects, taken)


def _rest(found: Block, koff: int) -> Block:
    """Drop the messages before an offset; the place stays, because reading goes on there."""
    first = min(koff, found.end)
    kept = found.readings.offset >= koff
    readings = found.readings if kept.all() else found.readings.take(kept)
    return Block(readings, [r for r in found.rejects if r.offset >= koff], first, found.end, found.place)
