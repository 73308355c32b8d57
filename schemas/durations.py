"""Durations as city files and column maps write them, ``10m``, ``1h``, and which of them fit the hour."""

import itertools
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

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


CADENCES = ("10s", "20s", "30s", "1m", "2m", "3m", "4m", "5m", "6m", "10m", "12m", "15m", "20m", "30m", "1h")
"""Cadences that divide the hour, which is all that would do above a minute; of shorter ones, the usual."""


def nearest(duration: str, known: Iterable[str] = CADENCES) -> str:
    """The durations next below and next above one, for a message that says what would do.

    >>> nearest("25m"), nearest("2h")
    ("'20m' or '30m'", "'1h'")
    """
    below = max((of for of in known if seconds(of) <= seconds(duration)), key=seconds, default="")
    above = min((of for of in known if seconds(of) > seconds(duration)), key=seconds, default="")
    return " or ".join(repr(of) for of in (below, above) if of)


def check_cadence(duration: str, whose: str) -> None:
    """Refuse a cadence that does not divide the hour.

    Raises:
        ValueError: saying whose it is, and which would do.
    """
    every = seconds(duration)
    if every > 3600:
        raise ValueError(f"{whose}: every = {duration!r} is longer than 1h, the slowest cadence kept")
    if 3600 % every or (every > 60 and every % 60):
        raise ValueError(
            f"{whose}: every = {duration!r} does not divide the hour, by whole minutes above 1m: no window would end "
            f"with an interval; give {nearest(duration)}"
        )


def check_whole_hours(name: str, zone: ZoneInfo) -> None:
    """Refuse a time zone that is off the whole hour.

    Raises:
        ValueError: saying which would do.
    """
    for year, month in itertools.product(range(2020, 2040), (1, 4, 7, 10)):
        first = datetime(year, month, 1, tzinfo=zone)
        ahead = first.utcoffset() or timedelta()
        if ahead % timedelta(hours=1):
            hours = ahead // timedelta(hours=1)
            would_do = " or ".join(repr(f"Etc/GMT{-hour:+d}") for hour in (hours, hours + 1))
            raise ValueError(
                f"city.timezone = {name!r} is off the whole hour ({first:%z}), and slots and hours are cut by UTC: its "
                "hours would not end on the hour, and no 24 h mean at midnight; give the nearest zone of whole hours, "
                f"{would_do} (their sign is that of POSIX: ahead of UTC is minus)"
            )
