"""What ``env.air.rolling.v1`` carries: the newest rolling means of a station."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.reading import Id, Time

Pollutant = Literal["pm10", "pm25", "o3", "no2", "co", "so2"]
Share = Annotated[float, Meta(ge=0, le=1)]


class Mean(Struct, frozen=True, kw_only=True):
    """A mean over one window. It exists only where at least one value counted."""

    mean: Annotated[float, Meta(description="mean of the values that count: PM in µg/m³, gases in ppm")]
    coverage: Annotated[float, Meta(ge=0, le=1, description="share of the window that values cover")]
    valid: Annotated[bool, Meta(description="coverage of at least 0.75")]


class Rolling(Struct, frozen=True, kw_only=True):
    """A message of ``env.air.rolling.v1``: at each step, the newest means of a station.

    ``means`` is keyed by pollutant, then by window length ("10m", "1h", "8h", "24h", or as the city file says).
    """

    station_id: Id
    ended_at: Time
    means: dict[Pollutant, dict[str, Mean]]
