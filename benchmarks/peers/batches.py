"""Cuts the bytes of an NDJSON file into batches of whole lines, and times a decoder over them."""

import time
from collections.abc import Iterable
from typing import Any

ROWS = 16_384


def batches(content: bytes, rows: int = ROWS) -> list[bytes]:
    r"""Runs of ``rows`` lines, each line ended by ``\n``.

    >>> batches(b"1\n2\n3\n", 2)
    [b'1\n2\n', b'3\n']
    """
    lines = content.split(b"\n")[:-1]
    return [b"\n".join(lines[i : i + rows]) + b"\n" for i in range(0, len(lines), rows)]


def decode_all(decoder: Any, chunks: Iterable[bytes]) -> dict[str, float]:
    """Decode every chunk once; return the processor's seconds and what came of the lines."""
    first = readings = rejects = 0
    began = time.process_time()
    for chunk in chunks:
        found, refused, count = decoder.lines(0, first, chunk)
        first += count
        readings += len(found)
        rejects += len(refused)
    return {"seconds": time.process_time() - began, "lines": first, "readings": readings, "rejects": rejects}
