"""What a light itself shows, given the messages it has received and its own clock.

The rules of ``docs/lights.md``, in the smallest program that keeps them: a maker of lights may port it line by line.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from schemas.light import Color, LightState, WildState, parse_state

TOLERANCE = timedelta(minutes=5)
"""A light whose clock lies further than this before its newest message's air has a wrong clock: the pipeline itself
takes no reading stamped more than five minutes ahead."""
FACES = (None, "smile", "calm", "worry", "frown")
"""The face of each grade; none for gray. Sources tell of the first and the last."""

Memory = LightState | WildState | None
"""The newest message of a light; none at its start."""


class Shown(NamedTuple):
    """What people see. A gray light shows no face and no number."""

    color: Color
    face: str | None
    pm10: float | None
    pm25: float | None
    o3: float | None
    temperature: float | None
    humidity: float | None
    text: str | None
    why: str
    """``told``: what the newest message says. Else why the light grays itself: ``nothing yet``, ``color`` (an unknown
    one), ``clock``, ``over``."""


def receive(light_id: str, newest: Memory, value: bytes | None) -> Memory:
    """Keep the newest message, as it came off the topic.

    Args:
        light_id: whose memory this is.
        newest: the memory.
        value: bytes of the message; none of a tombstone. What breaks the contract changes nothing.
    """
    if value is None:
        return newest
    try:
        message = parse_state(value)
    except ValueError:
        return newest
    return take(light_id, newest, message)


def take(light_id: str, newest: Memory, message: LightState | WildState) -> Memory:
    """Keep the newest message: one for this light, with a seq above that of the newest; anything else is ignored.

    Args:
        light_id: whose memory this is.
        newest: the memory.
        message: as it came: late, twice, or out of order.
    """
    if message.light_id != light_id or (newest is not None and message.seq <= newest.seq):
        return newest
    return message


def show(newest: Memory, clock: datetime, *, synchronised: bool = True, tolerance: timedelta = TOLERANCE) -> Shown:
    """Say what is shown now. To be asked at least once a second, messages or none.

    Args:
        newest: the memory.
        clock: the light's own, with its offset.
        synchronised: False while the light cannot say that its clock is right.
        tolerance: how far the clock may lie before the newest message's ``as_of``.
    """
    if newest is None:
        return gray("nothing yet")
    if isinstance(newest, WildState):
        return gray("color")
    if not synchronised or newest.as_of.astimezone(UTC) - clock.astimezone(UTC) > tolerance:
        return gray("clock")
    if clock.astimezone(UTC) >= newest.valid_until.astimezone(UTC):
        return gray("over")
    numbers = newest.pm10, newest.pm25, newest.o3, newest.temperature, newest.humidity
    return Shown(newest.color, FACES[newest.grade or 0], *numbers, newest.text, "told")


def gray(why: str) -> Shown:
    """What a light shows that grays itself."""
    return Shown("gray", None, None, None, None, None, None, None, why)
