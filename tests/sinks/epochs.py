"""What the tests of the lake share: rows of an epoch, and the messages it took."""

import pyarrow as pa

from flows.decode.batch import InputPartition, OffsetRange
from flows.outputs.lake_rows import LakeBatch
from schemas.tables import TABLES

DAY = 86_400_000_000
START = 20_514 * DAY
"""2026-03-02 UTC."""
FILE = InputPartition("air.ndjson", 0)


def rejects(times, first=0, payload=b"{", reason="undecodable", partition=FILE):
    """Rows of ``rejects``, in microseconds."""
    n = len(times)
    columns = [
        pa.array([partition.topic] * n).dictionary_encode(),
        pa.array([partition.number] * n, pa.int32()),
        pa.array(range(first, first + n), pa.int64()),
        pa.array(times, pa.int64()).cast(pa.timestamp("us", "UTC")),
        pa.array([reason] * n).dictionary_encode(),
        pa.array(["why"] * n),
        pa.array([payload] * n, pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=TABLES["rejects"].schema.remove_metadata())


def taken(first, count, gap=0, **judged):
    landing = LakeBatch(7, offsets=[(FILE, OffsetRange(0, first, first + count + gap - 1, count, gap))])
    landing.dispositions.update({(FILE, what): n for what, n in judged.items()})
    return landing
