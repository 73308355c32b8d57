"""One process: what a Parquet file of windows, or the newest means of a lake, add up to.

``python -m benchmarks.ours.checksum PATH``: rows, values in them, the sum of the means, in which contenders that
computed the same agree; and the bytes they take.
"""

import json
import sys
from pathlib import Path

import duckdb

from sinks.catalog import catalog


def main() -> None:
    """Add up."""
    path = Path(sys.argv[1])
    con = catalog.connect(path) if path.is_dir() else duckdb.connect()
    source = "rolling" if path.is_dir() else f"read_parquet('{path}')"
    rows, values, means = con.execute(f'SELECT count(*), sum("count")::BIGINT, sum(mean) FROM {source}').fetchone()
    files = con.snapshot.tables["rolling"] if path.is_dir() else []
    size = sum(file.size for file in files) if files else path.stat().st_size
    print(json.dumps({"rows": rows, "values": values, "means": means, "bytes": size}))


if __name__ == "__main__":
    main()
