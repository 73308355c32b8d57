"""What ``env.air.alert.v1`` carries: stages of a zone's air alerts."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.reading import Id, Time

Stage = Literal["none", "advisory", "warning", "serious"]


class Alert(Struct, frozen=True, kw_only=True):
    """A message of ``env.air.alert.v1``: the stage a zone's alert has reached.

    ``official`` follows the rules of the Gyeongnam health-environment institute on reference stations alone; what
    low-cost monitors show is an ``early_sign``, because the rules name the official automatic stations. Only ozone
    has the stage ``serious``.
    """

    alert_id: Id
    zone: Id
    parameter: Literal["pm10", "pm25", "o3"]
    kind: Literal["official", "early_sign"]
    stage: Stage
    ended_at: Annotated[Time, Meta(description="end of the hour that decided")]
    value: Annotated[float, Meta(description="the hourly mean that decided: PM in µg/m³, ozone in ppm")]
    stations: list[Id]
    """Whose values went into it."""
