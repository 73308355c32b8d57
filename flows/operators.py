"""Grid and kernels as Bytewax steps: the only place that knows both."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bytewax import operators as op
from bytewax.dataflow import Stream
from bytewax.operators import KeyedStream, StatefulBatchLogic

from flows.arrivals import Arrivals, Partition, Readings
from flows.messages import Events, Outgoing, letters
from flows.rows import Landing, Rows
from flows.zone import Zone
from schemas.city import City


@dataclass(slots=True)
class ZoneArrivals:
    """Readings of one zone, with what came along."""

    readings: Readings
    parts: Sequence[Partition]
    received: int
    more: bool
    last: bool


def by_zone(step_id: str, arrivals: Stream[Arrivals], city: City) -> KeyedStream[ZoneArrivals]:
    """Part readings by the zone of their station."""
    zones = sorted({station.zone for station in city.stations})
    zone_of = np.array([zones.index(station.zone) for station in city.stations], np.int32)

    def part(item: Arrivals) -> Iterable[tuple[str, ZoneArrivals]]:
        here = zone_of[item.readings.station]
        for i, zone in enumerate(zones):
            mine = here == i
            readings = item.readings if mine.all() else item.readings.take(mine)
            if len(readings) or item.last or not item.more:
                yield zone, ZoneArrivals(readings, item.parts, item.received, item.more, item.last)

    return op.flat_map(step_id, arrivals, part)


def judge(
    step_id: str, zones: KeyedStream[ZoneArrivals], city: City, events: Events | None, *, dead_letters: bool
) -> KeyedStream[Landing | Outgoing]:
    """Keep the grid of each zone; emit rows for the lake, with ``events`` messages, and dead letters if wanted."""
    rows = Rows(city)

    def build(kept: dict[str, Any] | None) -> _ZoneLogic:
        return _ZoneLogic(city, rows, events, kept, dead_letters=dead_letters)

    keyed = op.map(f"{step_id}_key", zones, lambda item: (item[0], (item[0], item[1])))
    return op.stateful_batch(step_id, keyed, build)


class _ZoneLogic(StatefulBatchLogic[tuple[str, ZoneArrivals], "Landing | Outgoing", dict[str, Any]]):
    """One zone's state in the engine's hands."""

    def __init__(
        self, city: City, rows: Rows, events: Events | None, kept: dict[str, Any] | None, *, dead_letters: bool
    ) -> None:
        self._city, self._rows, self._events, self._kept = city, rows, events, kept
        self._dead_letters = dead_letters
        self._zone: Zone | None = None

    def on_batch(self, values: list[tuple[str, ZoneArrivals]]) -> tuple[list[Landing | Outgoing], bool]:
        out: list[Landing | Outgoing] = []
        for name, item in values:
            zone = self._open(name)
            outcome = zone.take(item.readings, more=item.more, last=item.last)
            out.append(self._rows.outcome(name, zone.stations, outcome, item.parts, item.received))
            if self._events and outcome.evaluated.means:
                out.append(self._events.rolling(outcome.evaluated.means, zone.stations))
            if self._events:
                out += self._events.told(outcome.said)
            if self._dead_letters:
                out += letters(outcome.rejects, item.parts)
        return out, StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[list[Landing | Outgoing], bool]:
        """Close nothing: only a bounded input's last item does."""
        return [], StatefulBatchLogic.RETAIN

    def snapshot(self) -> dict[str, Any]:
        return kept_state(self._zone.id, self._zone.snapshot()) if self._zone else (self._kept or {})

    def _open(self, name: str) -> Zone:
        if self._zone is None:
            self._zone = Zone(self._city, name)
            if self._kept:
                self._zone.restore(self._kept["state"])
        return self._zone


def kept_state(zone: str, state: dict[str, Any]) -> dict[str, Any]:
    """Make what the recovery store keeps of a zone."""
    return {"v": 1, "zone": zone, "state": state}
