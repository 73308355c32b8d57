"""Whole lines of a file or a pipe, many at a time, in bounded memory: what NDJSON and CSV have in common."""

import gzip
import os
import select
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from flows.arrays import B1
from schemas.errors import ConfigurationError
from schemas.rejected import MAX_KEPT_BYTES, MAX_MESSAGE_BYTES

NEWLINE = 10
BYTES_PER_ROW = 128
"""A block of 32,768 rows reads about 4 MiB."""
MIN_READ_BYTES = 8 << 10
COUNTED_BYTES = 256 << 10
"""Newlines are counted in runs of so many bytes, whose mask stays in the processor's cache."""


class ByteSource(Protocol):
    """Bytes of a file or a pipe, from some offset on."""

    def readinto(self, room: memoryview) -> int | None:
        """Fill ``room`` from its start and return how far: 0 at the end, None where nothing has come yet."""

    def seek(self, offset: int) -> None:
        """Go on at ``offset``, and release what the operating system lends until then."""


class PlainBytes:
    """Bytes of a file from ``offset`` on. Holds no handle between reads, so that thousands may be open."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path, self._offset = path, offset

    def readinto(self, room: memoryview) -> int:
        """Fill ``room`` from its start and return how far: 0 at the end."""
        with self._path.open("rb", buffering=0) as file:
            file.seek(self._offset)
            count = file.readinto(room) or 0
        self._offset += count
        return count

    def seek(self, offset: int) -> None:
        """Go on at ``offset``."""
        self._offset = offset


class GzipBytes:
    """Bytes of a gzip file from ``offset`` of its content on; what stands before is unpacked and dropped."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path, self._offset = path, offset
        self._file: gzip.GzipFile | None = None

    def readinto(self, room: memoryview) -> int:
        """Fill ``room`` from its start and return how far: 0 at the end.

        Raises:
            ConfigurationError: the file is cut off or no gzip file.
        """
        try:
            if self._file is None:
                self._file = gzip.GzipFile(self._path, "rb")
                self._file.seek(self._offset)
            count = self._file.readinto(room)
        except (EOFError, gzip.BadGzipFile, zlib.error) as err:
            self.seek(self._offset)
            raise ConfigurationError(f"{self._path}: not a whole gzip file ({err}); get it again") from err
        if not count:
            self.seek(self._offset)
        self._offset += count
        return count

    def seek(self, offset: int) -> None:
        """Close the file; the next read unpacks from its start to ``offset``."""
        self._offset = offset
        if self._file is not None:
            self._file.close()
            self._file = None


class PipedBytes:
    """Bytes of a pipe or terminal; reading never waits for more to come."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def readinto(self, room: memoryview) -> int | None:
        """Fill ``room`` from its start and return how far: 0 at the end, None where nothing has come yet."""
        filled = 0
        while filled < len(room):
            ready, _, _ = select.select([self._descriptor], [], [], 0)
            if not ready:
                return filled or None
            count = os.readv(self._descriptor, [room[filled:]])
            if not count:
                break
            filled += count
        return filled

    def seek(self, offset: int) -> None:
        """Refuse: a pipe has no second chance."""
        raise RuntimeError(f"a pipe cannot go to {offset}")


def open_bytes(path: Path, offset: int) -> ByteSource:
    """Open a file, plain or .gz, at an offset of its content."""
    return GzipBytes(path, offset) if path.suffix == ".gz" else PlainBytes(path, offset)


class Chunk(NamedTuple):
    """Whole lines that were read together."""

    offset: int
    """Where they begin in the file's (unpacked) content."""
    end: int
    """Where the next ones begin."""
    data: bytes
    """Lines, each ended by a newline; of a line too large its first 64 KiB."""
    lines: int
    too_large: int = 0
    """Bytes of the one line that is too large; 0 otherwise."""


class LineSplitter:
    r"""Cuts bytes into chunks of whole lines. The last line may lack its newline, if it is whole all the same.

    One buffer is filled again and again: fresh memory for each read would cost more than reading the file into it.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = Path(file.name).write_bytes(b"one\ntwo\nthree")
    ...     lines = LineSplitter(PlainBytes(Path(file.name), 0))
    ...     [lines.read(2).data, lines.read(2).data, lines.read(2)]
    [b'one\ntwo\n', b'three\n', None]

    Args:
        source: where the bytes come from, already at ``offset``.
        offset: where reading begins.
        unended: the line before ``offset`` lacked its newline when it was read; should the file have grown since,
            the line end that comes first belongs to it.
        whole: says whether a last line without its newline is whole; one that is not, or is too large, is left where
            it lies, for whoever writes it has not ended it yet. By default each is whole.
    """

    def __init__(
        self,
        source: ByteSource,
        offset: int = 0,
        *,
        unended: bool = False,
        whole: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        self._source, self._whole = source, whole
        self.offset = offset
        self.unended = unended
        self._buffer = bytearray()
        self._begin = self._end = 0
        self._ended = False
        self._large: tuple[bytes, int] | None = None

    def pause(self) -> None:
        """Release memory and what the operating system lends, until the next read."""
        self._source.seek(self.offset)
        self._buffer = bytearray()
        self._begin = self._end = 0
        self._ended = False

    def read(self, rows: int) -> Chunk | None:
        """Return up to ``rows`` lines, none where nothing has come yet, None at the end."""
        size = max(MIN_READ_BYTES, rows * BYTES_PER_ROW)
        while self._large is None:
            end = self._buffer.rfind(b"\n", self._begin, self._end) + 1
            if end:
                return self._cut(end, rows)
            if self._ended:
                return self._last()
            if self._end - self._begin > MAX_MESSAGE_BYTES:
                head = bytes(self._buffer[self._begin : self._begin + MAX_KEPT_BYTES])
                self._large = head, self._end - self._begin
                self._begin = self._end
            elif not self._fill(size):
                return Chunk(self.offset, self.offset, b"", 0)
        return self._pass_over(size)

    def _fill(self, size: int) -> bool:
        """Read more; False where nothing has come yet."""
        unread = self._end - self._begin
        self._buffer[:unread] = self._buffer[self._begin : self._end]
        if len(self._buffer) < unread + size:
            self._buffer.extend(bytes(unread + size - len(self._buffer)))
        with memoryview(self._buffer) as buffer, buffer[unread : unread + size] as room:
            read = self._source.readinto(room)
        self._begin, self._end = 0, unread + (read or 0)
        self._ended = read == 0
        if read and self.unended:
            self.unended = False
            end = next((len(mark) for mark in (b"\n", b"\r\n") if self._buffer.startswith(mark)), 0)
            self._begin += end
            self.offset += end
        return read is not None

    def _cut(self, end: int, rows: int) -> Chunk:
        """Take whole lines up to ``end``: not more than ``rows``, and none too large."""
        span = _too_long(self._buffer, self._begin, end)
        if span is not None and span[0] == self._begin:
            length = span[1]
            head = bytes(self._buffer[self._begin : self._begin + min(length, MAX_KEPT_BYTES)])
            return self._take(self._begin + length + 1, head, 1, length)
        if span is not None:
            end = span[0]
        count = 0
        for at in range(self._begin, end, COUNTED_BYTES):
            newlines = _newlines(self._buffer, at, min(end, at + COUNTED_BYTES))
            number = int(np.count_nonzero(newlines))  # five times as fast as bytes.count
            if count + number >= rows:
                end = at + int(np.flatnonzero(newlines)[rows - count - 1]) + 1
                count = rows
                break
            count += number
        with memoryview(self._buffer) as buffer:
            data = bytes(buffer[self._begin : end])
        return self._take(end, data, count)

    def _last(self) -> Chunk | None:
        """Take the last line, which lacks its newline, unless it is not whole."""
        line = bytes(self._buffer[self._begin : self._end])
        if not line or not self._whole(line):
            return None
        self.unended = True
        return self._take(self._end, line + b"\n", 1)

    def _take(self, end: int, data: bytes, lines: int, too_large: int = 0) -> Chunk:
        begin, self.offset = self.offset, self.offset + end - self._begin
        self._begin = end
        return Chunk(begin, self.offset, data, lines, too_large)

    def _pass_over(self, size: int) -> Chunk | None:
        """Drop the rest of a line that is too large, and return its head and length; None where it is not whole."""
        assert self._large is not None
        head, length = self._large
        at = -1
        while at < 0 and not self._ended:
            self._begin = self._end
            if not self._fill(size):
                self._large = head, length
                return Chunk(self.offset, self.offset, b"", 0)
            at = self._buffer.find(b"\n", 0, self._end)
            length += at if at >= 0 else self._end
        self._large = None
        if at < 0 and not self._whole(head):
            self._begin = self._end
            return None
        self.unended = at < 0
        self._begin = at + 1
        begin, self.offset = self.offset, self.offset + length + (at >= 0)
        return Chunk(begin, self.offset, head, 1, length)


def _newlines(buffer: bytearray, begin: int, end: int) -> B1:
    newlines: B1 = np.frombuffer(buffer, np.uint8, end - begin, begin) == NEWLINE
    return newlines


def _too_long(buffer: bytearray, begin: int, end: int) -> tuple[int, int] | None:
    """Find the first line over the limit: where it begins, and its length without the newline."""
    step = MAX_MESSAGE_BYTES // 2
    # A line over the limit covers at least one whole step, and looking for its newline there costs next to nothing.
    if all(buffer.find(b"\n", at, at + step) >= 0 for at in range(begin, end - step + 1, step)):
        return None
    ends = np.flatnonzero(_newlines(buffer, begin, end))
    lengths = np.diff(ends, prepend=-1) - 1
    long = np.flatnonzero(lengths > MAX_MESSAGE_BYTES)
    if not long.size:
        return None
    first = int(long[0])
    return begin + int(ends[first] - lengths[first]), int(lengths[first])
