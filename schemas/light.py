"""What signal lights are told: the state the pipeline decides, and the texts people send."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.reading import Id, Micrograms, Time
from schemas.rolling import Share

Color = Literal["blue", "green", "yellow", "red", "gray"]
COLORS: tuple[Color, ...] = ("gray", "blue", "green", "yellow", "red")
"""The color of each grade: ``COLORS[grade]``; 0 stands for no grade. Source: Gyeongnam's fine-dust lights."""


class LightState(Struct, frozen=True, kw_only=True):
    """A message of ``env.light.state.v1``: what a light shows until ``valid_until``, and why.

    Gray means no trustworthy air: grade, parameter and both numbers are null then, and never otherwise may color
    and grade disagree (ValueError). A light grays itself once ``valid_until`` has passed.
    """

    light_id: Id
    seq: Annotated[int, Meta(ge=0, description="rises with every state of this light")]
    color: Color
    grade: Annotated[int, Meta(ge=1, le=4, description="1 good, 2 moderate, 3 unhealthy, 4 very unhealthy")] | None
    parameter: Literal["pm10", "pm25"] | None
    """Which of the two decided the color."""
    pm10: Micrograms | None
    pm25: Micrograms | None
    as_of: Annotated[Time, Meta(description="end of the air that was judged")]
    valid_until: Annotated[Time, Meta(description="show gray from here on, unless a newer state came")]
    stations: list[Id]
    """Whose air it is."""
    coverage: Share | None
    reason: str
    text: Annotated[str, Meta(description="a message of people, to be shown beside the color")] | None

    def __post_init__(self) -> None:
        if self.color != COLORS[self.grade or 0]:
            raise ValueError(f"color {self.color!r} does not belong to grade {self.grade}")
        if self.grade is None and (self.parameter, self.pm10, self.pm25) != (None, None, None):
            raise ValueError("a gray light has parameter, pm10 and pm25 null")


class LightMessage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of ``env.light.message.v1``: a text for a light, with an end. An empty one withdraws it."""

    light_id: Id
    text: Annotated[str, Meta(max_length=200)]
    valid_until: Annotated[Time, Meta(description="the text goes away here")]
