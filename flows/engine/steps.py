"""The steps of a dataflow: zones in the hands of Bytewax, and what they decide on its way to the sinks."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from bytewax import operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream, StatefulBatchLogic
from msgspec import Struct

from flows.arrays import I32
from flows.decode.batch import NO_INSTRUMENT, InputPartition, Readings, SideBatch, SourceBatch
from flows.engine.flow import Flow
from flows.outputs.events import Events, Outgoing, dead_letters
from flows.outputs.lake_rows import DeferredRows, LakeRows
from flows.zone.result import ZoneResult
from flows.zone.zone import Zone
from schemas.city import City
from schemas.light import LightState
from schemas.slots import NEVER
from schemas.snapshots import check_version

IDLE_CHECK = timedelta(seconds=20)
"""How often a live zone looks whether air still comes."""


@dataclass(slots=True)
class ZoneBatch:
    """Readings of one zone, with what came along."""

    zone: str
    readings: Readings
    parts: Sequence[InputPartition]
    received: int
    end_of_input: bool


@dataclass(slots=True)
class ZoneSideBatch:
    """Messages of the side input, for one zone."""

    zone: str
    records: Sequence[Struct]


class Clocks(NamedTuple):
    """Where clocks stand, in seconds.

    Attributes:
        wall_s: since 1970 UTC; may be set, back as well as forward.
        monotonic_s: of a clock that is never set.
    """

    wall_s: float
    monotonic_s: float


def read_clocks() -> Clocks:
    """Read this machine's clocks."""
    return Clocks(time.time(), time.monotonic())


@dataclass(frozen=True, slots=True)
class ZoneContext:
    """What a zone knows beside its readings.

    Attributes:
        flow: whose zone it is.
        city: the city file.
        live: the input has no end, so that its silence says something.
        published: what the flow's compacted topic holds.
        side: what the side input held at the start, so that no air is judged without it.
        clocks: where the wall clock and a monotonic one stand, in seconds.
    """

    flow: Flow
    city: City
    live: bool = False
    published: Sequence[Struct] = ()
    side: Sequence[Struct] = ()
    clocks: Callable[[], Clocks] = read_clocks


@dataclass(slots=True)
class ZoneDecision:
    """What a zone decided.

    Attributes:
        zone: its id.
        stations: the flow's index of each of its instruments.
        result: what became of the readings.
        received: when the newest reading reached the pipeline, microseconds since 1970 UTC.
    """

    zone: str
    stations: I32
    result: ZoneResult
    received: int


def by_zone(
    step_id: str, batches: Stream[SourceBatch], flow: Flow, city: City, *, live: bool = False
) -> KeyedStream[ZoneBatch]:
    """Part readings by the zone of their instrument; records go to every zone.

    Of a live input empty batches go on as well, because they come by a monotonic clock: the engine wakes steps by the
    wall clock, which may be set back.
    """
    instruments = flow.instruments(city)
    zones = flow.zones(city)
    zone_of = np.array([zones.index(instrument.zone) for instrument in instruments], np.int32)

    def part(batch: SourceBatch) -> Iterable[tuple[str, ZoneBatch]]:
        station = batch.readings.station
        here = zone_of[station] if batch.readings.records is None else np.where(station >= 0, zone_of[station], -1)
        for i, zone in enumerate(zones):
            mine = (here == i) | (station == NO_INSTRUMENT) if batch.readings.records is not None else here == i
            readings = batch.readings if mine.all() else batch.readings.take(mine)
            if len(readings) or batch.end_of_input or (live and not len(batch.readings)):
                yield zone, ZoneBatch(zone, readings, batch.parts, batch.received, batch.end_of_input)

    return op.flat_map(step_id, batches, part)


def to_every_zone(step_id: str, side: Stream[SideBatch[Any]], flow: Flow, city: City) -> KeyedStream[ZoneSideBatch]:
    """Give messages of the side input to each zone, which knows its own lights."""
    zones = flow.zones(city)
    return op.flat_map(step_id, side, lambda batch: [(zone, ZoneSideBatch(zone, batch.records)) for zone in zones])


def judge(
    step_id: str, zones: KeyedStream[ZoneBatch | ZoneSideBatch], context: ZoneContext
) -> KeyedStream[ZoneDecision]:
    """Keep the state of each zone, and say what comes of its readings."""
    return op.stateful_batch(step_id, zones, lambda kept: ZoneLogic(context, kept))


def messages(step_id: str, decisions: KeyedStream[ZoneDecision], events: Events, *, rejects: bool) -> Stream[Outgoing]:
    """Make the messages of what was decided; with ``rejects``, dead letters of what was refused too."""

    def make(item: tuple[str, ZoneDecision]) -> list[Outgoing]:
        decision = item[1]
        out = events.of_zone(decision.stations.tolist(), decision.result)
        return [*out, *dead_letters(decision.result.rejects, decision.result.parts)] if rejects else out

    return op.flat_map(step_id, decisions, make)


def source_rows(step_id: str, batches: Stream[SourceBatch], rows: LakeRows) -> Stream[DeferredRows]:
    """Defer the rows of what was refused before it reached a zone, and the accounting of offsets."""

    def make(batch: SourceBatch) -> DeferredRows:
        return DeferredRows(partial(rows.of_source, batch), len(batch.rejects), idle=not batch.offsets)

    return op.map(step_id, batches, make)


def zone_rows(step_id: str, decisions: KeyedStream[ZoneDecision], rows: LakeRows) -> Stream[DeferredRows]:
    """Defer the rows of what was decided."""

    def make(item: tuple[str, ZoneDecision]) -> DeferredRows:
        decision = item[1]
        result = decision.result
        size = sum(len(accepted.readings) for accepted in result.accepted) + len(result.rejects)
        size += sum(of_table.size for of_table in result.results.rows)
        return DeferredRows(partial(rows.of_zone, decision.zone, decision.stations, result, decision.received), size)

    return op.map(step_id, decisions, make)


class ZoneLogic(StatefulBatchLogic[ZoneBatch | ZoneSideBatch, ZoneDecision, dict[str, Any]]):
    """One zone's state in the engine's hands.

    Args:
        context: what it knows beside its readings.
        kept: its snapshot; none at the start.
    """

    def __init__(self, context: ZoneContext, kept: dict[str, Any] | None) -> None:
        self._context, self._kept = context, kept
        self._published = context.published
        self._fired = NEVER
        self._fired_s = self._checked_s = context.clocks().monotonic_s
        self._wakes = _soon()
        self._zone: Zone | None = None

    def on_batch(self, values: list[ZoneBatch | ZoneSideBatch]) -> tuple[list[ZoneDecision], bool]:
        """Take readings and messages of the side input, in their order."""
        decisions = []
        for batch in values:
            zone = self._open(batch.zone)
            if isinstance(batch, ZoneSideBatch):
                if self._context.flow.side_input is not None:
                    self._context.flow.side_input.apply(zone, batch.records)
                continue
            if not len(batch.readings) and not batch.end_of_input:
                continue
            published = self._load_published(zone)
            result = zone.take(batch.readings, batch.parts, end_of_input=batch.end_of_input)
            result.signals.states[:0] = published
            decisions.append(ZoneDecision(zone.id, zone.stations, result, batch.received))
        return decisions + self._check(), StatefulBatchLogic.RETAIN

    def on_notify(self) -> tuple[list[ZoneDecision], bool]:
        """Look whether lights have to be told something although no slot fires."""
        self._wakes = _soon()
        return self._check(), StatefulBatchLogic.RETAIN

    def _check(self) -> list[ZoneDecision]:
        """Gray lights for which no slot has fired too long, and end texts: now and then, by a monotonic clock."""
        if self._zone is None or not self._context.live:
            return []
        wall_s, monotonic_s = self._context.clocks()
        if (fired := int(self._zone.signals.fired.max(initial=NEVER))) != self._fired:
            self._fired, self._fired_s = fired, monotonic_s
        if monotonic_s - self._checked_s < IDLE_CHECK.total_seconds():
            return []
        self._checked_s = monotonic_s
        ended = self._zone.signals.end_texts(wall_s, monotonic_s)
        minutes = int((monotonic_s - self._fired_s) // 60)
        if minutes < 1 and not ended:
            return []
        published = self._load_published(self._zone)
        result = self._zone.on_idle(minutes)
        result.signals.states[:0] = published
        if not result.signals.states:
            return []
        return [ZoneDecision(self._zone.id, self._zone.stations, result, int(wall_s * 1_000_000))]

    def notify_at(self) -> datetime | None:
        """Wake up now and then where the input is live: a bounded one knows the air's clock alone."""
        return self._wakes if self._context.live else None

    def on_eof(self) -> tuple[list[ZoneDecision], bool]:
        """Close nothing: only a bounded input's last item does."""
        return [], StatefulBatchLogic.RETAIN

    def snapshot(self) -> dict[str, Any]:
        """Plain data, with a version."""
        return zone_snapshot(self._zone) if self._zone else (self._kept or {})

    def _open(self, name: str) -> Zone:
        if self._zone is None:
            context, flow = self._context, self._context.flow
            self._zone = flow.zone(context.city, name)
            if self._kept:
                check_version(self._kept, f"zone {name}")
                self._zone.restore(self._kept["state"])
            if flow.side_input is not None and context.side:
                flow.side_input.apply(self._zone, context.side)
        return self._zone

    def _load_published(self, zone: Zone) -> Sequence[LightState]:
        """Give a zone what was published, once; return what of it the lake lacks.

        It goes out with the decision at hand: a snapshot between the two would know what no lake has.
        """
        messages, self._published = self._published, ()
        published = self._context.flow.published
        return published.load(zone, messages).states if published is not None and messages else ()


def _soon() -> datetime:
    return datetime.now(UTC) + IDLE_CHECK


def zone_snapshot(zone: Zone) -> dict[str, Any]:
    """Make what the recovery store keeps of a zone."""
    return {"v": 1, "zone": zone.id, "state": zone.snapshot()}
