"""What signal lights are told: the state the pipeline decides, and the texts people send."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from schemas.reading import Id, Micrograms, Ppm, Time
from schemas.rolling import Share
from schemas.slots import EPOCH

Color = Literal["blue", "green", "yellow", "red", "gray"]
COLORS: tuple[Color, ...] = ("gray", "blue", "green", "yellow", "red")
"""The color of each grade: ``COLORS[grade]``; 0 stands for no grade. Source: Gyeongnam's fine-dust lights."""
MAX_LIFE = timedelta(hours=3)
"""No state is in force for longer after its air."""
SEQ_END = 1 << 53
"""Every ``seq`` lies below: numbers from here on are not exact in JavaScript, nor in any other 64-bit float."""
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""Times of a state lie from 1970 to before this; others are a broken clock's."""
MAX_OPERATOR_TEXT = 200
"""Characters of an operator's text."""
MAX_TEXT = 500
"""Characters of a state's text: every alert at once, an operator's text and a mark, with the longest words that a city
file may have."""
NUMBERS = ("pm10", "pm25", "o3", "temperature", "humidity")
"""Fields of a state that are measured; all of them are null where the light is gray."""


class LightState(Struct, frozen=True, kw_only=True):
    """A message of ``env.light.state.v1``: what a light shows until ``valid_until``, and why.

    Gray means no trustworthy air: grade, parameter and all numbers are null then, and never otherwise may color
    and grade disagree. A state is in force for at most three hours after its air (ValueError). A light grays itself
    once ``valid_until`` has passed.
    """

    light_id: Id
    seq: Annotated[int, Meta(ge=0, lt=SEQ_END, description="rises with every state of this light")]
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
    text: Annotated[str, Meta(max_length=MAX_TEXT, description="of people, to be shown beside the color")] | None
    o3: Ppm | None = None
    """One-hour mean of the same station, as the next two."""
    temperature: Annotated[float, Meta(description="°C")] | None = None
    humidity: Annotated[float, Meta(description="%")] | None = None

    def __post_init__(self) -> None:
        if self.color != COLORS[self.grade or 0]:
            raise ValueError(f"color {self.color!r} does not belong to grade {self.grade}")
        known = self.parameter is not None or any(getattr(self, name) is not None for name in NUMBERS)
        if self.grade is None and known:
            raise ValueError(f"a gray light has parameter, {', '.join(NUMBERS[:-1])} and {NUMBERS[-1]} null")
        # In UTC, because in the night of summer time two times of one zone are no hour apart that are two.
        as_of, valid_until = self.as_of.astimezone(UTC), self.valid_until.astimezone(UTC)
        if not EPOCH <= as_of < LATEST:
            raise ValueError(f"as_of lies outside 1970 to {LATEST.year - 1}")
        if not as_of < valid_until <= as_of + MAX_LIFE:
            hours = MAX_LIFE // timedelta(hours=1)
            raise ValueError(f"valid_until must lie after as_of, by at most {hours} h")


class WildState(Struct, frozen=True):
    """A state that keeps the contract but for a color that nobody knows: it counts as the newest, and shows gray."""

    light_id: str
    seq: int
    fault: str
    """What is wrong with it."""


def parse_state(value: bytes) -> LightState | WildState:
    """Read a message of the topic of lights.

    Raises:
        ValueError: it breaks the contract; such a message changes nothing.

    >>> parse_state(b'[]')
    Traceback (most recent call last):
    ...
    ValueError: Expected `object`, got `array`
    """
    try:
        return msgspec.json.decode(value, type=LightState)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as err:
        try:
            fields = msgspec.json.decode(value)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            fields = None
        return _wild(fields, err)


def check_state(fields: dict[str, Any]) -> LightState | WildState:
    """Read the fields of a state that stand in a lake's row.

    Raises:
        ValueError: they break the contract.
    """
    try:
        return msgspec.convert(fields, LightState)
    except (msgspec.ValidationError, OverflowError) as err:
        return _wild(fields, err)


def _wild(fields: Any, err: Exception) -> WildState:
    """The state as far as it can be told, if nothing but its color is wrong."""
    fault = str(err) or type(err).__name__
    if not isinstance(fields, dict) or fields.get("color") in (None, *COLORS):
        raise ValueError(fault) from err
    try:
        color = COLORS[fields.get("grade") or 0]
        state = msgspec.convert({**fields, "color": color}, LightState)
    except (msgspec.MsgspecError, ValueError, TypeError, LookupError, OverflowError):
        raise ValueError(fault) from err
    return WildState(state.light_id, state.seq, f"no color: {str(fields['color'])[:64]!r}")


class LightMessage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of ``env.light.message.v1``: a text for a light, with an end. An empty one withdraws it."""

    light_id: Id
    text: Annotated[str, Meta(max_length=MAX_OPERATOR_TEXT)]
    valid_until: Annotated[Time, Meta(description="the text goes away here")]
