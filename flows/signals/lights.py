"""Lights of one zone: looked at and decided once as slots fire, never revised."""

from collections.abc import Callable, Iterable, Sequence
from datetime import tzinfo
from typing import Any, NamedTuple

import numpy as np

from flows.analyses.hours import hourly
from flows.arrays import B1, F64, I64, Whole
from flows.kernels import lights as kernel
from flows.kernels.alerts import published
from flows.kernels.light_rules import PM, Rules
from flows.kernels.lights import BESIDE, Airs, Texts
from flows.kernels.temporal_tests import Limits, lifeless_hours, lookback
from flows.signals import words
from flows.signals.base import LateReadings
from flows.signals.reconcile import Reconciler, as_idle
from flows.signals.text_timer import TextTimer
from flows.signals.weather import Weather
from flows.state.cadence import Cadence
from flows.state.grid import Grid
from schemas.light import LightMessage, LightState
from schemas.measured import AIR
from schemas.slots import EPOCH, HOUR_SLOTS, NEVER, SLOT

PM_COLUMNS = [AIR.gridded.index(name) for name in PM]
SHOWN = [*PM_COLUMNS, AIR.gridded.index("o3")]
"""Gridded values that lights show."""
DECIMALS = (3, 1, 1)
"""Of the numbers beside a color: ppm as AirKorea publishes them, °C, %."""


class ShownHours(NamedTuple):
    """Hours of S instruments of one cadence that end with n slots; columns as of ``SHOWN``.

    Attributes:
        means: in the values' units, shape (n, S, 3); NaN where there is none.
        coverage: likewise.
        lifeless: every value is suspect by zeros or a flat line, or lies below zero; likewise.
    """

    means: F64
    coverage: F64
    lifeless: B1


class Lights:
    """What the lights of a zone show: the state of each, operators' messages, and the decisions.

    Args:
        rules: of the zone.
        grid: of the zone; what is decided is read from it.
        cadences: of the zone.
        timezone: in which times are written.
        limits: of the tests of surroundings, given the slots of a cadence.
    """

    def __init__(
        self,
        rules: Rules,
        grid: Grid,
        cadences: Sequence[Cadence],
        timezone: tzinfo,
        limits: Callable[[int], Limits],
    ) -> None:
        self.rules, self._grid, self._cadences, self._timezone = rules, grid, cadences, timezone
        self._limits = {cadence.slots: limits(cadence.slots) for cadence in cadences}
        self.reconciler = Reconciler(rules)
        self.text_sets = words.TextSets(rules, min((cadence.slots for cadence in cadences), default=1))
        self.weather = Weather(grid, AIR.carried)
        self.late: LateReadings | None = None
        self.messages: dict[str, tuple[str, int]] = {}
        """By light: an operator's text, and the slot from which on it is gone."""
        self._text_timer = TextTimer()
        self._ended: set[str] = set()
        """Lights whose text was withdrawn by a clock since the timer last decided."""

    def set_messages(self, messages: Iterable[LightMessage]) -> None:
        """Take operators' texts; an empty one withdraws what was set before."""
        for message in messages:
            if message.light_id in self.rules.lights:
                self.messages[message.light_id] = (message.text, (message.valid_until - EPOCH) // SLOT)

    def end_texts(self, wall_s: float, monotonic_s: float) -> bool:
        """Withdraw texts that end now by either clock; say whether there were any."""
        ended = self._text_timer.ended(self.messages, wall_s, monotonic_s)
        for light in ended:
            del self.messages[light]
        self._ended |= ended
        return bool(ended)

    def look(self, slots: I64, fired: I64) -> Airs:
        """Read the newest hour of every station at each of n slots; faults are left to the decision.

        Args:
            slots: rising, shape (n,).
            fired: newest whole interval of each cadence that has fired then, shape (n, G).
        """
        n, stations, pm = slots.size, len(self._grid.instruments), len(PM)
        mean, coverage = np.full((n, stations, pm), np.nan), np.zeros((n, stations, pm))
        lifeless, as_of = np.zeros((n, stations, pm), bool), np.full((n, stations), NEVER)
        beside = np.full((n, stations, len(BESIDE)), np.nan)
        for i, cadence in enumerate(self._cadences):
            ends, at = np.unique(fired[:, i], return_inverse=True)
            known = ends - HOUR_SLOTS >= self._grid.oldest
            hours = self._hours(cadence, ends)
            mean[:, cadence.columns] = hours.means[at][:, :, :pm]
            coverage[:, cadence.columns] = hours.coverage[at][:, :, :pm]
            lifeless[:, cadence.columns] = hours.lifeless[at][:, :, :pm]
            beside[:, cadence.columns] = self._beside(cadence, ends, hours)[at]
            as_of[:, cadence.columns] = np.where(known, ends, NEVER)[at][:, None]
        return Airs(slots, mean, coverage, as_of, np.zeros((n, stations, pm), bool), lifeless, beside)

    def _hours(self, cadence: Cadence, ends: I64) -> ShownHours:
        """Read hours from the grid; with late readings in them, which are not on it yet."""
        hours = self._hours_of(self._grid, cadence.columns, cadence.slots, ends)
        late = self.late.readings if self.late is not None else None
        known = ends[ends - HOUR_SLOTS >= self._grid.oldest]
        if late is None or not known.size:
            return hours
        column, slot, quanta, flags = late
        first = int(known[0]) - HOUR_SLOTS
        mine = np.isin(column, cadence.columns) & (slot > first) & (slot <= ends[-1])
        if not mine.any():
            return hours
        columns = np.unique(column[mine])
        first -= lookback(self._limits[cadence.slots]) * cadence.slots
        part = self._grid.part(columns, first, int(ends[-1]))
        part.add(np.searchsorted(columns, column[mine]).astype(np.int32), slot[mine], quanta[mine], flags[mine])
        again = self._hours_of(part, np.arange(columns.size), cadence.slots, ends)
        at = np.searchsorted(cadence.columns, columns)
        for values, new in zip(hours, again, strict=True):
            values[:, at] = new
        return hours

    def _hours_of(self, grid: Grid, columns: Whole, cadence_slots: int, ends: I64) -> ShownHours:
        means, coverage = (each[:, :, SHOWN] for each in hourly(grid, columns, cadence_slots, ends))
        lifeless = np.zeros(means.shape, bool)
        known = ends - HOUR_SLOTS >= grid.oldest
        if known.any():
            limits, last = self._limits[cadence_slots], int(ends[-1])
            first = int(ends[known][0]) - HOUR_SLOTS - lookback(limits) * cadence_slots
            first = -(-max(first, grid.oldest - 1) // cadence_slots) * cadence_slots  # where a cell begins
            if first < (seen := min(last, grid.reach)):
                layers = grid.layer("sums", first + 1, seen), grid.layer("counts", first + 1, seen)
                places = columns, np.array(SHOWN)
                lifeless[known] = lifeless_hours(layers, places, ends[known] - first, cadence_slots, limits)
        return ShownHours(means, coverage, lifeless)

    def _beside(self, cadence: Cadence, ends: I64, hours: ShownHours) -> F64:
        """Numbers beside the color, rounded as they are published; NaN where they cannot be trusted."""
        means, coverage = self.weather.hourly(cadence.columns, cadence.slots, ends)
        ozone = np.where(hours.lifeless, np.nan, hours.means)[:, :, len(PM) :]
        values = np.concatenate([ozone, means], axis=2)
        covered = np.concatenate([hours.coverage[:, :, len(PM) :], coverage], axis=2)
        rounded = np.stack([published(values[:, :, i], decimals) for i, decimals in enumerate(DECIMALS)], axis=2)
        return np.where(covered >= self.rules.coverage, rounded, np.nan)

    def decide(self, airs: Airs, texts: Texts) -> list[LightState]:
        """Decide at n slots: one by one while the topic is ahead of the decisions."""
        states: list[LightState] = []
        if airs.slots.size:
            self._ended.clear()  # these decisions know it
        at = 0
        while at < airs.slots.size:
            end = at + 1 if self.reconciler.is_behind else airs.slots.size
            part = airs.slice(at, end)
            states += self.reconciler.adopt_timeouts(int(airs.slots[at]))
            self.reconciler.state, sent = kernel.decide(self.rules, self.reconciler.state, part, texts.slice(at, end))
            states += self.reconciler.prefer_published(words.messages(self.rules, sent, part, self._timezone))
            at = end
        return states

    def decide_idle(self, slot: int, fired: I64, texts: Texts, fault: B1) -> list[LightState]:
        """Gray the lights whose air is too old at a slot to which no air has come, and drop texts that have ended."""
        states = self.reconciler.adopt_timeouts(slot)
        airs = self.look(np.array([slot]), fired)
        airs.fault[:] = fault
        after, sent = kernel.decide(self.rules, self.reconciler.state, airs, texts)
        rows = sent.select(self.reconciler.take_gray(after, sent, self._ended))
        self._ended -= {self.rules.lights[row] for row in rows.light.tolist()}
        return states + as_idle(words.messages(self.rules, rows, airs, self._timezone))

    def snapshot(self) -> dict[str, Any]:
        """Plain data; lights by their ids."""
        return {"lights": kernel.snapshot(self.rules, self.reconciler.state), "messages": dict(self.messages)}

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from a snapshot; one of before lights showed weather lacks it."""
        self.reconciler.state = kernel.restore(self.rules, kept["lights"])
        self.messages = dict(kept["messages"])
        if "weather" in kept:
            self.weather.restore(kept["weather"])


def pm_only(faults: B1) -> B1:
    """Faults of PM10 and PM2.5, shape (S, 2), of those of all gridded values."""
    return faults[:, PM_COLUMNS]
