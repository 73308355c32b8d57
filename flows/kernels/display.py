"""What a light itself shows, given the messages it has received and its own clock.

The rules of ``docs/lights.md``, in the smallest program that keeps them: a maker of lights may port it line by line.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from schemas.light import Color, LightState

TOLERANCE = timedelta(minutes=5)
"""A light whose clock lies further than this before its newest message's air has a wrong clock: the pipeline itself
takes no reading stamped more than five minutes ahead."""
FACES = (None, "smile", "calm", "worry", "frown")
"""The face of each grade; none for gray. Sources tell of the first and the last."""


class Shown(NamedTuple):
    """What people see. A gray light shows no face and no number."""

    color: Color
    face: str | None
    pm10: float | None
    pm25: float | None
    text: str | None
    why: str
    """``told``: what the newest message says. Else why the light grays itself: ``nothing yet``, ``clock``, ``over``."""


def take(light_id: str, newest: LightState | None, message: LightState) -> LightState | None:
    """Keep the newest message: one for this light, with a seq above that of the newest; anything else is ignored.

    Args:
        light_id: whose memory this is.
        newest: the memory; none at start.
        message: as it came: late, twice, or out of order.
    """
    if message.light_id != light_id or (newest is not None and message.seq <= newest.seq):
        return newest
    return message


def show(
    newest: LightState | None, clock: datetime, *, synchronised: bool = True, tolerance: timedelta = TOLERANCE
) -> Shown:
    """Say what is shown now. To be asked at least once a second, messages or none.

    Args:
        newest: the memory.
        clock: the light's own, with its offset.
        synchronised: False while the light cannot say that its clock is right.
        tolerance: how far the clock may lie before the newest message's ``as_of``.
    """
    if newest is None:
        return _gray("nothing yet")
    if not synchronised or clock < newest.as_of - tolerance:
        return _gray("clock")
    if clock >= newest.valid_until:
        return _gray("over")
    return Shown(newest.color, FACES[newest.grade or 0], newest.pm10, newest.pm25, newest.text, "told")


def _gray(why: str) -> Shown:
    return Shown("gray", None, None, None, None, why)
