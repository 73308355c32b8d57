"""One process: a file of NDJSON into columns and rejects by ``flows.decode.decoder.Decoder``.

``python -m benchmarks.ours.decode_lines CITY FILE``, in batches as the source cuts them.
"""

import json
import sys
from pathlib import Path

from benchmarks.peers.batches import batches, decode_all
from flows.air import FLOW
from flows.settings import load_city


def main() -> None:
    """Decode the file once, with nothing remembered from before."""
    city = load_city(Path(sys.argv[1]))
    chunks = batches(Path(sys.argv[2]).read_bytes())
    decoder = FLOW.decoder(city)
    print(json.dumps(decode_all(decoder, chunks)))


if __name__ == "__main__":
    main()
