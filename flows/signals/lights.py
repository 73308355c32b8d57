"""Who looks after a zone's lights and alerts: at each slot that closes, with what is on the grid right then.

Lights are decided at every slot of the zone's fastest stations, alerts at every hour that closed for all the stations
that drive them. Both are history: what a late reading changes, it changes from then on. Where decisions stand among
readings is a function of the readings alone, so that neither a cut nor a crash changes what is said.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from flows.analyses import indices
from flows.arrays import F64, I64
from flows.kernels import alerts, light_rules, lights, rolling
from flows.resources import index
from flows.signals import alerts as alert_messages
from flows.signals import light_rules as rules_of_lights
from flows.signals import words as light_words
from flows.signals.alerts import Kind
from flows.signals.reconcile import Told, quiet
from flows.state.cadence import Cadence
from flows.state.grid import Grid
from schemas.alert import Alert
from schemas.city import City
from schemas.light import LightMessage, LightState
from schemas.measured import AIR
from schemas.slots import ALWAYS, EPOCH, NEVER, SLOT

HOUR = 60
LONGEST_GAP = 180
"""Minutes after and before a gap in the city's air whose slots are decided one by one; between, nothing changes."""
AT_ONCE = 4_000_000
"""Candidates looked at together: so many slots times lights times stations."""
PM = [AIR.gridded.index(name) for name in light_rules.PM]
KINDS: dict[str, Kind] = {"reference": "official", "low_cost": "early_sign"}


@dataclass(slots=True)
class Said:
    """What lights and people are told, in the order it was decided."""

    states: list[LightState] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)


class _Moment(NamedTuple):
    """What closed at one row: newest closed slot of each group, shape (G,), and slots to decide lights at."""

    closed: I64
    slots: I64


@dataclass(slots=True)
class _Machine:
    """An alert of one pollutant and kind."""

    rule: alerts.Rule
    kind: Kind
    columns: NDArray[np.int32]
    groups: dict[int, NDArray[np.bool_]]
    """By group, which of the columns are its own."""
    state: alerts.State
    ahead: deque[tuple[alerts.State, alerts.Change | None]] = field(default_factory=deque)
    """Hours judged and not reached yet: the states after them, and what they change."""

    def last(self, closed: list[int]) -> int:
        """Newest hour that is closed for all its stations, given the newest closed slot of each group."""
        return min(closed[i] for i in self.groups) // HOUR * HOUR


class Watch:
    """Lights and alerts of one zone.

    Args:
        city: the city file.
        zone: the zone's id.
        grid: of the zone; what is decided is read from it.
        groups: its stations by cadence.
    """

    def __init__(self, city: City, zone: str, grid: Grid, groups: list[Cadence]) -> None:
        self._zone, self._grid, self._groups = zone, grid, groups
        self._timezone = ZoneInfo(city.city.timezone)
        ours = [station for station in city.stations if station.zone == zone]
        self._ids = [station.id for station in ours]
        korea = index("korea").table().parameters
        grades = np.array([[high for _, high in korea[name].bands[:-1]] for name in light_rules.PM])
        self.rules = rules_of_lights.rules(city, city.light_rules, grades, zone)
        self.told = Told(self.rules)
        self.messages: dict[str, tuple[str, int]] = {}
        """By light: an operator's text, and the slot from which on it is gone."""
        self.lengths = [{HOUR, group.cadence} if self.rules.lights else {HOUR} for group in groups]
        """Of each group, slots: what is decided is decided at their multiples."""
        self._cadences = np.array([group.cadence for group in groups], np.int64)
        self._fastest = int(self._cadences.argmin())
        self.closed = np.full(len(groups), NEVER)
        self._begin = NEVER
        self._gap: tuple[int, int] | None = None
        """Where a gap began whose beginning alone was looked at, and up to where it was."""
        self._text_sets = light_words.TextSets(self.rules)
        self._pending: list[tuple[int, int, int]] = []
        """Triggers not looked at yet: row, group, and the slot up to which it closes."""
        kinds = [(kind, [i for i, s in enumerate(ours) if s.kind == kind]) for kind in KINDS]
        self._machines = [
            _Machine(rule, KINDS[kind], np.array(columns, np.int32), self._groups_of(columns), alerts.start(rule))
            for kind, columns in kinds
            if columns
            for rule in alert_messages.rules(city.alerts).values()
        ]

    def _groups_of(self, columns: list[int]) -> dict[int, NDArray[np.bool_]]:
        theirs = {i: np.isin(columns, group.columns) for i, group in enumerate(self._groups)}
        return {i: ours for i, ours in theirs.items() if ours.any()}

    def start(self, slot: int) -> None:
        """The clock is set: what closes from here on is decided."""
        self.closed[:] = self._begin = slot

    def foresee(self, asked: Sequence[tuple[I64, I64]]) -> None:
        """Note which slots of each group close in a run, and after which rows; looked at once those are on the grid."""
        for i, (slots, rows) in enumerate(asked):
            newest = dict(zip(rows.tolist(), slots.tolist(), strict=True))
            self._pending += [(row, i, slot) for row, slot in newest.items()]
        self._pending.sort()

    def finish(self, out: Said) -> None:
        """The input ends: what is still open closes, up to the last slot that holds a reading."""
        if self._begin > NEVER:
            newest = self._grid.newest
            self._pending = [(0, i, newest // group.cadence * group.cadence) for i, group in enumerate(self._groups)]
            self.decide(1, out)

    def decide(self, before: int, out: Said) -> None:
        """Look at what closes before row ``before``, in its order."""
        upto = bisect_left(self._pending, before, key=lambda closing: closing[0])
        pending, self._pending = self._pending[:upto], self._pending[upto:]
        self._go_through(self._moments(pending), out)

    def decide_gap(self, row: int, until: int, out: Said) -> None:
        """Look at the beginning of the gap that row ``row`` ends, before the grid forgets it.

        Args:
            row: whatever closes before it has been looked at.
            until: newest slot that the row's own reading does not touch; later ones are decided when it is on the grid.
            out: takes what is said.
        """
        was, closed = int(self.closed[self._fastest]), self.closed.copy()
        for at, i, slot in self._pending:
            if at == row:
                closed[i] = max(closed[i], min(slot, until))
        head = self._slots(was, min(was + LONGEST_GAP, int(closed[self._fastest])))
        self._go_through([_Moment(closed, head)], out)
        self._gap = (was, int(head[-1])) if head.size else None

    def _go_through(self, moments: list[_Moment], out: Said) -> None:
        """Decide at each slot of each moment, with the air that had ended by that slot."""
        if moments:
            self._judge(moments[-1].closed.tolist())
        if not self.rules.lights and moments:
            self.closed = moments[-1].closed
            self._reach(ALWAYS, out)
            return
        text_sets = []
        for moment in moments:
            self.closed = moment.closed
            for slot in moment.slots.tolist():
                self._reach(slot, out)
                text_sets.append(self._text_set(slot))
            self._reach(ALWAYS, out)
        if not text_sets:
            return
        texts = self._text_sets.texts(np.array(text_sets))
        slots = np.concatenate([moment.slots for moment in moments])
        closed = np.concatenate([np.minimum(moment.closed, moment.slots[:, None]) for moment in moments])
        most = max(1, AT_ONCE // max(1, self.rules.candidates.size))
        for i in range(0, slots.size, most):
            airs = self._look(slots[i : i + most], closed[i : i + most])
            self._tell(airs, texts.slice(i, i + most), out)

    def _moments(self, pending: list[tuple[int, int, int]]) -> list[_Moment]:
        """Put closings of the same row together."""
        moments: list[_Moment] = []
        closed = self.closed
        for _, closings in groupby(pending, key=lambda closing: closing[0]):
            was, closed = int(closed[self._fastest]), closed.copy()
            for _, i, slot in closings:
                closed[i] = max(closed[i], slot)
            began, done = self._gap or (was, was)
            self._gap = None
            now = int(closed[self._fastest])
            slots = self._slots(began, now)
            ends = (slots <= began + LONGEST_GAP) | (slots > now - LONGEST_GAP)
            moments.append(_Moment(closed, slots[ends & (slots > done)]))
        return moments

    def _slots(self, was: int, now: int) -> I64:
        """Slots of the fastest stations after ``was`` up to ``now``."""
        every = int(self._cadences[self._fastest])
        return np.arange(was // every * every + every, now + 1, every, dtype=np.int64)

    def _judge(self, closed: list[int]) -> None:
        """Judge for all alerts the hours that close; the grid stays as it is until they are reached."""
        known: dict[tuple[int, int, int], F64] = {}
        for machine in self._machines:
            last = min(machine.last(closed), self._grid.reach())
            since = max(machine.state["ended"], self._begin, self._oldest() + HOUR - 2)
            hours: I64 = np.arange(since // HOUR * HOUR + HOUR, last + 1, HOUR, dtype=np.int64)
            if not hours.size:
                continue
            values = np.full((hours.size, machine.columns.size), np.nan)
            for i, ours in machine.groups.items():
                asked = (i, int(hours[0]), int(hours[-1]))
                if asked not in known:
                    known[asked] = self._valid(i, hours)
                values[:, ours] = known[asked][:, machine.columns[ours], AIR.gridded.index(machine.rule.parameter)]
            machine.ahead.extend(alerts.evaluate(machine.rule, machine.state, hours, values))

    def _reach(self, upto: int, out: Said) -> None:
        """Go on to the hours up to slot ``upto`` that have closed for all the stations that drive an alert."""
        closed = np.minimum(self.closed, upto).tolist()
        changes: list[Alert] = []
        for machine in self._machines:
            last = machine.last(closed)
            while machine.ahead and machine.ahead[0][0]["ended"] <= last:
                machine.state, change = machine.ahead.popleft()
                if change:
                    changes.append(self._alert(machine, change))
            if last > self._grid.reach():  # beyond lies nothing, which ends no alert
                machine.state = alerts.step(machine.rule, machine.state, last, np.nan)
        out.alerts += sorted(changes, key=lambda alert: alert.ended_at)

    def _alert(self, machine: _Machine, change: alerts.Change) -> Alert:
        change = change._replace(stations=machine.columns[change.stations].tolist())
        return alert_messages.alert(change, self._zone, machine.rule.parameter, machine.kind, self._ids, self._timezone)

    def _valid(self, i: int, hours: I64) -> F64:
        """Valid means of some hours of a group's stations, by their columns in the zone, shape (hours, S, 6)."""
        group = self._groups[i]
        valid = np.full((hours.size, len(self._ids), len(AIR.gridded)), np.nan)
        first, last = int(hours[0]) - HOUR, int(hours[-1])
        valid[:, group.columns] = indices.valid_hours(self._grid, group.columns, group.cadence, first, last)
        return valid

    def _look(self, slots: I64, closed: I64) -> lights.Airs:
        """Look at the newest hour of every station at each of n slots.

        Args:
            slots: shape (n,).
            closed: newest closed slot of each group then, shape (n, G).
        """
        n, stations = slots.size, len(self._ids)
        closed = closed // self._cadences * self._cadences
        mean, coverage = np.full((n, stations, 2), np.nan), np.zeros((n, stations, 2))
        as_of = np.full((n, stations), NEVER)
        for i, group in enumerate(self._groups):
            ends = closed[:, i]
            held = ends - HOUR >= self._oldest()
            if held.any():
                ends = np.where(held, ends, ends[held].max())
                means, covered = self._hour(group, ends)
                mean[:, group.columns] = np.where(held[:, None, None], means, np.nan)
                coverage[:, group.columns] = np.where(held[:, None, None], covered, 0.0)
                as_of[:, group.columns] = np.where(held, ends, NEVER)[:, None]
        fault = np.zeros((n, stations, 2), bool)  # until anomalies are told from faults
        return lights.Airs(slots, mean, coverage, as_of, fault)

    def _hour(self, group: Cadence, ends: I64) -> tuple[F64, F64]:
        """Means of PM over hours that end at ``ends``, and how much values cover; shape (n, group's stations, 2)."""
        distinct, which = np.unique(ends, return_inverse=True)
        hours = self._grid.windows(distinct, np.array([HOUR]), group.columns)
        means = rolling.mean(hours.sum[PM, 0], hours.count[PM, 0])
        covered = rolling.coverage(hours.filled[PM, 0], group.cadence, HOUR)
        return means.transpose(2, 1, 0)[which], covered.transpose(2, 1, 0)[which]

    def _tell(self, airs: lights.Airs, texts: lights.Texts, out: Said) -> None:
        """Decide at some slots: one by one while the topic is ahead of the decisions."""
        at = 0
        while at < airs.slots.size:
            end = at + 1 if self.told.is_ahead else airs.slots.size
            part = airs.slice(at, end)
            out.states += self.told.before(int(airs.slots[at]))
            self.told.state, sent = lights.decide(self.rules, self.told.state, part, texts.slice(at, end))
            out.states += self.told.as_said(light_words.messages(self.rules, sent, part, self._timezone))
            at = end

    def say(self, words: Iterable[LightMessage]) -> None:
        """Take what people have lights say; an empty text withdraws what was said before."""
        for message in words:
            if message.light_id in self.rules.lights:
                self.messages[message.light_id] = (message.text, (message.valid_until - EPOCH) // SLOT)

    def quiet(self, minutes: int, out: Said) -> None:
        """Gray the lights whose air has grown too old in the minutes since the last slot closed, in which none came."""
        if self._begin == NEVER or not self.rules.lights:
            return
        slot = int(self.closed[self._fastest]) + minutes
        out.states += self.told.before(slot)
        airs = self._look(np.array([slot]), self.closed[None, :])
        texts = self._text_sets.texts(np.array([self._text_set(slot)]))
        after, sent = lights.decide(self.rules, self.told.state, airs, texts)
        gray = sent.select(self.told.turned_gray(after, sent))
        out.states += quiet(light_words.messages(self.rules, gray, airs, self._timezone))

    def _text_set(self, slot: int) -> int:
        """Text set of a slot: alerts in force, and what operators say."""
        stages = {m.rule.parameter: alerts.STAGES[m.state["stage"]] for m in self._machines if m.kind == "official"}
        return self._text_sets.at(stages, self.messages, slot)

    def _oldest(self) -> int:
        assert self._grid.base is not None
        return self._grid.base

    def snapshot(self) -> dict[str, Any]:
        """Plain data; lights by their ids, closings by cadence."""
        assert not self._pending, "what closed was not looked at"
        return {
            "closed": {group.every: int(slot) for group, slot in zip(self._groups, self.closed, strict=True)},
            "begin": self._begin,
            "lights": lights.snapshot(self.rules, self.told.state),
            "messages": dict(self.messages),
            "alerts": {(m.kind, m.rule.parameter): dict(m.state) for m in self._machines},
        }

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        newest = max(kept["closed"].values())
        self.closed = np.array([kept["closed"].get(group.every, newest) for group in self._groups], np.int64)
        self._begin = kept["begin"]
        self.told.state = lights.restore(self.rules, kept["lights"])
        self.messages = dict(kept["messages"])
        for machine in self._machines:
            known = kept["alerts"].get((machine.kind, machine.rule.parameter))
            if known and len(known["runs"]) == len(machine.rule.issue):
                machine.state = known
