"""One process: bytes and rows of each day of a lake's tables, from what their logs list.

``python -m benchmarks.ours.lake_days LAKE``
"""

import json
import sys
from collections import defaultdict

from sinks.catalog.snapshot import take_snapshot


def main() -> None:
    """Print them by table and day."""
    snapshot = take_snapshot(sys.argv[1])
    found: dict[str, dict[str, dict[str, int]]] = {}
    for table, files in snapshot.tables.items():
        days = found.setdefault(table, {})
        for file in files:
            day = days.setdefault(str(file.dt), defaultdict(int))
            day["bytes"] += file.size
            day["rows"] += file.rows or 0
            day["files"] += 1
    print(json.dumps(found))


if __name__ == "__main__":
    main()
