"""What every reader of a file shares: a place in it, blocks of decoded messages, and the order of their offsets.

Every message of a file is in exactly one block, as a reading or as a reject, in the order of its offsets.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from flows.decode.batch import RawMessages, Readings, Subset, concatenate, no_readings
from flows.decode.decoder import Columns, Decoder
from flows.sources.files.lines import Chunk
from schemas.rejected import MAX_KEPT_BYTES, MAX_MESSAGE_BYTES, Reject

Place = dict[str, int]
"""Where in a file to go on: plain numbers, ``koff`` (offset of the message that stands there) among them."""
START: Place = {"koff": 0, "offset": 0, "unended": 0}
SORTED_ROWS = 65_536
"""Messages of a block while a whole file is read to be sorted."""


@dataclass(slots=True)
class Block:
    """A run of a file's messages, offsets ``first`` to ``end`` - 1. Without any: nothing has come yet."""

    readings: Readings
    rejects: list[Reject]
    first: int
    end: int
    place: Place
    """A reader put here gives this block again."""
    size: int = 0
    """Bytes of the messages, of a topic's."""


class Reader(Protocol):
    """Reads one file, block by block, from any place on.

    Attributes:
        place: where the next block begins.
    """

    place: Place

    def read(self, rows: int) -> Block | None:
        """Return the next block of about ``rows`` messages, None at the end."""

    def pause(self) -> None:
        """Release what the operating system lends, until the next read."""


def block(readings: Readings, rejects: list[Reject], first: int, end: int, place: Place) -> Block:
    """Make a block.

    Raises:
        RuntimeError: a message is missing or is there twice, which would be a bug of ours.
    """
    if len(readings) + len(rejects) != end - first:
        raise RuntimeError(f"{end - first} messages became {len(readings)} readings and {len(rejects)} rejects")
    return Block(readings, rejects, first, end, place)


def too_large(part: int, offset: int, chunk: Chunk) -> Reject:
    """Refuse a line over the limit."""
    detail = f"a line of {chunk.too_large:,} bytes, over {MAX_MESSAGE_BYTES:,}"
    return Reject(part, offset, "too_large", detail, chunk.data[:MAX_KEPT_BYTES])


def decode_columns(
    decoder: Decoder, part: int, first: int, columns: Columns, payloads: RawMessages, faults: dict[int, str]
) -> tuple[Readings, list[Reject]]:
    """Decode typed rows, and refuse those whose cells cannot be read.

    Args:
        decoder: judges the others.
        part: index of the input partition.
        first: offset of the first row.
        columns: the rows, in the order of their offsets.
        payloads: their original bytes.
        faults: what is wrong with which row, by its number among these.
    """
    n = columns.observed.size
    offset = np.arange(first, first + n)
    if not faults:
        return decoder.columns(part, offset, columns, payloads)
    bad = sorted(faults)
    refused = [
        Reject(part, first + row, "contract", faults[row], text[:MAX_KEPT_BYTES])
        for row, text in zip(bad, payloads.take(bad), strict=True)
    ]
    good = np.delete(np.arange(n), bad)
    names, codes = columns.names
    legible = Columns(
        (names, codes[good]),
        columns.observed[good],
        np.asfortranarray(columns.values[good]),
        columns.status[good],
        {i: columns.notes[row] for i, row in enumerate(good.tolist()) if row in columns.notes} if columns.notes else {},
    )
    readings, rejects = decoder.columns(part, offset[good], legible, Subset(payloads, good))
    return readings, sorted(refused + rejects, key=lambda reject: reject.offset)


class SortedReader:
    """Reads a file that is in no order of time: whole, then sorted by time.

    An offset is the place in that order, in which rejects come last.

    Args:
        reader: of the file, at its start.
        place: where to go on.
    """

    def __init__(self, reader: Reader, place: Place = START) -> None:
        self._reader, self.place = reader, place
        self._sorted: tuple[Readings, list[Reject]] | None = None

    def read(self, rows: int) -> Block | None:
        """Return the next block of up to ``rows`` messages, None at the end."""
        readings, rejects = self._sorted = self._sorted or self._sort()
        place, first, n = self.place, self.place["koff"], len(readings)
        end = min(first + rows, n + len(rejects))
        if end == first:
            return None
        self.place = {"koff": end, "offset": 0, "unended": 0}
        run = readings.take(np.arange(min(first, n), min(end, n)))
        return block(run, rejects[max(0, first - n) : max(0, end - n)], first, end, place)

    def pause(self) -> None:
        """Release what the operating system lends."""
        self._reader.pause()

    def _sort(self) -> tuple[Readings, list[Reject]]:
        runs: list[Readings] = []
        rejects: list[Reject] = []
        while (read := self._reader.read(SORTED_ROWS)) is not None:
            runs.append(read.readings)
            rejects += read.rejects
        readings = concatenate(runs) if runs else no_readings()
        readings = readings.take(np.argsort(readings.observed, kind="stable"))
        n = len(readings)
        return replace(readings, offset=np.arange(n)), [r._replace(offset=n + i) for i, r in enumerate(rejects)]
