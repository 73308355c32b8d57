"""What ``env.odor.episode.v1`` carries: an odor over an industrial complex, from its first sign to its end."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.reading import Id, Time
from schemas.rolling import Share


class SuspectedSource(Struct, frozen=True, kw_only=True):
    """A farm or plant that the wind points at. Never a proof: wind and sensors only suspect."""

    source_id: Id
    bearing: Annotated[float, Meta(ge=0, le=360, description="degrees from the leading sensor to the source")]
    distance_m: Annotated[float, Meta(ge=0, description="m from the leading sensor")]
    share: Annotated[Share, Meta(description="share of the dose that came out of its direction, weighted by nearness")]


class OdorEpisode(Struct, frozen=True, kw_only=True):
    """A message of ``env.odor.episode.v1``. The highest revision holds; ``ended_at`` is null while it is open."""

    episode_id: Id
    complex: Id
    state: Literal["open", "closed"]
    started_at: Time
    ended_at: Time | None
    lead: Literal["h2s", "nh3", "tvoc", "ou_estimate", "report"]
    """The substance that leads; ``report`` where only people noticed."""
    peak: Annotated[float, Meta(description="highest value of the lead: ppm, odor units for ou_estimate")] | None
    intensity: Annotated[float, Meta(ge=0, le=5, description="0 none to 5 unbearable; strongest substance")] | None
    sensors: list[Id]
    reports: Annotated[int, Meta(ge=0, description="citizens' reports that belong to it")]
    confidence: Share
    wind_from: Annotated[float, Meta(ge=0, le=360, description="degrees the wind blows from")] | None
    wind_sigma: Annotated[float, Meta(ge=0, le=180, description="degrees, spread of the wind's direction")] | None
    calm: Annotated[bool, Meta(description="too little wind to name a source")]
    sources: list[SuspectedSource]
    """Most likely first; empty when calm."""
    revision: Annotated[int, Meta(ge=0)]

    def __post_init__(self) -> None:
        if (self.ended_at is None) != (self.state == "open"):
            raise ValueError(f"state {self.state!r} does not fit ended_at {self.ended_at}")
