"""A way back: a recovery store made from the lake, where the flow's own was lost or is too old.

The ledger says what was taken of each input; the readings of the last two horizons fill the zones again. Nothing in
the lake is changed, but that readings which waited for the watermark are entered as refused: only the lost store had
them.
"""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main

from flows.arrays import F64, U8
from flows.decode.batch import InMemory, InputPartition, Readings
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
from schemas.measured import Measured
from schemas.rejected import Reject
from schemas.slots import SLOT_US
from schemas.tables import TABLES
from sinks import recovery_store
from sinks.catalog import catalog
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
        "SELECT topic, kpart, max(last_offset) FROM ledger GROUP BY ALL ORDER BY kpart, topic"
    ).fetchall()
    if not offsets:
        raise ConfigurationError(
            f"the ledger of {lake} is empty: nothing to rebuild from; start the flow with a new store"
        )
    last = {InputPartition(topic, number): offset for topic, number, offset in offsets}
    parts = list(last)
    newest = _newest_observed(con, flow.measured)
    position = {part: (offset + 1, newest.get(part, 0)) for part, offset in last.items()}
    zones = {name: _Replay(flow, city, name, con, parts) for name in flow.zones(city)}
    lost = _lost(con, parts, flow)
    batch = LakeRows(flow.measured, flow.instruments(city)).of_rejects(lost, parts, time.time_ns() // 1000)
    lake_state = rebuilt_snapshot(lake, flow.name, city, last, batch)
    recovery_store.open_recovery(folder)
    states = {name: zone_snapshot(replay.zone) for name, replay in zones.items()}
    cli_main(seeds(flow.name, source.state_at(position), states, lake_state), recovery_config=RecoveryConfig(folder))
    return Rebuilt(
        {part: offset for part, (offset, _) in position.items()},
        sum(replay.readings for replay in zones.values()),
        len(lost),
    )


def _newest_observed(con: Any, measured: Measured) -> dict[InputPartition, int]:
    """Largest time of each partition's readings, microseconds since 1970."""
    rows = con.execute(
        f"SELECT topic, kpart, epoch_us(max({TABLES[measured.table].time})) FROM {measured.table} GROUP BY ALL"
    ).fetchall()
    return {InputPartition(topic, number): newest for topic, number, newest in rows}


class _Replay:
    """A zone filled with what the lake has of its last days, as far as its windows and analyses look back.

    Attributes:
        zone: as if it had never stopped.
        readings: that were put back.
    """

    def __init__(self, flow: Flow, city: City, name: str, con: Any, parts: list[InputPartition]) -> None:
        self._flow, self._city, self._name, self._con, self._parts = flow, city, name, con, parts
        self.zone: Zone = flow.zone(city, name)
        self._index = {instrument.id: i for i, instrument in enumerate(flow.instruments(city))}
        readings = self._stored()
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

    def _stored(self) -> Readings:
        """Readings of the span, in the order in which they were taken."""
        measured = self._flow.measured
        at = TABLES[measured.table].time
        table = self._con.execute(
            f"""SELECT {measured.id_field} AS instrument, epoch_us({at}) AS observed, {", ".join(measured.values)},
                {", ".join(f"flag_{name}" for name in measured.gridded)}, topic, kpart, koff
            FROM {measured.table} WHERE zone = $zone AND {at} >
                (SELECT max({at}) FROM {measured.table} WHERE zone = $zone) - INTERVAL {self._span()} MINUTE
            ORDER BY max({at}) OVER (PARTITION BY topic, kpart ORDER BY koff), kpart, koff""",
            {"zone": self._name},
        ).to_arrow_table()
        known = np.array([name in self._index for name in table["instrument"].to_pylist()], bool)
        return self._readings(table.filter(known))

    def _readings(self, table: pa.Table) -> Readings:
        measured, n = self._flow.measured, table.num_rows
        part = {partition: i for i, partition in enumerate(self._parts)}
        origin = zip(table["topic"].to_pylist(), table["kpart"].to_pylist(), strict=True)
        return Readings(
            np.array([self._index[name] for name in table["instrument"].to_pylist()], np.int32),
            table["observed"].to_numpy().astype(np.int64),
            np.asfortranarray(_stacked(table, list(measured.values))),
            _status_of(_stacked(table, [f"flag_{name}" for name in measured.gridded])),
            np.array([part[InputPartition(topic, number)] for topic, number in origin], np.int32),
            table["koff"].to_numpy().astype(np.int64),
            InMemory([b""] * n),
        )

    def _fired(self) -> dict[int, int]:
        """Newest step that landed, by cadence in seconds."""
        every = {instrument.id: instrument.every for instrument in self._flow.instruments(self._city)}
        newest: dict[int, int] = {}
        for name, ended in self._con.execute(
            "SELECT station_id, epoch_us(max(ended_at)) FROM rolling WHERE zone = ? GROUP BY ALL", [self._name]
        ).fetchall():
            if name in every:
                newest[every[name]] = max(newest.get(every[name], 0), ended // SLOT_US)
        return newest

    def _revision(self) -> int:
        """Highest revision of any table of the flow."""
        tables = [table for analysis in self._flow.analyses(self._city) for table in analysis.tables]
        highest = [f"(SELECT max(revision) FROM {table}_history)" for table in tables if TABLES[table].revised]
        return int(self._con.execute(f"SELECT greatest({', '.join(highest)}, 0)").fetchone()[0] or 0)

    def _published(self) -> list[LightState]:
        """The newest state of each light."""
        fields = ", ".join(LightState.__struct_fields__)
        newest = self._con.execute(
            f"SELECT {fields} FROM light_states QUALIFY row_number() OVER (PARTITION BY light_id ORDER BY seq DESC) = 1"
        ).fetchall()
        return [LightState(**dict(zip(LightState.__struct_fields__, row, strict=True))) for row in newest]


def _stacked(table: pa.Table, names: list[str]) -> F64:
    """Columns side by side, shape (n, columns); null is NaN."""
    if not table.num_rows:
        return np.empty((0, len(names)))
    return np.stack([table[name].to_numpy().astype(np.float64) for name in names], axis=1)


def _status_of(flags: F64) -> U8:
    """A status that gives each value the flag it had: 1 makes suspect, 9 makes fail."""
    return np.select([flags == 3, flags == 4], [1, 9], 0).astype(np.uint8)


def _lost(con: Any, parts: list[InputPartition], flow: Flow) -> list[Reject]:
    """Messages that were taken, but are in no table: they waited."""
    stored = [flow.measured.table, *(kind.table for kind in flow.recorded), "rejects"]
    everywhere = " UNION ALL ".join(f"SELECT topic, kpart, koff FROM {table}" for table in stored)
    rows = con.execute(
        f"""WITH taken AS (SELECT topic, kpart, unnest(range(first_offset, last_offset + 1)) AS koff FROM ledger
                          WHERE (topic, kpart) IN (SELECT (topic, kpart) FROM ledger WHERE waiting > 0))
        SELECT topic, kpart, koff FROM taken ANTI JOIN ({everywhere}) USING (topic, kpart, koff)
        ORDER BY ALL"""
    ).fetchall()
    part = {partition: i for i, partition in enumerate(parts)}
    return [Reject(part[InputPartition(topic, number)], koff, "future", LOST, b"") for topic, number, koff in rows]
