"""The lights of a zone and the stations they follow: what does not change from slot to slot."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from flows.arrays import B1, F64, I32, I64
from schemas.city_rules import Words

PM: tuple[Literal["pm10", "pm25"], ...] = ("pm10", "pm25")
"""Pollutants that decide a light, in the order of columns. Where their grades are equal PM2.5 is named."""
EARTH_KM = 6371.0088
"""Mean radius (IUGG)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What does not change from slot to slot, for L lights and S stations of one zone."""

    lights: list[str]
    """Their ids."""
    stations: list[str]
    """Their ids, in the order of the columns of ``Airs``: as in the city file."""
    candidates: I32
    """Columns of stations in the order of preference, -1 behind the last, shape (L, K)."""
    life: I64
    """Minutes that a station's air may be shown, shape (S,)."""
    low_cost: B1
    """Shape (S,)."""
    bands: F64
    """Upper ends of the grades 1 to 3 of PM10 and PM2.5 in µg/m³, shape (2, 3)."""
    needs: B1
    """Which of the two must be there, shape (2,)."""
    coverage: float
    gray_life: int
    """Minutes that a gray state, and its text, lasts."""
    heartbeat: int
    dwell: int
    words: Words


def distance_km(places: F64, lat: float, lon: float) -> F64:
    """Great-circle distance (haversine) from each of ``places``, rows of latitude and longitude, to one place.

    >>> distance_km(np.array([[90.0, 0.0]]), 0.0, 0.0).round(1)
    array([10007.6])
    """
    north, east = np.radians(places[:, 0] - lat) / 2, np.radians(places[:, 1] - lon) / 2
    square = np.sin(north) ** 2 + np.cos(np.radians(places[:, 0])) * np.cos(np.radians(lat)) * np.sin(east) ** 2
    apart: F64 = 2 * EARTH_KM * np.arcsin(np.minimum(1.0, np.sqrt(square)))
    return apart
