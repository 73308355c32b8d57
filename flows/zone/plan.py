"""What a zone is made of: instruments, limits, analyses and signals, as a flow and the city file say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np

from flows.analyses.base import Analysis
from flows.arrays import F64, I32
from flows.signals.base import Signals
from flows.state.cadence import Cadence
from flows.state.grid import Grid
from schemas.city import Parameter, WindowSettings
from schemas.durations import minutes
from schemas.measured import Instrument, Measured, Recorded
from schemas.slots import DAY_SLOTS


@dataclass(frozen=True, slots=True)
class Lateness:
    """How far readings may come out of order, in slots."""

    horizon: int
    """Allowed lateness behind the watermark, and how far ahead of it a reading may lie without being buffered."""
    max_wait: int
    """So far the watermark may advance while an early reading waits."""
    early_capacity: int
    """Early readings that may be buffered at once."""
    snap: float = 0.0
    """Share of a cadence above a minute within which a time lies on a multiple of it."""


@dataclass(frozen=True, slots=True)
class ZoneSettings:
    """Sizes inside a zone, which tests make small."""

    spare_slots: int = DAY_SLOTS
    """Slots that the grid has to spare, so that it need not be moved often."""
    evaluate_slots: int = DAY_SLOTS
    """Slots that are evaluated in one go."""


@dataclass(frozen=True, slots=True)
class ZonePlan:
    """What a zone is made of.

    Attributes:
        name: of the zone.
        timezone: of the city: local days are learnt from.
        measured: the kind of reading.
        recorded: kinds of records.
        instruments: of the whole flow; those of the zone are its columns.
        limits: of each gridded value.
        windows: how often windows land, and the longest of them.
        lateness: how far readings may come out of order.
        analyses: makes the analyses, in the order of their evaluation.
        signals: makes the signals, given the grid and the cadences; none where the flow has none.
        averages_second_values: a second value of one second counts beside the first.
        books_records: every zone of a flow takes all records, and one of them says what became of each.
    """

    name: str
    timezone: ZoneInfo
    measured: Measured
    recorded: Sequence[Recorded]
    instruments: Sequence[Instrument]
    limits: Sequence[Parameter]
    windows: WindowSettings
    lateness: Lateness
    analyses: Callable[[], Sequence[Analysis]]
    signals: Callable[[Grid, Sequence[Cadence]], Signals] | None = None
    averages_second_values: bool = False
    books_records: bool = True

    @property
    def stations(self) -> I32:
        """Indices of the zone's instruments among those of the flow, by column."""
        return np.array([i for i, one in enumerate(self.instruments) if one.zone == self.name], np.int32)

    @property
    def step(self) -> int:
        """How often windows land, in slots."""
        return minutes(self.windows.step)

    def spans(self) -> tuple[F64, F64]:
        """Fail and suspect spans of each gridded value, shape (P, 2) each."""
        return np.array([limit.fail for limit in self.limits]), np.array([limit.suspect for limit in self.limits])
