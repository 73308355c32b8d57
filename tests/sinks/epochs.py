"""What the tests of the lake share: rows of an epoch, and the messages it took."""

import pyarrow as pa

from flows.decode.batch import Partition, Taken
from flows.outputs.lake_rows import Landing
from schemas.tables import TABLES

DAY = 86_400_000_000
START = 20_514 * DAY
"""2026-03-02 UTC."""
FILE = Partition("air.ndjson", 0)


def rejects(times, first=0, payload=b"{", reason="undecodable", partition=FILE):
    """Rows of ``rejects``, in microseconds."""
    n = len(times)
    columns = [
        pa.array([partition.topic] * n).dictionary_encode(),
        pa.array([partition.kpart] * n, pa.int32()),
        pa.array(range(first, first + n), pa.int64()),
        pa.array(times, pa.int64()).cast(pa.timestamp("us", "UTC")),
        pa.array([reason] * n).dictionary_encode(),
        pa.array(["why"] * n),
        pa.array([payload] * n, pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=TABLES["rejects"].schema.remove_metadata())


def taken(first, count, gap=0, **judged):
    landing = Landing(7, taken=[(FILE, Taken(0, first, first + count + gap - 1, count, gap))])
    landing.judged.update({(FILE, what): n for what, n in judged.items()})
    return landing
