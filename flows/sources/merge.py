"""Event-time merge of input partitions: rows by (running maximum of ``observed`` in the partition, partition, row).

A partition is a file, or one of a topic. A time that leaps ahead, and from which the rows behind it come back, is wild
and no part of that maximum. The order does not depend on how partitions are cut into blocks. Rows and
rejects of one partition are emitted in the order of their offsets, so that its progress is a single number.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.arrays import I64
from flows.decode.batch import OffsetRange, Readings, concatenate, no_readings
from flows.kernels.merge_keys import BEFORE_ALL_US, END, GO_ON, MORE, merge_keys
from flows.sources.base import Block, Place, Reader
from schemas.rejected import Reject
from schemas.slots import DAY_US

LEAP_US = DAY_US
"""Event time that a reading lies ahead of those before it in its partition if it leaps. Less makes nothing late."""
LOOKAHEAD_ROWS = 4096
"""Rows behind one that leaps that tell whether it is wild: a clock may show a wrong day for as long."""
FIRST_LOOKAHEAD_ROWS = 32
"""The same for the first of a partition, of which less is read before the others are known."""
BUFFERED_BLOCKS = 16
"""Blocks that all files together buffer, about; with more files each block is smaller."""
MAX_SPAN_US = 4 * DAY_US
"""Event time that one batch spans at most."""
MIN_READ_ROWS = 256
PROBE_ROWS = 64
"""Rows that tell where a file begins in event time."""
PROBES_PER_CALL = 64
"""Files probed in one call, so that a stop need not wait for thousands."""


class ReleaseLimit(NamedTuple):
    """Event time up to which rows are released; at that very time, those of partitions up to ``part``."""

    observed: int | None
    """Microseconds since 1970 UTC; None releases everything."""
    part: int


class _BufferedBlock:
    """A block of a partition, with how far its rows were released and emitted.

    Attributes:
        keys: running maximum of ``observed`` within the partition, shape (n,), of its first ``known`` rows.
        known: rows of which it is known whether they are wild.
        rejects: those that were not emitted.
        released: rows that may be emitted.
        emitted: rows that were.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        self.keys: I64 = np.empty(len(block.readings), np.int64)
        self.known = 0
        self.rejects = deque(block.rejects)
        self.released = self.emitted = 0


class PartitionBuffer:
    """Messages of one input partition that were read and not emitted yet, in the order of their offsets.

    A reading is first released, up to a limit in event time that holds for all partitions, and then emitted. Rejects
    have no event time: they are emitted with the readings before them.

    Args:
        part: index among the partitions of the source.
        offset: first offset that was not emitted.
        high: key of the last row that was emitted, microseconds since 1970 UTC.

    Attributes:
        offset: first offset that was not emitted.
        read_high: key of the last row that was read and is known not to be wild, or to be.
        emitted_high: key of the last row that was emitted.

    >>> buffer = PartitionBuffer(part=0)
    >>> buffer.add(Block(no_readings(), [Reject(0, 0, "undecodable", "", b"{")], 0, 1, {"koff": 0}))
    >>> buffer.empty, buffer.unreleased, buffer.offset
    (False, 1, 0)
    >>> rejects, offsets = buffer.emit(0)
    >>> offsets
    OffsetRange(part=0, first=0, last=0, number=1, gap=0)
    >>> buffer.empty, buffer.offset
    (True, 1)
    """

    def __init__(self, part: int, offset: int = 0, high: int = BEFORE_ALL_US) -> None:
        self.part, self.offset = part, offset
        self.emitted_high = self.read_high = high
        self._blocks: deque[_BufferedBlock] = deque()
        self._doubt = np.full(1, BEFORE_ALL_US)

    @property
    def empty(self) -> bool:
        """Whether everything that was read was emitted."""
        return not self._blocks

    @property
    def unreleased(self) -> int:
        """Count of messages that still wait for other partitions."""
        return sum(block.keys.size - block.released + len(block.rejects) for block in self._blocks)

    @property
    def unreleased_bytes(self) -> int:
        """Bytes of the messages that still wait for other partitions, as if those of a block were of one size."""
        return sum(
            block.block.size * (block.keys.size - block.released) // max(1, block.keys.size) for block in self._blocks
        )

    @property
    def place(self) -> Place | None:
        """Where reading has to go on to lose nothing of the buffer; None where it is empty."""
        return self._blocks[0].block.place if self._blocks else None

    def add(self, block: Block) -> None:
        """Append a block that was read; of one that was emitted in part, the rest."""
        if block.first < self.offset and not self._blocks:
            block = _from_offset(block, self.offset)
        if block.end > block.first:
            self._blocks.append(_BufferedBlock(block))
            self._find_keys(MORE)

    def end(self) -> None:
        """Note that nothing comes behind what was read: what is not known to be wild is not."""
        self._find_keys(END)

    def _find_keys(self, behind: int) -> None:
        """Find the keys of rows that have none, as far as the rows behind them tell."""
        open_ = [block for block in self._blocks if block.known < block.keys.size]
        if not open_:
            return
        observed = np.concatenate([block.block.readings.observed[block.known :] for block in open_])
        keys = np.empty(observed.size, np.int64)
        known = merge_keys(
            observed, self.read_high, LEAP_US, LOOKAHEAD_ROWS, FIRST_LOOKAHEAD_ROWS, behind, self._doubt, keys
        )
        if known:
            self.read_high = int(keys[known - 1])
        begin = 0
        for block in open_:
            end = min(known, begin + block.keys.size - block.known)
            block.keys[block.known : block.known + end - begin] = keys[begin:end]
            block.known += end - begin
            begin = end

    def release(self, limit: ReleaseLimit) -> list[tuple[Readings, I64]]:
        """Release rows up to a limit.

        Returns:
            Runs of rows released now, each with its keys: the running maximum of ``observed``, shape (n,).
        """
        runs = []
        if limit.observed is None:
            self._find_keys(GO_ON)
        for block in self._blocks:
            n, begin = block.known, block.released
            if limit.observed is not None:
                side: Literal["left", "right"] = "right" if self.part <= limit.part else "left"
                n = int(np.searchsorted(block.keys[:n], limit.observed, side))
            if n > begin:
                readings = block.block.readings
                if n - begin < len(readings):
                    readings = readings.slice(begin, n)
                runs.append((readings, block.keys[begin:n]))
                block.released = n
            if n < block.keys.size:
                break
        return runs

    def emit(self, rows: int) -> tuple[list[Reject], OffsetRange | None]:
        """Emit released rows, and the rejects before the first row that stays.

        Args:
            rows: count of released rows that are emitted.

        Returns:
            The rejects, and the offsets that were emitted; None where none were.
        """
        first, rejects, left = self.offset, [], rows
        while self._blocks:
            block = self._blocks[0]
            readings = block.block.readings
            now = min(left, len(readings) - block.emitted)
            if now:
                block.emitted += now
                left -= now
                self.emitted_high = int(block.keys[block.emitted - 1])
            stays = block.emitted < len(readings)
            self.offset = int(readings.offset[block.emitted]) if stays else block.block.end
            while block.rejects and block.rejects[0].offset < self.offset:
                rejects.append(block.rejects.popleft())
            if stays:
                break
            self._blocks.popleft()
        number = rows - left + len(rejects)
        gap = self.offset - first - number
        return rejects, OffsetRange(self.part, first, self.offset - 1, number, gap) if self.offset > first else None


class ReadAhead:
    """A reader of one partition, and the buffer of what was read ahead.

    Args:
        reader: gives the blocks of the partition; None where it was read to its end before.
        buffer: takes them.
    """

    def __init__(self, reader: Reader | None, buffer: PartitionBuffer) -> None:
        self._reader, self.buffer = reader, buffer

    @property
    def at_end(self) -> bool:
        """Whether the reader has nothing more."""
        return self._reader is None

    @property
    def place(self) -> Place | None:
        """Where reading has to go on to lose nothing; None where everything was emitted."""
        return self.buffer.place or (self._reader.place if self._reader else None)

    def read(self, rows: int) -> None:
        """Read a block of about ``rows`` messages into the buffer."""
        if self._reader is None:
            return
        block = self._reader.read(rows)
        if block is None:
            self._reader = None
            self.buffer.end()
        else:
            self.buffer.add(block)

    def pause(self) -> None:
        """Close what the operating system lends, until the next read."""
        if self._reader is not None:
            self._reader.pause()


class MergedBatch(NamedTuple):
    """Readings and rejects of several partitions, emitted together; empty where nothing has come."""

    readings: Readings
    rejects: list[Reject]
    offsets: list[OffsetRange]
    """What was emitted of each partition."""


class EventTimeMerge:
    """Merge of partitions that are read on demand, as files are; rows of one partition alone just pass.

    Args:
        partitions: in the order of their ``part``.
        max_rows: rows of a batch at most.

    >>> def block(part, times):
    ...     n, none = len(times), no_readings()
    ...     values, status = np.ones((n, 8)), np.zeros((n, 6), np.uint8)
    ...     station, of_part = np.zeros(n, np.int32), np.full(n, part, np.int32)
    ...     rows = Readings(station, np.array(times), values, status, of_part, np.arange(n), none.payloads)
    ...     return Block(rows, [], 0, n, {"koff": 0})
    >>> files = [ReadAhead(None, PartitionBuffer(part)) for part in range(2)]
    >>> files[0].buffer.add(block(0, [1, 4]))
    >>> files[1].buffer.add(block(1, [2, 3]))
    >>> merged = EventTimeMerge(files, max_rows=100).next_batch()
    >>> merged.readings.observed.tolist(), [offsets.last for offsets in merged.offsets]
    ([1, 2, 3, 4], [1, 1])
    """

    def __init__(self, partitions: Sequence[ReadAhead], max_rows: int) -> None:
        self._buffers = [partition.buffer for partition in partitions]
        self._max_rows = max_rows
        self._by_part = {partition.buffer.part: partition for partition in partitions}
        self._unprobed = deque(partition for partition in partitions if not partition.at_end)
        self._alone = len(self._unprobed) == 1
        self._unended: list[tuple[int, int]] = []  # heap of (read_high, part): the first holds back the others
        self._released: deque[Readings] = deque()

    def next_batch(self) -> MergedBatch | None:
        """Return the next batch, None once all partitions were emitted to their end."""
        if self._unprobed:
            self._probe()
            if self._unprobed:
                return MergedBatch(no_readings(), [], [])
        if not self._released:
            if not self._unended and all(buffer.empty for buffer in self._buffers):
                return None
            self._read()
            if self._alone:  # nothing waits for it, nor it for what comes behind
                for buffer in self._buffers:
                    buffer.end()
            waits = self._unended and not self._alone
            limit = ReleaseLimit(*self._unended[0]) if waits else ReleaseLimit(None, 0)
            self._released.extend(release(self._buffers, limit, self._max_rows))
        return emit(self._buffers, self._released.popleft() if self._released else no_readings())

    def _probe(self) -> None:
        """Read the first rows of the next files, to know where they begin in event time."""
        for _ in range(min(PROBES_PER_CALL, len(self._unprobed))):
            partition = self._unprobed.popleft()
            if not self._alone:
                partition.read(PROBE_ROWS)
                partition.pause()
            if not partition.at_end or not partition.buffer.empty:
                heapq.heappush(self._unended, (partition.buffer.read_high, partition.buffer.part))

    def _read(self) -> None:
        """Read the partitions that hold back the others, until enough may be released."""
        rows = min(self._max_rows, max(MIN_READ_ROWS, BUFFERED_BLOCKS * self._max_rows // max(1, len(self._unended))))
        releasable = 0
        for _ in range(len(self._unended)):
            if not self._unended or 2 * releasable > self._max_rows:
                break
            partition = self._by_part[self._unended[0][1]]
            # All of this buffer may be released: what comes next, from here or elsewhere, is not before it.
            releasable += partition.buffer.unreleased
            partition.read(rows)
            if partition.at_end:
                heapq.heappop(self._unended)
            else:
                heapq.heapreplace(self._unended, (partition.buffer.read_high, partition.buffer.part))


def release(buffers: Sequence[PartitionBuffer], limit: ReleaseLimit, max_rows: int) -> list[Readings]:
    """Release the rows of all partitions up to a limit, in the merge's order.

    Returns:
        Pieces of at most ``max_rows`` rows and `MAX_SPAN_US` each, because what comes of a piece grows with its event
        time: one reading a day makes all the means of that day.
    """
    runs = [run for buffer in buffers if not buffer.empty for run in buffer.release(limit)]
    if not runs:
        return []
    readings, keys = concatenate([run for run, _ in runs]), np.concatenate([keys for _, keys in runs])
    order: NDArray[Any] | None = None
    if (np.diff(keys) < 0).any():
        order = np.argsort(keys, kind="stable")  # runs stand in the order of their partitions
        keys = keys[order]
    cuts = _cuts(keys, max_rows)
    if order is None:
        return [readings.slice(begin, end) for begin, end in pairwise(cuts)] if len(cuts) > 2 else [readings]
    return [readings.take(order[begin:end]) for begin, end in pairwise(cuts)]


def emit(buffers: Sequence[PartitionBuffer], readings: Readings) -> MergedBatch:
    """Emit released rows, and the rejects among them."""
    count = np.bincount(readings.part, minlength=1) if len(readings) else np.zeros(1, np.int64)
    rejects, offsets = [], []
    for buffer in buffers:
        if not buffer.empty:
            of_partition, emitted = buffer.emit(int(count[buffer.part]) if buffer.part < count.size else 0)
            rejects.extend(of_partition)
            if emitted:
                offsets.append(emitted)
    return MergedBatch(readings, rejects, offsets)


def _cuts(keys: I64, max_rows: int) -> list[int]:
    """Bounds of pieces of rows with rising ``keys``.

    >>> _cuts(np.array([0, 1, MAX_SPAN_US + 1, MAX_SPAN_US + 2, MAX_SPAN_US + 3]), 2)
    [0, 2, 4, 5]
    """
    cuts = [0]
    while cuts[-1] < keys.size:
        span_ends = int(np.searchsorted(keys, keys[cuts[-1]] + MAX_SPAN_US, "right"))
        cuts.append(min(cuts[-1] + max_rows, span_ends))
    return cuts


def _from_offset(block: Block, offset: int) -> Block:
    """Drop the messages before an offset; the place stays, because reading goes on there."""
    first = min(offset, block.end)
    later = block.readings.offset >= offset
    readings = block.readings if later.all() else block.readings.take(later)
    rejects = [reject for reject in block.rejects if reject.offset >= offset]
    return Block(readings, rejects, first, block.end, block.place)
