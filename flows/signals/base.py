"""What a zone asks of its signals: to look as slots fire, and to decide, once, from what was seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from flows.analyses.base import Fault
from flows.arrays import F64, I32, I64, U8
from schemas.alert import Alert
from schemas.light import LightState
from schemas.slots import NEVER


@dataclass(slots=True)
class SignalBatch:
    """What lights and people are told, in the order it was decided: history, never revised."""

    states: list[LightState] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)


class FiringSlots(Protocol):
    """Slots of one cadence that fire in a run, and the rows after which they do."""

    @property
    def slots(self) -> I64:
        """Rising, shape (n,)."""

    @property
    def rows(self) -> I64:
        """Shape (n,)."""


class LateReadings(Protocol):
    """Readings that came too late for the step that fired, and wait for the next one; signals see them at once."""

    @property
    def readings(self) -> tuple[I32, I64, I64, U8] | None:
        """Columns, slots, quanta and flags, as the grid takes them; none where there are none."""


class Signals(Protocol):
    """Signals of a zone. A look takes from the grid what a decision needs; decisions go forward in time."""

    @property
    def lengths(self) -> Sequence[set[int]]:
        """Of each cadence, in slots: looks are taken at their multiples."""

    @property
    def fired(self) -> I64:
        """Newest slot of each cadence that was looked at, shape (cadences,)."""

    @property
    def wants_carried(self) -> bool:
        """Whether values that are not gridded are to be handed in."""

    def attach(self, late: LateReadings) -> None:
        """See late readings from here on."""

    def put_carried(self, column: I32, slot: I64, values: F64) -> None:
        """Take the carried values of readings as they are put on the grid.

        Args:
            column: of each reading's instrument, shape (n,).
            slot: shape (n,).
            values: in the order of ``Measured.carried``, shape (n, C); NaN where there is none that counts.
        """

    def start(self, slot: int) -> None:
        """Begin at a slot: the watermark is set."""

    def schedule(self, firings: Sequence[FiringSlots]) -> None:
        """Note which slots of each cadence fire in a run, and after which rows."""

    def look(self, before: int, number_of: Callable[[int], int]) -> None:
        """Look at what fires before a row, with what is on the grid now.

        Args:
            before: the row.
            number_of: gives the number of the zone's newest firing at a row.
        """

    def look_into_gap(self, row: int, until: int, number: int) -> None:
        """Look at the beginning of the gap that a row ends, before the grid forgets it.

        Args:
            row: whatever fires before it has been looked at.
            until: newest slot that the row's own reading does not touch.
            number: of the zone's newest firing.
        """

    def look_at_end(self, number: int) -> None:
        """Look at what is open still at the end of the input, up to the last slot that holds a reading."""

    def decide(self, faults: Sequence[Fault], out: SignalBatch) -> None:
        """Decide what was looked at, in its order; ``faults`` are new since the last call."""

    def end_texts(self, wall_s: float, monotonic_s: float) -> bool:
        """Withdraw texts of people that end now by either clock; say whether there were any."""

    def on_idle(self, minutes: int, out: SignalBatch) -> None:
        """Decide what must be said because no air has come for so many minutes, or a text has ended."""

    def snapshot(self) -> dict[str, Any]:
        """Plain data."""

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from a snapshot."""


class NoSignals:
    """Signals of a flow that has none."""

    def __init__(self, cadences: int) -> None:
        self.lengths: Sequence[set[int]] = [set()] * cadences
        self.fired: I64 = np.full(cadences, NEVER)
        self.wants_carried = False

    def attach(self, late: LateReadings) -> None:
        """See nothing."""

    def put_carried(self, column: I32, slot: I64, values: F64) -> None:
        """Take nothing."""

    def start(self, slot: int) -> None:
        """Begin at a slot."""
        self.fired[:] = slot

    def schedule(self, firings: Sequence[FiringSlots]) -> None:
        """Nothing fires for signals."""

    def look(self, before: int, number_of: Callable[[int], int]) -> None:
        """Look at nothing."""

    def look_into_gap(self, row: int, until: int, number: int) -> None:
        """Look at nothing."""

    def look_at_end(self, number: int) -> None:
        """Look at nothing."""

    def decide(self, faults: Sequence[Fault], out: SignalBatch) -> None:
        """Decide nothing."""

    def end_texts(self, wall_s: float, monotonic_s: float) -> bool:
        """There are no texts."""
        return False

    def on_idle(self, minutes: int, out: SignalBatch) -> None:
        """Say nothing."""

    def snapshot(self) -> dict[str, Any]:
        """Plain data."""
        return {}

    def restore(self, kept: dict[str, Any]) -> None:
        """There is nothing to restore."""
