"""Whole lines of a file, many at a time, in bounded memory: what NDJSON and CSV have in common."""

import gzip
import os
import select
import zlib
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from schemas.errors import ConfigurationError
from schemas.rejected import MAX_KEPT_BYTES, MAX_MESSAGE_BYTES

NEWLINE = 10
BYTES_PER_ROW = 128
"""A block of 16,384 rows reads about 2 MiB."""
LEAST_BYTES = 64 << 10


class ByteSource(Protocol):
    """Where bytes come from."""

    def read(self, size: int) -> bytes | None:
        """Return about ``size`` bytes, none at the end, None where nothing has come yet."""

    def pause(self) -> None:
        """Give back what the operating system lends, until the next read."""


class PlainBytes:
    """Bytes of a file from ``offset`` on. Holds no handle between reads, so that thousands may be open."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path, self._offset = path, offset

    def read(self, size: int) -> bytes:
        """Return about ``size`` bytes, none at the end."""
        with self._path.open("rb", buffering=0) as file:
            file.seek(self._offset)
            found = file.read(size) or b""
        self._offset += len(found)
        return found

    def pause(self) -> None:
        """Nothing is held."""


class GzipBytes:
    """Bytes of a gzip file from ``offset`` of its content on; what stands before is unpacked and dropped."""

    def __init__(self, path: Path, offset: int) -> None:
        self._path, self._offset = path, offset
        self._file: gzip.GzipFile | None = None

    def read(self, size: int) -> bytes:
        """Return about ``size`` bytes, none at the end.

        Raises:
            ConfigurationError: the file is cut off or no gzip file.
        """
        try:
            if self._file is None:
                self._file = gzip.GzipFile(self._path, "rb")
                self._file.seek(self._offset)
            found = self._file.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as err:
            self.pause()
            raise ConfigurationError(f"{self._path}: not a whole gzip file ({err}); get it again") from err
        self._offset += len(found)
        if not found:
            self.pause()
        return found

    def pause(self) -> None:
        """Close the file; the next read unpacks from its start again."""
        if self._file is not None:
            self._file.close()
            self._file = None


class PipedBytes:
    """Bytes of a pipe or terminal, without ever waiting for them."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, size: int) -> bytes | None:
        """Return up to ``size`` bytes, none at the end, None where nothing has come yet."""
        found: list[bytes] = []
        left = size
        while left > 0:
            ready, _, _ = select.select([self._descriptor], [], [], 0)
            if not ready:
                break
            more = os.read(self._descriptor, left)
            if not more:
                return b"".join(found)
            found.append(more)
            left -= len(more)
        return b"".join(found) or None

    def pause(self) -> None:
        """A pipe cannot be opened twice."""


class Piece(NamedTuple):
    """Some whole lines."""

    offset: int
    """Where they begin in the file's (unpacked) content."""
    end: int
    """Where the next ones begin."""
    data: bytes
    """Lines, each ended by a newline; of a line too large its first 64 KiB."""
    lines: int
    too_large: int = 0
    """Bytes of the one line that is too large; 0 otherwise."""


class Lines:
    """Cuts bytes into pieces of whole lines. The last line may lack its newline.

    Args:
        source: where the bytes come from, already at ``offset``.
        offset: where reading begins.
        unended: the line before ``offset`` lacked its newline when it was read; should the file have grown since,
            the newline that comes first belongs to it.
    """

    def __init__(self, source: ByteSource, offset: int = 0, *, unended: bool = False) -> None:
        self._source = source
        self.offset = offset
        self.unended = unended
        self._rest = b""
        self._ended = False
        self._large: tuple[bytes, int] | None = None

    def pause(self) -> None:
        """Give back what the operating system lends."""
        self._source.pause()

    def read(self, rows: int) -> Piece | None:
        """Return up to ``rows`` lines, none where nothing has come yet, None at the end."""
        size = max(LEAST_BYTES, rows * BYTES_PER_ROW)
        while self._large is None:
            end = self._rest.rfind(b"\n") + 1
            if end or self._ended:
                return self._cut(end, rows)
            if len(self._rest) > MAX_MESSAGE_BYTES:
                self._large = self._rest[:MAX_KEPT_BYTES], len(self._rest)
                self._rest = b""
            elif not self._fill(size):
                return Piece(self.offset, self.offset, b"", 0)
        return self._pass_over(size)

    def _fill(self, size: int) -> bool:
        found = self._source.read(size)
        if found is None:
            return False
        self._ended = not found
        if found and self.unended:
            self.unended = False
            if found.startswith(b"\n"):
                found = found[1:]
                self.offset += 1
        self._rest = self._rest + found if self._rest else found
        return True

    def _cut(self, end: int, rows: int) -> Piece | None:
        data = self._rest[:end] if end < len(self._rest) else self._rest
        if not end:
            if not self._rest:
                return None
            data = self._rest + b"\n"
            self.unended = True
        span = _too_long(data)
        if span is not None and span[0] == 0:
            length = span[1]
            return self._take(length + 1, Piece(0, 0, data[:MAX_KEPT_BYTES], 1, length))
        if span is not None:
            data = data[: span[0]]
        count = data.count(b"\n")
        if count > rows:
            data = data[: int(np.flatnonzero(np.frombuffer(data, np.uint8) == NEWLINE)[rows - 1]) + 1]
            count = rows
        return self._take(len(data), Piece(0, 0, data, count))

    def _take(self, length: int, piece: Piece) -> Piece:
        length = min(length, len(self._rest))  # a last line without its newline is one byte shorter than its piece
        begin, self.offset = self.offset, self.offset + length
        self._rest = self._rest[length:]
        return piece._replace(offset=begin, end=self.offset)

    def _pass_over(self, size: int) -> Piece:
        """Drop the rest of a line too large, keeping its head and its length."""
        assert self._large is not None
        head, length = self._large
        while True:
            found = self._source.read(size)
            if found is None:
                self._large = head, length
                return Piece(self.offset, self.offset, b"", 0)
            at = found.find(b"\n")
            length += at if at >= 0 else len(found)
            if at >= 0 or not found:
                break
        self._rest, self._ended, self._large = found[at + 1 :], not found, None
        self.unended = not found
        begin, self.offset = self.offset, self.offset + length + bool(found)
        return Piece(begin, self.offset, head, 1, length)


def _too_long(data: bytes) -> tuple[int, int] | None:
    """Find the first line over the limit: where it begins, and its length without the newline."""
    step = MAX_MESSAGE_BYTES // 2
    # A line over the limit covers at least one whole step, and looking for its newline there costs next to nothing.
    if all(data.find(b"\n", at, at + step) >= 0 for at in range(0, len(data) - step + 1, step)):
        return None
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == NEWLINE)
    lengths = np.diff(ends, prepend=-1) - 1
    long = np.flatnonzero(lengths > MAX_MESSAGE_BYTES)
    if not long.size:
        return None
    first = int(long[0])
    return int(ends[first] - lengths[first]), int(lengths[first])
