"""NDJSON as input: a line is a message of the wire."""

import msgspec

from flows.decode.batch import no_readings
from flows.decode.decoder import Decoder
from flows.sources.base import START, Block, Place, block, too_large
from flows.sources.files.lines import LineSplitter


class NdjsonReader:
    """Reads JSON objects, one a line; an offset is the number of a line, from 0.

    Args:
        lines: of the file, already at ``place``.
        part: index of the input partition.
        decoder: judges the messages.
        place: where reading begins.
    """

    def __init__(self, lines: LineSplitter, part: int, decoder: Decoder, place: Place = START) -> None:
        self._lines, self._part, self._decoder = lines, part, decoder
        self.place = place

    def read(self, rows: int) -> Block | None:
        """Return the next block of up to ``rows`` lines, None at the end."""
        place, first = self.place, self.place["koff"]
        chunk = self._lines.read(rows)
        if chunk is None:
            return None
        end = first + chunk.lines
        self.place = {"koff": end, "offset": chunk.end, "unended": int(self._lines.unended)}
        if chunk.too_large:
            return block(no_readings(self._decoder.measured), [too_large(self._part, first, chunk)], first, end, place)
        if not chunk.lines:
            return block(no_readings(self._decoder.measured), [], first, first, place)
        readings, rejects, _ = self._decoder.lines(self._part, first, chunk.data)
        return block(readings, rejects, first, end, place)

    def pause(self) -> None:
        """Release what the operating system lends."""
        self._lines.pause()


def is_whole(line: bytes) -> bool:
    """Say whether a line is whole JSON, whatever it holds.

    >>> is_whole(b'{"pm10":41}'), is_whole(b'{"pm10":4')
    (True, False)
    """
    try:
        msgspec.json.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True
