"""One process: a file of NDJSON into the same columns and rejects by msgspec's ``decode_lines``, without our scanner.

``python -m benchmarks.peers.msgspec_columns CITY FILE [DIFFERENT]``. What a decoder without a compiled loop of its own
would do: a block of lines becomes structs at once, each field of them becomes a column, and a count of all its
quotes finds a key that stands twice. A block that breaks is cut into runs of a few lines, and where one of those breaks
its lines are taken one by one. With ``DIFFERENT`` it says in how many figures it and our decoder differ.
"""

import json
import sys
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.peers.batches import batches, decode_all
from flows.air import FLOW
from flows.arrays import I64, Whole
from flows.decode.batch import RawMessages, Readings, concatenate
from flows.decode.decoder import UNKNOWN, Decoder, _status
from flows.decode.duplicate_keys import duplicate_keys
from flows.decode.timestamps import bad_time
from flows.settings import load_city
from schemas.measured import AIR
from schemas.rejected import Reject

RUN = 32
"""Lines of a run of a broken block: with 1 % garbage three of four are whole."""


class _Lines(RawMessages):
    """Some lines of a chunk; cut only if one is asked for."""

    def __init__(self, chunk: bytes, lines: Whole) -> None:
        self._chunk, self._lines = chunk, lines

    def take(self, rows: Sequence[int] | Whole) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        if not len(rows):
            return []
        cut = self._chunk.split(b"\n")
        return [cut[line] for line in self._lines[np.asarray(rows)].tolist()]


class BlockDecoder(Decoder):
    """The decoder with ``decode_lines`` in place of the compiled scanner."""

    def lines(
        self, part: int, first: int, chunk: bytes, count: int | None = None
    ) -> tuple[Readings, list[Reject], int]:
        """Decode whole lines of NDJSON; arguments and results as of ``Decoder.lines``."""
        n = chunk.count(b"\n") if count is None else count
        rows, broken = self._parse(chunk, n)
        good = np.delete(np.arange(n), broken)
        readings, rejects = self._of_rows(part, first, chunk, rows, good)
        if not broken:
            return readings, rejects, n
        alone = _Lines(chunk, np.array(broken)).take(range(len(broken)))
        others, more = self.messages(part, first + np.array(broken), alone)
        readings = concatenate([readings, others])
        rejects = sorted(rejects + more, key=lambda reject: reject.offset)
        return readings.take(np.argsort(readings.offset, kind="stable")), rejects, n

    def _parse(self, chunk: bytes, n: int) -> tuple[list[Any], list[int]]:
        """Return the structs of lines, and the numbers of lines that are to be looked at alone."""
        rows = self._structs(chunk, n)
        if rows is not None:
            return rows, []
        rows, broken, lines = [], [], chunk.split(b"\n")[:-1]
        for begin in range(0, n, RUN):
            run = lines[begin : begin + RUN]
            structs = self._structs(b"\n".join(run), len(run))
            if structs is None:
                broken += range(begin, begin + len(run))
            else:
                rows += structs
        return rows, broken

    def _structs(self, chunk: bytes, n: int) -> list[Any] | None:
        try:
            rows: list[Any] = self._strict.decode_lines(chunk)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        return rows if len(rows) == n else None

    def _of_rows(
        self, part: int, first: int, chunk: bytes, rows: list[Any], lines: I64
    ) -> tuple[Readings, list[Reject]]:
        """Make columns of structs; their quotes are counted all at once."""
        n, payloads = len(rows), _Lines(chunk, lines)
        values, given = np.empty((n, len(self._values_of)), order="F"), 0
        for i, value_of in enumerate(self._values_of):
            column = list(map(value_of, rows))
            values[:, i] = column
            given += column.count(None)
        known = np.count_nonzero(~np.isnan(values), axis=1)
        status, keys = _status([row.status for row in rows], self.measured.gridded)
        quotes = 2 * (4 + known + keys)
        station = np.fromiter(map(self._index.get, map(self._id_of, rows), repeat(UNKNOWN)), np.int32, n)
        observed = np.fromiter(map(self._times.__getitem__, [row.observed_at for row in rows]), np.int64, n)
        self._times.forget()
        whole = chunk if n == chunk.count(b"\n") else b"".join(payloads.take(range(n)))
        twice = {}
        if whole.count(b'"') != quotes.sum() + 2 * given:
            twice = duplicate_keys(payloads, quotes)
        readings = Readings(
            station, observed, values, status, np.full(n, part, np.int32), first + lines.astype(np.int64), payloads
        )
        return self._judge(
            readings, lambda row: str(self._id_of(rows[row])), lambda row: bad_time(rows[row].observed_at), twice
        )


def main() -> None:
    """Decode the file once."""
    city, chunks = load_city(Path(sys.argv[1])), batches(Path(sys.argv[2]).read_bytes())
    sentinels = [limit.sentinels for limit in city.limits()]
    decoder = BlockDecoder(AIR, [station.id for station in city.stations], sentinels)
    said: dict[str, object] = {**decode_all(decoder, chunks)}
    if sys.argv[3:]:
        said["different"] = _different(decoder, FLOW.decoder(city), chunks)
    print(json.dumps(said))


def _different(decoder: Decoder, ours: Decoder, chunks: Sequence[bytes]) -> int:
    """Count readings and rejects in which two decoders differ."""
    different: int = 0
    for chunk in chunks:
        (one, refused, _), (other, refused_too, _) = decoder.lines(0, 0, chunk), ours.lines(0, 0, chunk)
        if one.offset.tolist() != other.offset.tolist():
            return different + abs(len(one) - len(other)) or 1
        for name in ("station", "observed", "status"):
            different += int((getattr(one, name) != getattr(other, name)).sum())
        different += int((one.values.view(np.int64) != other.values.view(np.int64)).sum())
        different += sum(a != b for a, b in zip(refused, refused_too, strict=True))
    return different


if __name__ == "__main__":
    main()
