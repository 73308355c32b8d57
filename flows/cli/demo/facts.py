"""The facts that the demo reports, as ``--json`` prints them."""

from datetime import date, datetime
from typing import Any

from msgspec import Struct, field

from schemas.city_rules import Words
from sinks.lights.history import LightsDay


class RefusalCount(Struct, frozen=True):
    """Messages of one reason of refusal: how many were sent and how many refused, and the detail of the first."""

    reason: str
    sent: int
    refused: int
    example: str


class Finding(Struct, frozen=True):
    """What the lake shows of a scenario at one place: ``found`` of ``due``."""

    scenario: str
    stations: list[str]
    started_at: datetime
    ended_at: datetime | None
    due: int
    found: int
    summary: str = field(name="told")
    """What was counted, and more in words."""


class StationStrip(Struct, frozen=True):
    """A station's hourly means of PM2.5, µg/m³; None where too little came in for a valid one."""

    station_id: str
    means: list[float | None]


class Series(Struct, frozen=True):
    """Means at even steps; the largest of them, and when its window ended."""

    name: str
    values: list[float | None]
    peak: float
    peak_at: datetime


class Answer(Struct, frozen=True):
    """A question, its SQL and what the lake answers."""

    question: str
    sql: str
    columns: list[str]
    rows: list[list[Any]]


class SimulatedDay(Struct, frozen=True):
    """The simulated day."""

    city: str
    timezone: str
    started_at: datetime
    ended_at: datetime
    stations: int
    sent: int
    """Lines in the file."""
    readings_sent: int
    """Lines that count, by the truth."""
    received: int
    stored: int
    late_sent: int
    lost: int
    refused: list[RefusalCount]
    findings: list[Finding]
    values: int
    """Pollutant values in the readings stored."""
    suspect_elsewhere: int
    """Values that a test suspects though nothing is wrong with their station and parameter."""
    strips: list[StationStrip]
    """From the west to the east."""
    dust: list[Series]
    """PM10 by thirds of the city, twenty minutes a step."""
    lights: LightsDay
    words: Words
    answers: list[Answer]
    faults: list[str]
    """What the audit of the lake finds wrong."""


class RecordedStretch(Struct, frozen=True):
    """The recorded two weeks."""

    city: str
    first_at: datetime
    last_at: datetime
    stations: int
    received: int
    stored: int
    coverage: float
    """Share of the hours that have a PM2.5 value, 0 to 1."""
    longest_gap_h: int
    longest_gap_at: str
    """The station that had it."""
    worst_day: date
    worst_mean: float
    """Mean of the stations' PM2.5 on that day, µg/m³."""
    worst_hour: float
    worst_hour_at: datetime
    worst_hour_of: str
    extreme: int
    """PM2.5 values above the credible range: suspected, and counted all the same."""
    series: Series = field(name="line")
    """PM2.5 of all stations, four hours a step."""
    faults: list[str]


class Facts(Struct, frozen=True):
    """Everything the report says."""

    day: SimulatedDay
    recorded: RecordedStretch
    seconds: dict[str, float]
    """How long each step took."""


def series(name: str, rows: list[tuple[datetime, float | None]]) -> Series:
    """Make a series of rows of (end of window, mean), of which at least one has a mean."""
    peak, peak_at = max((mean, at) for at, mean in rows if mean is not None)
    return Series(name, [mean for _, mean in rows], peak, peak_at)
