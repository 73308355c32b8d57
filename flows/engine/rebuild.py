"""A way back: a recovery store made from the lake, where the flow's own was lost or is too old.

The ledger says what was taken of each input; the readings of the last two horizons fill the zones again. Nothing in
the lake is changed, but that readings which waited for the watermark are entered as refused: only the lost store had
them.
"""

import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main

from flows.arrays import F64, I32, I64, U8
from flows.decode.batch import InMemory, InputPartition, Readings, Record, concatenate, record_readings
from flows.engine.flow import Flow
from flows.engine.seeds import seeds
from flows.engine.steps import zone_snapshot
from flows.outputs.lake_rows import LakeRows
from flows.sources.files.source import FileSource
from flows.sources.kafka.source import KafkaSource
from flows.zone.zone import Zone
from schemas.city import City
from schemas.durations import minutes
from schemas.errors import ConfigurationError
from schemas.light import LightState
from schemas.measured import Recorded
from schemas.rejected import Reject
from schemas.slots import SLOT_US
from schemas.tables import TABLES
from sinks import recovery_store
from sinks.catalog import Catalog, catalog
from sinks.lake.rebuilt import rebuilt_snapshot

LOST = "it waited for the clock when the recovery store was lost; send it again from the input"


class Rebuilt(NamedTuple):
    """What a rebuild made.

    Attributes:
        partitions: of the input, each with the next offset.
        replayed: readings put back on the grid.
        given_up: messages that had waited in the lost store.
    """

    partitions: dict[InputPartition, int]
    replayed: int
    given_up: int

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "partitions": [
                {"topic": partition.topic, "kpart": partition.number, "next_offset": offset}
                for partition, offset in self.partitions.items()
            ],
            "replayed": self.replayed,
            "given_up": self.given_up,
        }


def rebuild(flow: Flow, city: City, source: FileSource | KafkaSource, lake: Path, recovery: Path) -> Rebuilt:
    """Make the recovery store of a flow anew.

    Args:
        flow: whose store it is.
        city: the city file.
        source: the input that the flow reads; it must still be what it was.
        lake: the lake.
        recovery: folder of the stores; the flow's part of it must not exist.

    Raises:
        ConfigurationError: there is a store, or lake and input do not fit together.
    """
    folder = recovery / flow.name
    if folder.exists():
        raise ConfigurationError(f"there is a recovery store at {folder}; move it away first: mv {folder} {folder}.old")
    con = catalog.connect(lake)
    offsets = con.execute(
        "SELECT topic, kpart, max(last_offset) FROM ledger WHERE flow = ? GROUP BY ALL ORDER BY kpart, topic",
        [flow.name],
    ).fetchall()
    if not offsets:
        raise ConfigurationError(
            f"the ledger of {lake} has nothing of the {flow.name} flow to rebuild from; start it with a new store"
        )
    last = {InputPartition(topic, number): offset for topic, number, offset in offsets}
    parts = list(last)
    newest = _newest_observed(con, flow)
    position = {part: (offset + 1, newest.get(part, 0)) for part, offset in last.items()}
    zones = {name: _Replay(flow, city, name, con, parts) for name in flow.zones(city)}
    lost = _lost(con, parts, flow)
    batch = LakeRows(flow.name, flow.measured, flow.instruments(city)).of_rejects(lost, parts, time.time_ns() // 1000)
    lake_state = rebuilt_snapshot(lake, flow.name, city, last, batch)
    recovery_store.open_recovery(folder)
    states = {name: zone_snapshot(replay.zone) for name, replay in zones.items()}
    cli_main(seeds(flow.name, source.state_at(position), states, lake_state), recovery_config=RecoveryConfig(folder))
    return Rebuilt(
        {part: offset for part, (offset, _) in position.items()},
        sum(replay.readings for replay in zones.values()),
        len(lost),
    )


def _newest_observed(con: Catalog, flow: Flow) -> dict[InputPartition, int]:
    """Largest time of each partition's readings and records, microseconds since 1970."""
    tables = [flow.measured.table, *(kind.table for kind in flow.recorded)]
    times = " UNION ALL ".join(f"SELECT topic, kpart, {TABLES[table].time} AS newest FROM {table}" for table in tables)
    rows = con.execute(f"SELECT topic, kpart, epoch_us(max(newest)) FROM ({times}) GROUP BY ALL").fetchall()
    return {InputPartition(topic, number): newest for topic, number, newest in rows}


class _Replay:
    """A zone filled with what the lake has of its last days, as far as its windows and analyses look back.

    Attributes:
        zone: as if it had never stopped.
        readings: readings and records that were put back.
    """

    def __init__(self, flow: Flow, city: City, name: str, con: Catalog, parts: list[InputPartition]) -> None:
        self._flow, self._city, self._name, self._con, self._parts = flow, city, name, con, parts
        self.zone: Zone = flow.zone(city, name)
        self._index = {instrument.id: i for i, instrument in enumerate(flow.instruments(city))}
        readings = self._replayed()
        self.readings = len(readings)
        self.zone.take(readings, parts)
        self.zone.adopt(self._fired(), self._revision())
        if flow.published is not None:
            flow.published.reset(self.zone, self._published())

    def _span(self) -> int:
        """Slots to replay: two horizons or longest windows, and what analyses ask for beyond."""
        lengths = (minutes(length) for length in self._flow.windows(self._city).lengths)
        history = max((analysis.history for analysis in self._flow.analyses(self._city)), default=0)
        return 2 * max(minutes(self._city.late.horizon), *lengths) + history

    def _replayed(self) -> Readings:
        """Readings and records of the span, in the order in which they were taken."""
        measured = self._flow.measured
        at = TABLES[measured.table].time
        newest = f"SELECT max({at}) FROM {measured.table} WHERE zone = $zone"
        table = self._con.execute(
            f"""SELECT {measured.id_field} AS instrument, epoch_us({at}) AS observed, {", ".join(measured.values)},
                {", ".join(f"flag_{name}" for name in measured.gridded)}, topic, kpart, koff
            FROM {measured.table} WHERE zone = $zone AND {at} > ({newest}) - INTERVAL {self._span()} MINUTE""",
            {"zone": self._name},
        ).to_arrow_table()
        known = np.array([name in self._index for name in table["instrument"].to_pylist()], bool)
        runs = [self._readings(table.filter(known))]
        for kind in self._flow.recorded:
            time_of = TABLES[kind.table].time
            since = f"({newest}) - INTERVAL {self._span()} MINUTE"
            rows = self._con.execute(f"FROM {kind.table} WHERE {time_of} > {since}", {"zone": self._name})
            runs.append(self._records(kind, rows.to_arrow_table()))
        everything = concatenate(runs)
        return everything.take(_order_taken(everything))

    def _readings(self, table: pa.Table) -> Readings:
        measured, n = self._flow.measured, table.num_rows
        return Readings(
            np.array([self._index[name] for name in table["instrument"].to_pylist()], np.int32),
            table["observed"].to_numpy().astype(np.int64),
            np.asfortranarray(_stacked(table, list(measured.values))),
            _status_of(_stacked(table, [f"flag_{name}" for name in measured.gridded])),
            *self._origin(table),
            InMemory([b""] * n),
        )

    def _records(self, kind: Recorded, table: pa.Table) -> Readings:
        rows = table.select(kind.contract.__struct_fields__).to_pylist()
        data = [msgspec.convert(row, kind.contract) for row in rows]
        part, offset = self._origin(table)
        return record_readings(self._flow.measured, [Record(kind, each) for each in data], part, offset)

    def _origin(self, table: pa.Table) -> tuple[I32, I64]:
        part = {partition: i for i, partition in enumerate(self._parts)}
        origin = zip(table["topic"].to_pylist(), table["kpart"].to_pylist(), strict=True)
        index = np.array([part[InputPartition(topic, number)] for topic, number in origin], np.int32)
        return index, table["koff"].to_numpy().astype(np.int64)

    def _fired(self) -> dict[int, int]:
        """Newest step that landed, by cadence in seconds."""
        every = {instrument.id: instrument.every for instrument in self._flow.instruments(self._city)}
        id_field = self._flow.measured.id_field
        newest: dict[int, int] = {}
        for table in self._tables():
            if {"zone", id_field, "ended_at"} <= {*TABLES[table].schema.names}:
                query = f"SELECT {id_field}, epoch_us(max(ended_at)) FROM {table} WHERE zone = ? GROUP BY ALL"
                for name, ended in self._con.execute(query, [self._name]).fetchall():
                    if name in every:
                        newest[every[name]] = max(newest.get(every[name], 0), ended // SLOT_US)
        return newest

    def _tables(self) -> list[str]:
        """Tables that the flow's analyses write."""
        return [table for analysis in self._flow.analyses(self._city) for table in analysis.tables]

    def _revision(self) -> int:
        """Highest revision of any table of the flow."""
        highest = [f"(SELECT max(revision) FROM {table}_history)" for table in self._tables() if TABLES[table].revised]
        return int(self._con.execute(f"SELECT greatest({', '.join(highest)}, 0)").fetchone()[0] or 0)

    def _published(self) -> list[LightState]:
        """The newest state of each light."""
        fields = ", ".join(LightState.__struct_fields__)
        newest = self._con.execute(
            f"SELECT {fields} FROM light_states QUALIFY row_number() OVER (PARTITION BY light_id ORDER BY seq DESC) = 1"
        ).fetchall()
        return [LightState(**dict(zip(LightState.__struct_fields__, row, strict=True))) for row in newest]


def _order_taken(readings: Readings) -> I64:
    """Order in which a source emitted readings: by the newest time that their partition had reached."""
    by_offset = np.lexsort((readings.offset, readings.part))
    part, observed = readings.part[by_offset], readings.observed[by_offset]
    reached = np.empty(len(readings), np.int64)
    for number in np.unique(part).tolist():
        mine = part == number
        reached[by_offset[mine]] = np.maximum.accumulate(observed[mine])
    return np.lexsort((readings.offset, readings.part, reached))


def _stacked(table: pa.Table, names: list[str]) -> F64:
    """Columns side by side, shape (n, columns); null is NaN."""
    if not table.num_rows:
        return np.empty((0, len(names)))
    return np.stack([table[name].to_numpy().astype(np.float64) for name in names], axis=1)


def _status_of(flags: F64) -> U8:
    """A status that gives each value the flag it had: 1 makes suspect, 9 makes fail."""
    return np.select([flags == 3, flags == 4], [1, 9], 0).astype(np.uint8)


def _lost(con: Catalog, parts: list[InputPartition], flow: Flow) -> list[Reject]:
    """Messages that were taken, but are in no table: they waited."""
    stored = [flow.measured.table, *(kind.table for kind in flow.recorded)]
    refused = "SELECT topic, kpart, koff FROM rejects WHERE flow = $flow"
    everywhere = " UNION ALL ".join([*(f"SELECT topic, kpart, koff FROM {table}" for table in stored), refused])
    rows = con.execute(
        f"""WITH mine AS (FROM ledger WHERE flow = $flow),
        taken AS (SELECT topic, kpart, unnest(range(first_offset, last_offset + 1)) AS koff FROM mine
                  WHERE (topic, kpart) IN (SELECT (topic, kpart) FROM mine WHERE waiting > 0))
        SELECT topic, kpart, koff FROM taken ANTI JOIN ({everywhere}) USING (topic, kpart, koff)
        ORDER BY ALL""",
        {"flow": flow.name},
    ).fetchall()
    part = {partition: i for i, partition in enumerate(parts)}
    return [Reject(part[InputPartition(topic, number)], koff, "future", LOST, b"") for topic, number, koff in rows]
