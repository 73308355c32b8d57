"""Batches for the lake's sink: rows, and the accounting of the messages behind them."""

from collections import Counter

import pyarrow as pa

from flows.decode.batch import InputPartition, OffsetRange
from flows.outputs.lake_rows import DeferredRows, LakeBatch
from schemas.slots import DAY_US
from schemas.tables import TABLES

START_US = 20_514 * DAY_US
"""2026-03-02 UTC."""
FILE = InputPartition("air.ndjson", 0)


def reject_rows(times, first=0, payload=b"{", reason="undecodable", partition=FILE):
    """Rows of ``rejects`` at these times in microseconds, with offsets from ``first``."""
    n = len(times)
    columns = [
        pa.array(["air"] * n).dictionary_encode(),
        pa.array([partition.topic] * n).dictionary_encode(),
        pa.array([partition.number] * n, pa.int32()),
        pa.array(range(first, first + n), pa.int64()),
        pa.array(times, pa.int64()).cast(pa.timestamp("us", "UTC")),
        pa.array([reason] * n).dictionary_encode(),
        pa.array(["why"] * n),
        pa.array([payload] * n, pa.binary()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=TABLES["rejects"].schema.remove_metadata())


def batch(first, count, gap=0, waiting=None, partition=FILE, **dispositions):
    """A batch of ``count`` messages from offset ``first``, that became so many of each disposition, without rows."""
    offsets = OffsetRange(0, first, first + count + gap - 1, count, gap)
    return LakeBatch(
        7,
        offsets=[(partition, offsets)],
        dispositions=Counter({(partition, name): number for name, number in dispositions.items()}),
        waiting=None if waiting is None else ("city", Counter({partition: waiting})),
    )


def rejected(first, count=2, *, idle=False, rows=None, partition=FILE):
    """``count`` messages from offset ``first``, all refused, as the sink gets them."""
    made = batch(first, count, partition=partition, rejected=count)
    made.rows.append(("rejects", reject_rows([START_US + 1] * count, first=first, partition=partition)))
    return DeferredRows(lambda: made, count if rows is None else rows, idle)
