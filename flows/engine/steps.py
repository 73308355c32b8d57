"""Grid and kernels as Bytewax steps: the only place that knows both."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
from bytewax import operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream, StatefulBatchLogic
from numpy.typing import NDArray

from flows.decode.batch import InputPartition, Readings, SideBatch, SourceBatch
from flows.outputs.events import Events, Outgoing, letters
from flows.outputs.lake_rows import DeferredRows, Rows
from flows.zone.result import ZoneResult
from flows.zone.zone import Zone
from schemas.city import City
from schemas.light import LightMessage, LightState

LOOKED_EVERY = timedelta(seconds=20)
"""How often a live zone looks whether air still comes."""


@dataclass(slots=True)
class ZoneBatch:
    """Readings of one zone, with what came along."""

    zone: str
    readings: Readings
    parts: Sequence[InputPartition]
    received: int
    backlog: bool
    end_of_input: bool


@dataclass(slots=True)
class ZoneWords:
    """What people say, for one zone."""

    zone: str
    words: Sequence[LightMessage]


@dataclass(frozen=True, slots=True)
class Known:
    """What a zone is to know beside its readings.

    Attributes:
        live: the input has no end, so that its silence says something.
        told: what lights were told, by the topic.
        said: what people had lights say before the start, so that no air is judged without it.
    """

    live: bool = False
    told: Sequence[LightState] = ()
    said: Sequence[LightMessage] = ()


@dataclass(slots=True)
class Judged:
    """What a zone decided.

    Attributes:
        zone: its id.
        stations: the city's index of each of its stations.
        outcome: what it said.
        parts: the input partitions.
        received: when the newest reading reached the pipeline, microseconds since 1970 UTC.
    """

    zone: str
    stations: NDArray[np.int32]
    outcome: ZoneResult
    parts: Sequence[InputPartition]
    received: int


def by_zone(step_id: str, arrivals: Stream[SourceBatch], city: City) -> KeyedStream[ZoneBatch]:
    """Part readings by the zone of their station."""
    zones = sorted({station.zone for station in city.stations})
    zone_of = np.array([zones.index(station.zone) for station in city.stations], np.int32)

    def part(item: SourceBatch) -> Iterable[tuple[str, ZoneBatch]]:
        here = zone_of[item.readings.station]
        for i, zone in enumerate(zones):
            mine = here == i
            readings = item.readings if mine.all() else item.readings.take(mine)
            if len(readings) or item.end_of_input or not item.backlog:
                yield zone, ZoneBatch(zone, readings, item.parts, item.received, item.backlog, item.end_of_input)

    return op.flat_map(step_id, arrivals, part)


def to_every_zone(step_id: str, words: Stream[SideBatch[LightMessage]], city: City) -> KeyedStream[ZoneWords]:
    """Give what people say to each zone, which knows its own lights."""
    zones = sorted({station.zone for station in city.stations})
    return op.flat_map(step_id, words, lambda item: [(zone, ZoneWords(zone, item.records)) for zone in zones])


def judge(step_id: str, zones: KeyedStream[ZoneBatch | ZoneWords], city: City, known: Known) -> KeyedStream[Judged]:
    """Keep the grid of each zone, and say what comes of its readings."""

    def build(kept: dict[str, Any] | None) -> _ZoneLogic:
        return _ZoneLogic(city, known, kept)

    return op.stateful_batch(step_id, zones, build)


def messages(step_id: str, judged: KeyedStream[Judged], events: Events, *, dead_letters: bool) -> Stream[Outgoing]:
    """Make the messages of what was decided; with ``dead_letters``, of what was refused too."""

    def make(item: tuple[str, Judged]) -> list[Outgoing]:
        one = item[1]
        out = events.told(one.outcome.said)
        if one.outcome.evaluated.means:
            out.insert(0, events.rolling(one.outcome.evaluated.means, one.stations))
        return [*out, *letters(one.outcome.rejects, one.parts)] if dead_letters else out

    return op.flat_map(step_id, judged, make)


def receipts(step_id: str, arrivals: Stream[SourceBatch], rows: Rows) -> Stream[DeferredRows]:
    """DeferredRows the rows of what was refused before it reached a zone, and the receipts."""

    def make(item: SourceBatch) -> DeferredRows:
        return DeferredRows(partial(rows.arrived, item), len(item.rejects), idle=not item.offsets)

    return op.map(step_id, arrivals, make)


def landings(step_id: str, judged: KeyedStream[Judged], rows: Rows) -> Stream[DeferredRows]:
    """DeferredRows the rows of what was decided."""

    def make(item: tuple[str, Judged]) -> DeferredRows:
        one = item[1]
        size = sum(len(stored.readings) for stored in one.outcome.stored) + len(one.outcome.rejects)
        size += sum(means.there.size for means in one.outcome.evaluated.means)
        return DeferredRows(partial(rows.outcome, one.zone, one.stations, one.outcome, one.parts, one.received), size)

    return op.map(step_id, judged, make)


class _ZoneLogic(StatefulBatchLogic[ZoneBatch | ZoneWords, Judged, dict[str, Any]]):
    """One zone's state in the engine's hands."""

    def __init__(self, city: City, known: Known, kept: dict[str, Any] | None) -> None:
        self._city, self._known, self._kept = city, known, kept
        self._recalled: list[LightState] = []
        self._air_came = time.monotonic()
        self._wakes = _soon()
        self._parts: Sequence[InputPartition] = ()
        self._zone: Zone | None = None

    def on_batch(self, values: list[ZoneBatch | ZoneWords]) -> tuple[list[Judged], bool]:
        out = []
        for item in values:
            zone = self._open(item.zone)
            if isinstance(item, ZoneWords):
                zone.watch.say(item.words)
                continue
            outcome = zone.take(item.readings, more=item.backlog, last=item.end_of_input)
            if self._recalled:
                outcome.said.states[:0], self._recalled = self._recalled, []
            self._parts = item.parts
            out.append(Judged(zone.id, zone.stations, outcome, item.parts, item.received))
            if len(item.readings):
                self._air_came = time.monotonic()
        return out, StatefulBatchLogic.RETAIN

    def on_notify(self) -> tuple[list[Judged], bool]:
        """Look whether lights have to be grayed, because no air comes."""
        self._wakes = _soon()
        minutes = int((time.monotonic() - self._air_came) // 60)
        if self._zone is None or minutes < 1:
            return [], StatefulBatchLogic.RETAIN
        outcome = self._zone.quiet(minutes)
        if not outcome.said.states:
            return [], StatefulBatchLogic.RETAIN
        now = time.time_ns() // 1000
        return [Judged(self._zone.id, self._zone.stations, outcome, self._parts, now)], StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        """Known, wake up now and then: a bounded input knows the air's clock alone."""
        return self._wakes if self._known.live else None

    def on_eof(self) -> tuple[list[Judged], bool]:
        """Close nothing: only a bounded input's last item does."""
        return [], StatefulBatchLogic.RETAIN

    def snapshot(self) -> dict[str, Any]:
        return kept_state(self._zone.id, self._zone.snapshot()) if self._zone else (self._kept or {})

    def _open(self, name: str) -> Zone:
        if self._zone is None:
            self._zone = Zone(self._city, name)
            if self._kept:
                self._zone.restore(self._kept["state"])
            self._zone.watch.say(self._known.said)
            self._recalled = self._zone.watch.told.recall(self._known.told)
        return self._zone


def _soon() -> datetime:
    return datetime.now(UTC) + LOOKED_EVERY


def kept_state(zone: str, state: dict[str, Any]) -> dict[str, Any]:
    """Make what the recovery store keeps of a zone."""
    return {"v": 1, "zone": zone, "state": state}
