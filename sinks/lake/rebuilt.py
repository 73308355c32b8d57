"""The snapshot that the lake's step would have left, had it been asked last: made from the tables alone."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from flows.decode.batch import InputPartition
from flows.outputs.lake_rows import DeferredRows, LakeBatch
from schemas.city import City
from schemas.snapshots import VERSION
from schemas.tables import TABLES
from sinks.lake.ledger import EpochLedger
from sinks.lake.sink import LakeSink
from sinks.lake.tables import create_tables

LOST = "lost"
"""In place of a zone: what waited in the store that was lost."""


def rebuilt_snapshot(
    root: Path, writer: str, city: City, last: Mapping[InputPartition, int], given_up: LakeBatch
) -> dict[str, Any]:
    """Make the snapshot of a writer's lake step.

    Args:
        root: the lake.
        writer: id of the writer.
        city: the city file.
        last: newest offset of each input partition that the ledger has.
        given_up: rejects of the messages that waited in the store that was lost; they are committed at once.
    """
    versions = {table: DeltaTable(str(root / table)).transaction_version(writer) for table in TABLES}
    tables = {table: version for table, version in versions.items() if version is not None}
    waiting = Counter({partition: count for (partition, _), count in given_up.dispositions.items()})
    state: dict[str, Any] = {
        "v": VERSION,
        "lake": create_tables(root),
        "p": max(tables.values(), default=-1),
        "tables": tables,
        "pending": [],
        "books": EpochLedger.snapshot_of(last, {LOST: waiting} if waiting else {}),
    }
    if not waiting:
        return state
    partition = LakeSink(root, writer, city).build_part("lake", "lake", state)
    given_up.waiting = (LOST, Counter())
    partition.write_batch([DeferredRows(lambda: given_up)])
    state = partition.snapshot()
    partition.commit_all()
    return state
