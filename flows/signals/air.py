"""Signals of an air zone: its alerts and its lights, on one schedule."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from flows.analyses.base import Fault
from flows.analyses.quality import limits_of
from flows.arrays import B1, F64, I32, I64
from flows.kernels.light_rules import PM
from flows.kernels.lights import Airs
from flows.resources import index
from flows.signals import light_rules
from flows.signals.alerts import Alerts, FaultsAt
from flows.signals.base import FiringSlots, LateReadings, SignalBatch
from flows.signals.faults import FaultLog
from flows.signals.lights import Lights, pm_only
from flows.signals.schedule import LightSchedule, Moments
from flows.state.cadence import Cadence
from flows.state.grid import Grid
from schemas.city import City
from schemas.light import LightMessage, LightState, WildState
from schemas.slots import ALWAYS, HOUR_SLOTS, NEVER


class Look(NamedTuple):
    """What was seen when slots fired, as plain columns.

    Attributes:
        moments: at which they fired, m of them.
        firings: number of the zone's newest firing at each moment, shape (m,).
        airs: at the slots of the moments; of no slot where the zone has no light.
        reach: newest slot that the grid held.
    """

    moments: Moments
    firings: I64
    airs: Airs
    reach: int


class AirSignals:
    """Alerts and lights of one zone.

    It has more than 15 methods: thirteen are what a zone asks of signals (``flows/signals/base.py: Signals``) and what
    side inputs ask, and the others decide in one order, alerts before lights, that must be read in one place.

    Args:
        city: the city file.
        zone: the zone's id.
        grid: of the zone.
        cadences: of the zone.
    """

    def __init__(self, city: City, zone: str, grid: Grid, cadences: Sequence[Cadence]) -> None:
        self._grid, timezone = grid, ZoneInfo(city.city.timezone)
        bands = index("korea").table().parameters
        grades = np.array([[high for _, high in bands[name].bands[:-1]] for name in PM])
        rules = light_rules.rules(city, city.light_rules, grades, zone)
        kinds = [station.kind for station in city.stations if station.zone == zone]
        self.alerts = Alerts(city.alerts, zone, kinds, grid, cadences, timezone)
        self.lights = Lights(rules, grid, cadences, timezone, lambda slots: limits_of(city, slots))
        self._schedule = LightSchedule(cadences)
        self._faults = FaultLog(len(grid.instruments), grid.width)
        self._looks: list[Look] = []
        self.lengths: Sequence[set[int]] = [
            {HOUR_SLOTS, cadence.slots} if rules.lights else {HOUR_SLOTS} for cadence in cadences
        ]

    @property
    def fired(self) -> I64:
        """Newest slot of each cadence that was looked at, shape (cadences,)."""
        return self._schedule.fired

    @property
    def wants_carried(self) -> bool:
        """Whether a light shows values that are not gridded."""
        return bool(self.lights.rules.lights)

    def attach(self, late: LateReadings) -> None:
        """See late readings from here on: lights do not wait for the next step."""
        self.lights.late = late

    def put_carried(self, column: I32, slot: I64, values: F64) -> None:
        """Take temperature and humidity, which lights show."""
        self.lights.weather.put(column, slot, values)

    def start(self, slot: int) -> None:
        """Begin at a slot: the watermark is set."""
        self._schedule.start(slot)

    def schedule(self, firings: Sequence[FiringSlots]) -> None:
        """Note which slots of each cadence fire in a run, and after which rows."""
        self._schedule.add(firings)

    def look(self, before: int, number_of: Callable[[int], int]) -> None:
        """Look at what fires before a row, with what is on the grid now."""
        moments = self._schedule.take(before)
        self._see(moments, [number_of(row) for row in moments.rows.tolist()])

    def look_into_gap(self, row: int, until: int, number: int) -> None:
        """Look at the beginning of the gap that a row ends, before the grid forgets it."""
        self._see(self._schedule.take_gap(row, until), [number])

    def look_at_end(self, number: int) -> None:
        """Look at what is open still at the end of the input."""
        moments = self._schedule.take_rest(self._grid.newest)
        self._see(moments, [number] * moments.rows.size)

    def _see(self, moments: Moments, firings: list[int]) -> None:
        if not moments.rows.size:
            return
        self.alerts.look(moments.fired[-1], self._schedule.begin)
        if not self.lights.rules.lights:
            moments = moments._replace(slots=moments.slots[:0], at=moments.at[:0])
        fired = np.minimum(moments.fired[moments.at], moments.slots[:, None])
        airs = self.lights.look(moments.slots, self._schedule.whole(fired))
        self._looks.append(Look(moments, np.array(firings), airs, self._grid.reach))

    def decide(self, faults: Sequence[Fault], out: SignalBatch) -> None:
        """Decide what was looked at, in its order: at each slot alerts first, because lights show them."""
        self._faults.add(faults)
        looks, self._looks = self._looks, []
        for look in looks:
            self._decide(look, out)

    def _decide(self, look: Look, out: SignalBatch) -> None:
        """Decide alerts slot by slot, where an hour has fired; then lights at all slots, with what alerts said then."""
        moments, slots = look.moments, look.airs.slots
        points = _points(moments)
        text_sets = np.zeros(slots.size, np.int64)
        hours = points.fired // HOUR_SLOTS
        cuts = np.flatnonzero((hours[1:] != hours[:-1]).any(axis=1)) + 1  # between them no hour fires
        for begin, end in pairwise([0, *cuts.tolist(), len(hours)]):
            faults_at = self._faults_at(int(look.firings[points.at[begin]]))
            out.alerts += self.alerts.decide(points.fired[begin], look.reach, faults_at)
            now = slice(*np.searchsorted(points.slots, (begin, end)))
            self._fill(slots[now], look.firings[moments.at[now]], look.airs.fault[now], text_sets[now])
        if slots.size:
            out.states += self.lights.decide(look.airs, self.lights.text_sets.texts(text_sets))

    def _fill(self, slots: I64, firings: I64, fault: B1, text_sets: I64) -> None:
        """Fill in faults and text sets of slots between which no alert changes."""
        if not self._faults.empty:
            for i, (slot, firing) in enumerate(zip(slots.tolist(), firings.tolist(), strict=True)):
                fault[i] = pm_only(self._faults.at(slot, firing))
        last = [self.lights.text_sets.last_slot(until) for _, until in self.lights.messages.values()]
        ends = np.searchsorted(slots, last, side="right")
        for begin, end in pairwise(sorted({0, slots.size, *ends.tolist()})):
            text_sets[begin:end] = self._text_set(int(slots[begin]))

    def _faults_at(self, firing: int) -> FaultsAt | None:
        """Faults that decisions at a firing see, by slot; none where there are none."""
        return None if self._faults.empty else lambda slot: self._faults.at(slot, firing)

    def _text_set(self, slot: int) -> int:
        """Text set of a slot: alerts in force, and operators' messages."""
        return self.lights.text_sets.at(self.alerts.stages, self.lights.messages, slot)

    def set_messages(self, messages: Iterable[LightMessage]) -> None:
        """Take operators' texts for lights."""
        self.lights.set_messages(messages)

    def load_published(self, states: Iterable[LightState | WildState]) -> list[LightState]:
        """Load what the topic of lights holds; return what of it the lake lacks."""
        return self.lights.reconciler.load(states)

    def reset_to(self, newest: Iterable[LightState | WildState]) -> None:
        """Reset lights to the newest message of each, after a rebuild."""
        self.lights.reconciler.reset_to(newest)

    def end_texts(self, wall_s: float, monotonic_s: float) -> bool:
        """Withdraw texts of people that end now by either clock; say whether there were any."""
        return self.lights.end_texts(wall_s, monotonic_s)

    def on_idle(self, minutes: int, out: SignalBatch) -> None:
        """Gray the lights whose air has grown too old in the minutes since the last slot fired, and end texts."""
        if self._schedule.begin == NEVER or not self.lights.rules.lights:
            return
        slot = self._schedule.newest + minutes
        texts = self.lights.text_sets.texts(np.array([self._text_set(slot)]))
        fault = pm_only(self._faults.at(slot, ALWAYS))
        out.states += self.lights.decide_idle(slot, self._schedule.whole(self._schedule.fired[None, :]), texts, fault)

    def snapshot(self) -> dict[str, Any]:
        """Plain data; lights by their ids, cadences by their seconds."""
        assert not self._looks, "what was looked at was not decided"
        kept = {
            "closed": self._schedule.snapshot(),
            "begin": self._schedule.begin,
            **self.lights.snapshot(),
            **self._weather(),
            "alerts": self.alerts.snapshot(),
        }
        return kept if self._faults.empty else kept | {"faults": self._faults.snapshot(self._grid.instruments)}

    def _weather(self) -> dict[str, Any]:
        started = self._schedule.begin > NEVER and self.wants_carried
        return {"weather": self.lights.weather.snapshot(int(self.fired.min()))} if started else {}

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self._schedule.restore(kept["closed"], kept["begin"])
        self.lights.restore(kept)
        self.alerts.restore(kept["alerts"])
        if "faults" in kept:
            self._faults.restore(kept["faults"], self._grid.instruments)


class _Points(NamedTuple):
    """Where alerts can change: at each slot at which lights are decided, and behind the slots of each moment.

    Attributes:
        fired: newest slot of each cadence that counts there, shape (n + m, G).
        at: index of its moment, shape (n + m,).
        slots: indices of the points that are slots, shape (n,).
    """

    fired: I64
    at: I64
    slots: I64


def _points(moments: Moments) -> _Points:
    """Order the slots of moments, each with what had fired up to it, and the moments' ends."""
    fired = np.concatenate([np.minimum(moments.fired[moments.at], moments.slots[:, None]), moments.fired])
    at = np.concatenate([moments.at, np.arange(moments.rows.size)])
    order = np.argsort(at, kind="stable")  # the end of a moment behind its slots
    return _Points(fired[order], at[order], np.flatnonzero(order < moments.slots.size))
