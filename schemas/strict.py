"""What every table of a city file is made of: strict structs and durations."""

from typing import Annotated

from msgspec import Meta, Struct

Duration = Annotated[str, Meta(pattern=r"^[1-9]\d*(s|m|h|d)$", description="a whole number and s, m, h or d")]

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Strict(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Unknown keys are refused."""


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
