"""The air of an invented city, minute by minute: what its instruments would see if they were perfect.

Rhythm of day, week and season, noise common to the whole region, noise that neighbours share. Levels are near those
of a Korean city; they are plausible, not measured. A day depends on the days before it and on nothing after, so a
longer run begins with the shorter one.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np

from flows.arrays import B1, F64
from schemas.slots import DAY_S, DAY_SLOTS, DAY_US, HOUR_SLOTS, SECOND_US, SLOT_US

PM10, PM25, O3, NO2, CO, SO2, TEMPERATURE, HUMIDITY = range(8)
"""Columns, in the order of ``schemas.measured.AIR.values``."""

RANGE_KM = 6.0
"""Neighbours share local noise in proportion to exp(-distance / range)."""
REGIONAL_MINUTES = 720.0
"""Time constant of the region's noise: weather systems pass in half a day."""
LOCAL_MINUTES = 45.0
"""Time constant of a neighbourhood's noise: streets and chimneys."""


class Located(Protocol):
    """Anything with coordinates, such as a station of a city file."""

    @property
    def lat(self) -> float:
        """Degrees north."""

    @property
    def lon(self) -> float:
        """Degrees east."""


def generator(seed: int, *key: int) -> np.random.Generator:
    """Random generator of one component of one day, independent of the draws of every other component."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def kilometres(places: Sequence[Located]) -> F64:
    """Places on a plane: km east and north of their middle, shape (n, 2). Good to 1 % within a city."""
    lat = np.array([place.lat for place in places])
    lon = np.array([place.lon for place in places])
    east = (lon - lon.mean()) * 111.32 * np.cos(np.radians(lat.mean()))
    return np.column_stack([east, (lat - lat.mean()) * 110.95])


def distances(xy: F64) -> F64:
    """Distances between points, shape (n, n), in the unit of ``xy``."""
    return np.asarray(np.hypot(*np.moveaxis(xy[:, None] - xy[None], -1, 0)))


def days_of_air(places: Sequence[Located], zone: ZoneInfo, first: int, seed: int) -> Iterator[F64]:
    """Yield the air of one day after another, without end.

    Args:
        places: n points to compute the air of.
        zone: time zone of sunrise and rush hours.
        first: start of the first day, microseconds since 1970 UTC.
        seed: of everything random.

    Yields:
        Shape (1440, n, 8): PM in µg/m³, gases in ppm, °C and %, for the minutes that end 1 to 1440 min into the day.
        A day always has 24 h, whatever the clocks on the wall do.

    """
    xy = kilometres(places)
    covariance = np.exp(-distances(xy) / RANGE_KM)
    root = np.linalg.cholesky(covariance + 1e-6 * np.eye(len(places)))  # the ridge: stations may share a place
    once = generator(seed, 0)
    site = root @ once.normal(size=(len(places), 6))
    regional = once.normal(size=(1, 5))
    local = root @ once.normal(size=(len(places), 6))
    day = 0
    while True:
        draw = generator(seed, 1, day)
        common = _autocorrelated(draw.normal(size=(DAY_SLOTS, 5)), regional, REGIONAL_MINUTES)
        shared = _autocorrelated(root @ draw.normal(size=(DAY_SLOTS, len(places), 6)), local, LOCAL_MINUTES)
        regional, local = common[-1:], shared[-1]
        yield _concentrations(*_local_time(first + day * DAY_US, zone), common[:, None], shared, site)
        day += 1


def _autocorrelated(white: F64, before: F64, minutes: float) -> F64:
    """First-order autoregressive noise of unit variance from white noise, going on from ``before``."""
    from scipy.signal import lfilter  # noqa: PLC0415 - it takes a second to import, and only a simulation needs it

    keep = np.exp(-1 / minutes)
    before = before if before.ndim == white.ndim else before[None]
    return np.asarray(lfilter([np.sqrt(1 - keep**2)], [1, -keep], white, axis=0, zi=keep * before)[0])


def _local_time(start: int, zone: ZoneInfo) -> tuple[F64, B1, F64]:
    """Local hour, whether a weekend, and the year's phase in radians, of each minute of a day."""
    ends = start + SLOT_US * np.arange(1, DAY_SLOTS + 1)
    hourly = [
        datetime.fromtimestamp(int(end) / SECOND_US, UTC).astimezone(zone).utcoffset() for end in ends[::HOUR_SLOTS]
    ]
    offset = np.repeat([0.0 if o is None else o.total_seconds() for o in hourly], HOUR_SLOTS)
    local = ends / SECOND_US + offset
    day = np.floor(local / DAY_S)
    return local % DAY_S / 3600, (day + 3) % 7 >= 5, 2 * np.pi * (day % 365.25) / 365.25


def _concentrations(hour: F64, weekend: B1, year: F64, common: F64, shared: F64, site: F64) -> F64:
    """Air of a day from rhythm and noise. Noise is added to the logarithms, as concentrations multiply."""
    rush = np.exp(-(((hour - 8) / 1.6) ** 2)) + np.exp(-(((hour - 19) / 2.2) ** 2))
    sun = np.maximum(0, np.sin(np.pi * (hour - 6) / 14)) ** 1.5
    winter = np.cos(year - 0.7)
    rest = weekend.astype(float)
    traffic = rush * (1 - 0.5 * rest)

    def level(typical: float, rhythm: F64, regional: F64, column: int) -> F64:
        return np.asarray(
            typical * np.exp(rhythm[:, None] + regional + 0.14 * shared[..., column] + 0.12 * site[:, column])
        )

    weather, haze, fumes, ozone, warmth = np.moveaxis(common, -1, 0)
    air = np.empty((*shared.shape[:2], 8))
    air[..., PM25] = level(17, 0.20 * traffic - 0.15 * sun + 0.25 * winter, 0.40 * haze + 0.10 * weather, PM25)
    coarse = level(15, 0.30 * traffic + 0.15 * winter - 0.1 * rest, 0.30 * haze + 0.15 * weather, PM10)
    air[..., PM10] = air[..., PM25] + coarse
    air[..., O3] = level(0.022, 0.90 * sun - 0.30 * traffic - 0.30 * winter + 0.05 * rest, 0.20 * ozone, O3)
    air[..., NO2] = level(0.014, 0.60 * traffic - 0.30 * sun + 0.15 * winter - 0.15 * rest, 0.25 * fumes, NO2)
    air[..., CO] = level(0.38, 0.25 * traffic - 0.10 * sun + 0.15 * winter, 0.12 * fumes + 0.08 * haze, CO)
    air[..., SO2] = level(0.003, 0.25 * sun - 0.1 * rest, 0.15 * weather, SO2)
    swing = np.sin(np.pi * (hour - 9) / 12)
    air[..., TEMPERATURE] = (14.5 - 11 * winter + 4.5 * swing)[:, None] + 2.5 * warmth + 0.4 * shared[..., PM25]
    air[..., HUMIDITY] = np.clip((64 - 9 * winter - 14 * swing)[:, None] - 5 * warmth + 2 * shared[..., PM10], 8, 99)
    return air
