"""A way back: a recovery store made from the lake, where the flow's own was lost or is too old.

The ledger says what was taken of each input; the readings of the last two horizons fill the grid again. Nothing in
the lake is changed, but that readings which waited for the clock are entered as refused: only the lost store had them.
"""

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main
from deltalake import DeltaTable

from flows.air import FLOW
from flows.analyses.indices import HOUR
from flows.decode.batch import InMemory, InputPartition, Readings
from flows.engine.steps import kept_state
from flows.kernels.nowcast_o3 import LOOKBACK
from flows.outputs.lake_rows import DeferredRows, LakeBatch, Rows
from flows.sources.files.source import FileSource
from flows.sources.kafka.source import KafkaSource
from flows.zone.zone import Zone
from schemas.city import City
from schemas.durations import minutes, seconds
from schemas.errors import ConfigurationError
from schemas.light import LightState
from schemas.measured import AIR
from schemas.rejected import Reject
from schemas.tables import TABLES
from sinks import recovery_store as store
from sinks.catalog import catalog
from sinks.lake.sink import LakeSink
from sinks.lake.tables import create_tables

SLOT_US = 60_000_000
LOST = "it waited for the clock when the recovery store was lost; send it again from the input"


def rebuild(city: City, source: FileSource | KafkaSource, lake: Path, recovery: Path) -> dict[str, Any]:
    """Make the recovery store of the air flow anew.

    Args:
        city: the city file.
        source: the input that the flow reads; it must still be what it was.
        lake: the lake.
        recovery: folder of the store; the flow's part of it must not exist.

    Returns:
        What was rebuilt: partitions with their next offset, readings replayed, and messages given up.

    Raises:
        ConfigurationError: there is a store, or lake and input do not fit together.
    """
    folder = recovery / FLOW
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
    parts = [InputPartition(topic, kpart) for topic, kpart, _ in offsets]
    high = dict(
        con.execute(
            "SELECT (topic, kpart)::VARCHAR, epoch_us(max(observed_at)) FROM air_readings GROUP BY ALL"
        ).fetchall()
    )
    at = {
        InputPartition(topic, kpart): (last + 1, high.get(f"({topic}, {kpart})", 0)) for topic, kpart, last in offsets
    }
    zones = {}
    replayed = 0
    for zone in sorted({station.zone for station in city.stations}):
        zones[zone], count = _zone(con, city, zone, parts)
        replayed += count
    lost = _lost(con, parts)
    lake_state = _lake_state(city, lake, {part: next_ - 1 for part, (next_, _) in at.items()}, lost, parts)
    store.open_recovery(folder)
    seeds = _Seeds(source.state_at(at), {name: zone.snapshot() for name, zone in zones.items()}, lake_state)
    cli_main(seeds.flow(), recovery_config=RecoveryConfig(folder))
    return {
        "partitions": [
            {"topic": part.topic, "kpart": part.number, "next_offset": next_} for part, (next_, _) in at.items()
        ],
        "replayed": replayed,
        "given_up": len(lost),
    }


def _zone(con: Any, city: City, name: str, parts: list[InputPartition]) -> tuple[Zone, int]:
    """Fill a zone's grid with what the lake has of its last two horizons, and of the hours behind ozone's NowCast."""
    zone = Zone(city, name)
    ids = {station.id: i for i, station in enumerate(city.stations)}
    span = 2 * max(minutes(city.late.horizon), *(minutes(length) for length in city.windows.lengths))
    if any(group.ozone for group in zone.groups):
        span += (LOOKBACK + 1) * HOUR  # of the oldest hour of all only a part is replayed
    table = con.execute(
        f"""SELECT station_id, epoch_us(observed_at) AS observed, {", ".join(AIR.values)},
            {", ".join(f"flag_{p}" for p in AIR.gridded)}, topic, kpart, koff
        FROM air_readings WHERE zone = $zone AND observed_at >
            (SELECT max(observed_at) FROM air_readings WHERE zone = $zone) - INTERVAL {span} MINUTE
        ORDER BY max(observed_at) OVER (PARTITION BY topic, kpart ORDER BY koff), kpart, koff""",
        {"zone": name},
    ).to_arrow_table()
    where = {part: i for i, part in enumerate(parts)}
    known = np.array([station in ids for station in table["station_id"].to_pylist()], bool)
    table = table.filter(known)
    n = table.num_rows
    values = (
        np.asfortranarray(np.stack([table[v].to_numpy() for v in AIR.values], axis=1))
        if n
        else np.empty((0, len(AIR.values)), order="F")
    )
    flags = (
        np.stack([table[f"flag_{p}"].to_numpy() for p in AIR.gridded], axis=1) if n else np.empty((0, len(AIR.gridded)))
    )
    readings = Readings(
        np.array([ids[station] for station in table["station_id"].to_pylist()], np.int32),
        table["observed"].to_numpy().astype(np.int64),
        values,
        _status_of(flags),
        np.array(
            [
                where[InputPartition(t, k)]
                for t, k in zip(table["topic"].to_pylist(), table["kpart"].to_pylist(), strict=True)
            ],
            np.int32,
        ),
        table["koff"].to_numpy().astype(np.int64),
        InMemory([b""] * n),
    )
    zone.take(readings, last=False)
    every = {station.id: seconds(station.every) for station in city.stations}
    newest: dict[int, int] = {}
    for station, ended in con.execute(
        "SELECT station_id, epoch_us(max(ended_at)) FROM rolling WHERE zone = ? GROUP BY ALL", [name]
    ).fetchall():
        if station in every:
            newest[every[station]] = max(newest.get(every[station], 0), ended // SLOT_US)
    revision = con.execute(
        "SELECT greatest((SELECT max(revision) FROM rolling_history), (SELECT max(revision) FROM flags_history), "
        "(SELECT max(revision) FROM cai_history), (SELECT max(revision) FROM aqi_history))"
    ).fetchone()[0]
    zone.adopt(newest, int(revision or 0))
    zone.watch.told.begin_with(_told(con))
    return zone, n


def _told(con: Any) -> list[LightState]:
    """The newest state of each light."""
    fields = ", ".join(LightState.__struct_fields__)
    newest = con.execute(
        f"SELECT {fields} FROM light_states QUALIFY row_number() OVER (PARTITION BY light_id ORDER BY seq DESC) = 1"
    ).fetchall()
    return [LightState(**dict(zip(LightState.__struct_fields__, row, strict=True))) for row in newest]


def _status_of(flags: Any) -> Any:
    """A status that gives each value the flag it had: 1 makes suspect, 9 makes fail."""
    return np.select([flags == 3, flags == 4], [1, 9], 0).astype(np.uint8)


def _lost(con: Any, parts: list[InputPartition]) -> list[Reject]:
    """Messages that were taken, but are in no table: they waited."""
    found = con.execute(
        """WITH taken AS (SELECT topic, kpart, unnest(range(first_offset, last_offset + 1)) AS koff FROM ledger
                          WHERE (topic, kpart) IN (SELECT (topic, kpart) FROM ledger WHERE waiting > 0))
        SELECT topic, kpart, koff FROM taken
        ANTI JOIN (SELECT topic, kpart, koff FROM air_readings UNION ALL SELECT topic, kpart, koff FROM rejects)
            USING (topic, kpart, koff)
        ORDER BY ALL"""
    ).fetchall()
    where = {part: i for i, part in enumerate(parts)}
    return [Reject(where[InputPartition(topic, kpart)], koff, "future", LOST, b"") for topic, kpart, koff in found]


def _lake_state(
    city: City, lake: Path, last: dict[InputPartition, int], lost: list[Reject], parts: list[InputPartition]
) -> dict[str, Any]:
    """What the lake's step would have kept, had it been asked last."""
    versions = {table: DeltaTable(str(lake / table)).transaction_version(FLOW) for table in TABLES}
    tables = {table: version for table, version in versions.items() if version is not None}
    waiting = Counter(parts[reject.part] for reject in lost)
    state: dict[str, Any] = {
        "v": 1,
        "lake": create_tables(lake),
        "p": max(tables.values(), default=-1),
        "tables": tables,
        "pending": [],
        "books": {
            "last": [(tuple(part), offset) for part, offset in last.items()],
            "waiting": [("lost", [(tuple(part), count) for part, count in waiting.items()])] if lost else [],
        },
    }
    if lost:
        part = LakeSink(lake, FLOW, city).build_part("lake", "lake", state)
        landing = Rows(city).refused(lost, parts, time.time_ns() // 1000)
        landing.waiting = ("lost", Counter())
        part.write_batch([DeferredRows(lambda: landing)])
        state = part.snapshot()
        part.commit_all()
    return state


class _Seeds:
    """A dataflow of the same steps that does nothing but leave their states in the store."""

    def __init__(self, source: Any, zones: dict[str, Any], lake: Any) -> None:
        self._source, self._zones, self._lake = source, zones, lake

    def flow(self) -> Dataflow:
        flow = Dataflow(FLOW)
        arrivals = op.input("input", flow, _SeedSource(self._source))
        zones = op.flat_map("zones", arrivals, lambda _: [(name, name) for name in self._zones])
        op.inspect("done", op.stateful_batch("grid", zones, lambda _: _SeedZone(self._zones)), lambda *_: None)
        op.output("lake", op.map("lake_rows", arrivals, lambda item: ("lake", item)), _SeedSink(self._lake))
        return flow


class _SeedSource(FixedPartitionedSource[tuple[str, None], Any]):
    def __init__(self, state: Any) -> None:
        self._state = state

    def list_parts(self) -> list[str]:
        return ["input"]

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> "_SeedInput":
        return _SeedInput(self._state)


class _SeedInput(StatefulSourcePartition[tuple[str, None], Any]):
    def __init__(self, state: Any) -> None:
        self._state, self._given = state, False

    def next_batch(self) -> Iterable[tuple[str, None]]:
        if self._given:
            raise StopIteration
        self._given = True
        return [("input", None)]

    def snapshot(self) -> Any:
        return self._state


class _SeedZone(StatefulBatchLogic[str, str, Any]):
    def __init__(self, states: dict[str, Any]) -> None:
        self._states, self._name = states, ""

    def on_batch(self, values: list[str]) -> tuple[Iterable[str], bool]:
        self._name = values[0]
        return [], StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[Iterable[str], bool]:
        return [], StatefulBatchLogic.RETAIN

    def snapshot(self) -> Any:
        return kept_state(self._name, self._states[self._name])


class _SeedSink(FixedPartitionedSink[LakeBatch, Any]):
    def __init__(self, state: Any) -> None:
        self._state = state

    def list_parts(self) -> list[str]:
        return ["lake"]

    def part_fn(self, item_key: str) -> int:
        return 0

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> "_SeedLake":
        return _SeedLake(self._state)


class _SeedLake(StatefulSinkPartition[Any, Any]):
    def __init__(self, state: Any) -> None:
        self._state = state

    def write_batch(self, values: list[Any]) -> None:
        """Nothing to write."""

    def snapshot(self) -> Any:
        return self._state
