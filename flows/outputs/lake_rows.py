"""Rows for the lake: what was decided, as Arrow batches of its tables, and the accounting of messages."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from msgspec import Struct
from msgspec.structs import astuple

from flows import arrays
from flows.analyses.base import Column, Names, Nullable
from flows.arrays import I32, I64
from flows.decode.batch import InputPartition, OffsetRange, Readings, SourceBatch
from flows.decode.values import ValueNotes
from flows.zone.result import Accepted, AcceptedRecord, ZoneResult
from schemas.measured import Instrument, Measured
from schemas.rejected import MAX_KEPT_BYTES, OTHER, REASONS, Reject
from schemas.tables import NAME, TABLES

COUNTED_APART = ("duplicate", "too_late", OTHER)
"""Reasons that the ledger counts by themselves; the others are ``rejected``."""


@dataclass(slots=True)
class LakeBatch:
    """Rows of lake tables, and the accounting of the messages behind them.

    Attributes:
        received: when the newest of the messages reached the pipeline, microseconds since 1970 UTC.
        rows: table and batch.
        offsets: offsets read from each partition, counted at the source.
        dispositions: how many messages of a partition became what: stored, rejected, duplicate or too_late.
        waiting: zone and, by partition, how many of its readings are in the early buffer now.
        noted: how many values of stored readings were ``unreadable``, and how many ``texts`` of numbers.
    """

    received: int
    rows: list[tuple[str, pa.RecordBatch]] = field(default_factory=list)
    offsets: list[tuple[InputPartition, OffsetRange]] = field(default_factory=list)
    dispositions: Counter[tuple[InputPartition, str]] = field(default_factory=Counter)
    waiting: tuple[str, Counter[InputPartition]] | None = None
    noted: Counter[str] = field(default_factory=Counter)


class DeferredRows(NamedTuple):
    """Lake rows not built yet.

    Building costs processor time that outgoing messages need first. So the sink builds them when the input is idle,
    when ``MAX_DEFERRED_ROWS`` is reached, or at the epoch's end.
    """

    build: Callable[[], LakeBatch]
    rows: int = 0
    """Estimated number of rows; bounds the memory of what is deferred."""
    idle: bool = False
    """The input brought nothing: there is time to build."""


class LakeRows:
    """Builder of the rows of one flow's tables.

    Args:
        flow: its name.
        measured: the kind of reading.
        instruments: of the flow, in the order of their indices.
    """

    def __init__(self, flow: str, measured: Measured, instruments: Sequence[Instrument]) -> None:
        self._flow, self._measured = flow, measured
        self._instruments = arrays.texts([instrument.id for instrument in instruments])
        zones = sorted({instrument.zone for instrument in instruments})
        self._zones = arrays.texts(zones)
        self._zone_of = np.array([zones.index(instrument.zone) for instrument in instruments], np.int32)

    def of_source(self, batch: SourceBatch) -> LakeBatch:
        """Build what was refused before it reached a zone, and the accounting of offsets."""
        offsets = [(batch.parts[read.part], read) for read in batch.offsets]
        lake = LakeBatch(batch.received, offsets=offsets)
        self._rejects(batch.rejects, batch.parts, lake)
        return lake

    def of_rejects(self, rejects: list[Reject], parts: Sequence[InputPartition], received: int) -> LakeBatch:
        """Build refusals alone."""
        lake = LakeBatch(received)
        self._rejects(rejects, parts, lake)
        return lake

    def of_zone(self, zone: str, stations: I32, result: ZoneResult, received: int) -> LakeBatch:
        """Build what a zone decided; ``stations`` are the flow's indices of the zone's instruments."""
        parts = result.parts
        lake = LakeBatch(received, waiting=(zone, Counter(parts[part] for part in result.waiting.tolist())))
        for accepted in result.accepted:
            self._accepted(accepted, parts, lake)
        self._records(result.records, parts, lake)
        self._rejects(result.rejects, parts, lake)
        for rows in result.results.rows:
            columns = rows.columns()
            if columns:
                lake.rows.append((rows.table, self._batch(rows.table, columns, stations)))
        lake.rows += signal_rows(result)
        return lake

    def _accepted(self, accepted: Accepted, parts: Sequence[InputPartition], lake: LakeBatch) -> None:
        readings = accepted.readings
        if not len(readings):
            return
        for part, count in enumerate(np.bincount(readings.part).tolist()):
            if count:
                lake.dispositions[parts[part], "stored"] += count
        values = readings.values
        missing = np.isnan(values)
        columns: dict[str, Column] = {
            "instrument": readings.station,
            "observed_at": readings.observed,
            "received_at": np.full(len(readings), lake.received),
            **{name: Nullable(values[:, i], missing[:, i]) for i, name in enumerate(self._measured.values)},
            **{f"flag_{name}": accepted.flags[:, p] for p, name in enumerate(self._measured.gridded)},
            "notes": _notes(readings, lake.noted),
            **_origin(readings.part, readings.offset, parts),
        }
        lake.rows.append((self._measured.table, self._batch(self._measured.table, columns, None)))

    def _records(self, records: Sequence[AcceptedRecord], parts: Sequence[InputPartition], lake: LakeBatch) -> None:
        by_table: dict[str, list[AcceptedRecord]] = {}
        for accepted in records:
            lake.dispositions[parts[accepted.part], "stored"] += 1
            by_table.setdefault(accepted.record.kind.table, []).append(accepted)
        for table, of_kind in by_table.items():
            data = [accepted.record.data for accepted in of_kind]
            n = len(of_kind)
            origin = _origin(
                np.array([accepted.part for accepted in of_kind], np.int32),
                np.array([accepted.offset for accepted in of_kind], np.int64),
                parts,
            )
            known = {"received_at": np.full(n, lake.received), **origin}
            columns = {
                column.name: known.get(column.name, [getattr(each, column.name, None) for each in data])
                for column in TABLES[table].schema
            }
            lake.rows.append((table, self._batch(table, columns, None)))

    def _rejects(self, rejects: list[Reject], parts: Sequence[InputPartition], lake: LakeBatch) -> None:
        for reject in rejects:
            reason = reject.reason if reject.reason in COUNTED_APART else "rejected"
            lake.dispositions[parts[reject.part], reason] += 1
        rejects = [reject for reject in rejects if reject.reason != OTHER]
        if not rejects:
            return
        part, offset = np.array([r.part for r in rejects], np.int32), np.array([r.offset for r in rejects], np.int64)
        columns: dict[str, Column] = {
            "flow": Names([self._flow], np.zeros(len(rejects), np.int32)),
            **_origin(part, offset, parts),
            "received_at": np.full(len(rejects), lake.received),
            "reason": Names(REASONS, np.array([REASONS.index(r.reason) for r in rejects], np.int32)),
            "detail": arrays.texts([r.detail.encode("utf-8", "replace") for r in rejects]),
            "payload": arrays.texts([r.payload[:MAX_KEPT_BYTES] for r in rejects], pa.binary()),
        }
        lake.rows.append(("rejects", self._batch("rejects", columns, None)))

    def _batch(self, table: str, columns: Mapping[str, Column], stations: I32 | None) -> pa.RecordBatch:
        """Make a batch as the table's schema says.

        Args:
            table: name of the table.
            columns: by name; ``instrument`` stands for zone and id.
            stations: the flow's indices of the zone's instruments, where ``instrument`` is a column of the zone's grid.
        """
        schema = TABLES[table].schema
        made: dict[str, pa.Array] = {}
        if "instrument" in columns:
            index = columns["instrument"] if stations is None else stations[columns["instrument"]]
            made["zone"] = arrays.named(self._zones, self._zone_of[index])
            made[self._measured.id_field] = arrays.named(self._instruments, index)
        for column in schema:
            if column.name not in made:
                made[column.name] = _array(columns[column.name], column.type)
        return pa.RecordBatch.from_arrays([made[name] for name in schema.names], schema=schema.remove_metadata())


def _array(values: Column, kind: pa.DataType) -> pa.Array:
    """Make an Arrow array of a column, of the table's type."""
    match values:
        case pa.Array():
            return values
        case Names(names, code, missing):
            return arrays.named(arrays.texts(names), code, missing)
        case Nullable(numbers, missing):
            return arrays.numbers(numbers, kind, missing)
        case np.ndarray() if values.dtype == bool:
            return arrays.flags(values)
        case np.ndarray() if values.dtype != object:
            return arrays.numbers(values, kind)
        case _:
            return arrays.anything(values, kind)


def signal_rows(result: ZoneResult) -> list[tuple[str, pa.RecordBatch]]:
    """Build rows of ``light_states`` and ``alerts``: the messages' fields."""
    of_tables: list[tuple[str, Sequence[Struct]]] = [
        ("light_states", result.signals.states),
        ("alerts", result.signals.alerts),
    ]
    return [(table, struct_rows(table, structs)) for table, structs in of_tables if structs]


def struct_rows(table: str, structs: Sequence[Struct]) -> pa.RecordBatch:
    """Build rows of structs of one type, at least one; each column of the table is a field of theirs."""
    schema = TABLES[table].schema
    fields = dict(zip(structs[0].__struct_fields__, zip(*map(astuple, structs), strict=True), strict=True))
    columns = [arrays.anything(fields[column.name], column.type) for column in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema.remove_metadata())


def ledger(entries: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    """Build rows of the ledger, at least one."""
    schema = TABLES["ledger"].schema
    columns = []
    for column in schema:
        values = [entry[column.name] for entry in entries]
        if column.type == NAME:
            columns.append(arrays.anything(values, column.type))
        else:
            columns.append(arrays.numbers(np.array(values, f"i{column.type.bit_width // 8}"), column.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema.remove_metadata())


def _notes(readings: Readings, noted: Counter[str]) -> pa.Array:
    """Make the column of notes, and count the values behind them."""
    if readings.notes is None:
        return pa.nulls(len(readings), pa.string())
    notes: list[ValueNotes | None] = readings.notes.tolist()
    for note in notes:
        if note is not None:
            noted["unreadable"] += note.unreadable
            noted["texts"] += note.texts
    return arrays.anything([note and note.text for note in notes], pa.string())


def _origin(part: I32, offset: I64, parts: Sequence[InputPartition]) -> dict[str, Column]:
    topics = sorted({partition.topic for partition in parts})
    topic_of = np.array([topics.index(partition.topic) for partition in parts], np.int32)
    number_of = np.array([partition.number for partition in parts], np.int32)
    return {
        "topic": Names(topics, topic_of[part]),
        "kpart": number_of[part],
        "koff": offset.astype(np.int64, copy=False),
    }
