"""Two tables of a city file: ``[light_rules]``, what lights show, and ``[alerts]``, when alerts begin and end."""

from typing import Annotated, Literal

from msgspec import Meta, field

from schemas.durations import Duration, minutes
from schemas.strict import Strict

Level = Annotated[float, Meta(gt=0)]


class Words(Strict, frozen=True, kw_only=True):
    """Words that lights show, in the city's language."""

    pm10: str = "미세먼지"
    pm25: str = "초미세먼지"
    o3: str = "오존"
    advisory: str = "주의보"
    warning: str = "경보"
    serious: str = "중대경보"
    nearby: str = "인근 측정소"
    """Not the light's first station decides."""
    out_of_service: str = "점검중"
    """The light is gray."""
    low_cost: str = "간이측정기"
    """Added to the reason where a low-cost monitor decides: Korea's rule for showing simple meters to the public."""


class LightSettings(Strict, frozen=True, kw_only=True):
    """When a light may show a color, and how fast it changes."""

    nearest_within_km: Annotated[float, Meta(gt=0, le=100)] = 10.0
    """A light without stations of its own follows the nearest, up to here. A proposal; no rule is published."""
    coverage: Annotated[float, Meta(ge=0.75, le=1)] = 0.75
    """Share of the hour that a mean must cover: Korea's and the US's usual 75 %. Less shows no color."""
    needs: tuple[Literal["pm10", "pm25"], ...] = ("pm10", "pm25")
    """Without a mean of each of these a station does not decide. Both, because the worse of both is shown and one
    alone may hide the worse; a city that measures one of them says so here."""
    valid_for: Duration = "15m"
    """How long after its air a color may be shown, for cadences up to 10 min. A proposal."""
    valid_for_slow: Duration = "2h"
    """Likewise for slower stations, so for official hours: a proposal; no rule on failures is published."""
    heartbeat: Duration = "5m"
    """A light is told its state again after this, changed or not."""
    dwell: Duration = "30m"
    """A better grade shows after the air was better for so long. With 30 min, noise at a boundary makes four changes
    an hour at most."""
    words: Words = field(default_factory=Words)

    def __post_init__(self) -> None:
        fast, slow = minutes(self.valid_for), minutes(self.valid_for_slow)
        if not self.needs or len(set(self.needs)) < len(self.needs):
            raise ValueError("light_rules.needs must name pm10, pm25 or both, each once")
        if not 12 <= fast <= 60:  # a 10 min cadence closes a minute past due, and may be told a minute later
            raise ValueError(f"light_rules.valid_for = {self.valid_for!r} must lie between 12m and 1h")
        if not 106 <= slow <= 180:  # an official hour may close 45 min late, when the one before is 1 h 45 min old
            raise ValueError(f"light_rules.valid_for_slow = {self.valid_for_slow!r} must lie between 106m and 3h")
        if 2 * minutes(self.heartbeat) >= fast:
            raise ValueError(
                f"light_rules.heartbeat = {self.heartbeat!r} must be less than half of valid_for = {self.valid_for!r}, "
                "or one lost message grays a light"
            )
        if minutes(self.dwell) > 120:
            raise ValueError(f"light_rules.dwell = {self.dwell!r} may not exceed 2h: by then the air is another")


class Levels(Strict, frozen=True, kw_only=True):
    """When the stages of one pollutant begin and end. The first number is of the advisory, the next of the warning."""

    issue: tuple[Level, ...]
    """A stage begins at or above its level."""
    clear: tuple[Level, ...]
    """A stage ends below its level."""
    hours: Annotated[int, Meta(ge=1, le=24)]
    """So many hours in a row, at or above, begin a stage."""

    def __post_init__(self) -> None:
        if not 0 < len(self.issue) == len(self.clear) <= 3:
            raise ValueError("issue and clear must have a level for each stage: advisory, warning, serious")
        if sorted(set(self.issue)) != list(self.issue) or sorted(set(self.clear)) != list(self.clear):
            raise ValueError(f"issue and clear must rise from stage to stage; got {self.issue}, {self.clear}")
        if any(end > begin for begin, end in zip(self.issue, self.clear, strict=True)):
            raise ValueError(f"a stage may not end above where it begins; got {self.issue}, {self.clear}")


class Pm10Levels(Levels, frozen=True, kw_only=True):
    """PM10 in µg/m³, of the zone's mean. Source: table of the Gyeongnam health-environment institute."""

    issue: tuple[Level, ...] = (150.0, 300.0)
    clear: tuple[Level, ...] = (100.0, 150.0)
    hours: Annotated[int, Meta(ge=1, le=24)] = 2


class Pm25Levels(Levels, frozen=True, kw_only=True):
    """PM2.5 in µg/m³, of the zone's mean. Source: as for PM10."""

    issue: tuple[Level, ...] = (75.0, 150.0)
    clear: tuple[Level, ...] = (35.0, 75.0)
    hours: Annotated[int, Meta(ge=1, le=24)] = 2


class OzoneLevels(Levels, frozen=True, kw_only=True):
    """Ozone in ppm, of the zone's highest station. Source: as for PM10."""

    issue: tuple[Level, ...] = (0.12, 0.3, 0.5)
    clear: tuple[Level, ...] = (0.12, 0.3, 0.5)
    hours: Annotated[int, Meta(ge=1, le=24)] = 1


class AlertSettings(Strict, frozen=True, kw_only=True):
    """When a zone's alerts begin and end."""

    as_published: bool = True
    """Compare levels with the figure as it is published: PM in whole µg/m³, ozone in 0.001 ppm, halves up. The sources
    do not say; so nobody reads 150 on a board under a rule of 150 that was not applied. False compares exact means."""
    pm10: Pm10Levels = field(default_factory=Pm10Levels)
    pm25: Pm25Levels = field(default_factory=Pm25Levels)
    o3: OzoneLevels = field(default_factory=OzoneLevels)
