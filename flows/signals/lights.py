"""Lights of one zone: looked at and decided once as slots fire, never revised."""

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from typing import Any

import numpy as np

from flows.analyses.hours import hourly
from flows.arrays import B1, I64
from flows.kernels import lights as kernel
from flows.kernels.light_rules import PM, Rules
from flows.kernels.lights import Airs, Texts
from flows.signals import words
from flows.signals.reconcile import Reconciler, as_idle
from flows.state.cadence import Cadence
from flows.state.grid import Grid
from schemas.light import LightMessage, LightState
from schemas.measured import AIR
from schemas.slots import EPOCH, HOUR_SLOTS, NEVER, SLOT

PM_COLUMNS = [AIR.gridded.index(name) for name in PM]


class Lights:
    """What the lights of a zone show: the state of each, operators' messages, and the decisions.

    Args:
        rules: of the zone.
        grid: of the zone; what is decided is read from it.
        cadences: of the zone.
        timezone: in which times are written.
    """

    def __init__(self, rules: Rules, grid: Grid, cadences: Sequence[Cadence], timezone: tzinfo) -> None:
        self.rules, self._grid, self._cadences, self._timezone = rules, grid, cadences, timezone
        self.reconciler = Reconciler(rules)
        self.text_sets = words.TextSets(rules)
        self.messages: dict[str, tuple[str, int]] = {}
        """By light: an operator's text, and the slot from which on it is gone."""

    def set_messages(self, messages: Iterable[LightMessage]) -> None:
        """Take operators' texts; an empty one withdraws what was set before."""
        for message in messages:
            if message.light_id in self.rules.lights:
                self.messages[message.light_id] = (message.text, (message.valid_until - EPOCH) // SLOT)

    def look(self, slots: I64, fired: I64) -> Airs:
        """Read the newest hour of every station at each of n slots; faults are left to the decision.

        Args:
            slots: rising, shape (n,).
            fired: newest whole interval of each cadence that has fired then, shape (n, G).
        """
        n, stations = slots.size, len(self._grid.instruments)
        mean, coverage = np.full((n, stations, len(PM)), np.nan), np.zeros((n, stations, len(PM)))
        as_of = np.full((n, stations), NEVER)
        for i, cadence in enumerate(self._cadences):
            ends, at = np.unique(fired[:, i], return_inverse=True)
            known = ends - HOUR_SLOTS >= self._grid.oldest
            means, covered = hourly(self._grid, cadence.columns, cadence.slots, ends)
            mean[:, cadence.columns] = means[:, :, PM_COLUMNS][at]
            coverage[:, cadence.columns] = covered[:, :, PM_COLUMNS][at]
            as_of[:, cadence.columns] = np.where(known, ends, NEVER)[at][:, None]
        return Airs(slots, mean, coverage, as_of, np.zeros((n, stations, len(PM)), bool))

    def decide(self, airs: Airs, texts: Texts) -> list[LightState]:
        """Decide at n slots: one by one while the topic is ahead of the decisions."""
        states: list[LightState] = []
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
        """Gray the lights whose air is too old at a slot to which no air has come."""
        states = self.reconciler.adopt_timeouts(slot)
        airs = self.look(np.array([slot]), fired)
        airs.fault[:] = fault
        after, sent = kernel.decide(self.rules, self.reconciler.state, airs, texts)
        gray = sent.select(self.reconciler.take_gray(after, sent))
        return states + as_idle(words.messages(self.rules, gray, airs, self._timezone))

    def snapshot(self) -> dict[str, Any]:
        """Plain data; lights by their ids."""
        return {"lights": kernel.snapshot(self.rules, self.reconciler.state), "messages": dict(self.messages)}

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.reconciler.state = kernel.restore(self.rules, kept["lights"])
        self.messages = dict(kept["messages"])


def pm_only(faults: B1) -> B1:
    """Faults of PM10 and PM2.5, shape (S, 2), of those of all gridded values."""
    return faults[:, PM_COLUMNS]
