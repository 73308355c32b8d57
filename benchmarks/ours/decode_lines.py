"""One process: a file of NDJSON into columns and rejects by ``flows.decode.decoder.Decoder``.

``python -m benchmarks.ours.decode_lines CITY FILE``, in batches as the source cuts them.
"""

import json
import sys
import time
from pathlib import Path

from benchmarks.peers.batches import batches
from flows.air import FLOW
from flows.settings import load_city


def main() -> None:
    """Decode the file once, with nothing remembered from before."""
    city = load_city(Path(sys.argv[1]))
    chunks = batches(Path(sys.argv[2]).read_bytes())
    decoder = FLOW.decoder(city)
    first = readings = rejects = 0
    began = time.process_time()
    for chunk in chunks:
        found, refused, count = decoder.lines(0, first, chunk)
        first += count
        readings += len(found)
        rejects += len(refused)
    seconds = time.process_time() - began
    print(json.dumps({"seconds": seconds, "lines": first, "readings": readings, "rejects": rejects}))


if __name__ == "__main__":
    main()
