"""One process: the limit of decoding, msgspec's list of structs, from batches joined to JSON arrays beforehand.

``python -m benchmarks.peers.msgspec_lines FILE``. No columns, no times, no sentinels, nothing refused: what any decoder
that goes through msgspec must take at least.
"""

import json
import sys
import time
from pathlib import Path

import msgspec

from benchmarks.peers.batches import batches


class Reading(msgspec.Struct, gc=False):
    """The same fields, ids and times as texts."""

    station_id: str
    observed_at: str
    pm10: float | None = None
    pm25: float | None = None
    o3: float | None = None
    no2: float | None = None
    co: float | None = None
    so2: float | None = None


def main() -> None:
    """Decode the file once."""
    joined = [b"[" + b",".join(chunk[:-1].split(b"\n")) + b"]" for chunk in batches(Path(sys.argv[1]).read_bytes())]
    decoder = msgspec.json.Decoder(list[Reading])
    count = 0
    began = time.process_time()
    for array in joined:
        count += len(decoder.decode(array))
    seconds = time.process_time() - began
    print(json.dumps({"seconds": seconds, "lines": count}))


if __name__ == "__main__":
    main()
