"""Durations as city files and column maps write them: ``10m``, ``1h``."""

from typing import Annotated

from msgspec import Meta

Duration = Annotated[str, Meta(pattern=r"^[1-9]\d*(s|m|h|d)$", description="a whole number and s, m, h or d")]

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(duration: str) -> int:
    """Seconds of a duration.

    >>> seconds("10m")
    600
    """
    return int(duration[:-1]) * SECONDS[duration[-1]]


def minutes(duration: str) -> int:
    """Whole minutes of a duration, rounded up: the slots it takes on the grid.

    >>> minutes("90s"), minutes("8h")
    (2, 480)
    """
    return -(-seconds(duration) // 60)
