"""Whom each light follows, and by which rules: what does not change from slot to slot."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from flows.arrays import B1, F64, I32, I64
from schemas.city import City
from schemas.city_rules import Lights, Words
from schemas.durations import minutes

PM: tuple[Literal["pm10", "pm25"], ...] = ("pm10", "pm25")
"""The two that decide, in the order of columns. Where their grades are equal PM2.5 is named."""
FAST = 10
"""Cadences up to ten minutes are fast, as for the closing of slots."""
EARTH_KM = 6371.0088
"""Mean radius (IUGG)."""


class Preference(NamedTuple):
    """Whom each light of the city file may follow."""

    zones: list[str]
    """The zone of each light: that of its first named station, or of the nearest."""
    stations: list[I32]
    """Indices in the city's stations, in order of preference; empty where none is near enough."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What does not change from slot to slot, for L lights and S stations of one zone."""

    lights: list[str]
    """Their ids."""
    stations: list[str]
    """Their ids, in the order of the columns of ``Air``: as in the city file."""
    candidates: I32
    """Columns of stations in order of preference, -1 behind the last, shape (L, K)."""
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


def preference(city: City, within_km: float) -> Preference:
    """Order the stations of each light: those it names, at whatever distance, or else the nearest first.

    A light keeps to one zone, so that one place can decide it: that of its first named station, or of the nearest.

    Args:
        city: the city file.
        within_km: how far the nearest may be; the limit itself is near enough. Of two as near, the file's first.
    """
    index = {station.id: i for i, station in enumerate(city.stations)}
    zone_of = [station.zone for station in city.stations]
    places = np.array([(station.lat, station.lon) for station in city.stations]).reshape(-1, 2)
    zones, orders = [], []
    for light in city.lights:
        if light.stations:
            order = preferred = [index[name] for name in light.stations]
        else:
            apart = distance_km(places, light.lat, light.lon)
            order = np.argsort(apart, kind="stable").tolist()
            preferred = [i for i in order if apart[i] <= within_km]
        zone = zone_of[order[0]] if order else ""
        zones.append(zone)
        orders.append(np.array([i for i in preferred if zone_of[i] == zone], np.int32))
    return Preference(zones, orders)


def distance_km(places: F64, lat: float, lon: float) -> F64:
    """Great-circle distance (haversine) from each of ``places``, rows of latitude and longitude, to one place.

    >>> distance_km(np.array([[90.0, 0.0]]), 0.0, 0.0).round(1)
    array([10007.6])
    """
    north, east = np.radians(places[:, 0] - lat) / 2, np.radians(places[:, 1] - lon) / 2
    square = np.sin(north) ** 2 + np.cos(np.radians(places[:, 0])) * np.cos(np.radians(lat)) * np.sin(east) ** 2
    apart: F64 = 2 * EARTH_KM * np.arcsin(np.minimum(1.0, np.sqrt(square)))
    return apart


def rules(city: City, settings: Lights, bands: F64, zone: str) -> Rules:
    """Prepare the lights of one zone.

    Args:
        city: the city file.
        settings: its ``[light_rules]``.
        bands: as in ``Rules``.
        zone: its id; columns are its stations in the order of the city file.
    """
    ours = [i for i, station in enumerate(city.stations) if station.zone == zone]
    column = np.full(len(city.stations), -1, np.int32)
    column[ours] = np.arange(len(ours))
    chosen = preference(city, settings.nearest_within_km)
    lights = [i for i, home in enumerate(chosen.zones) if home == zone]
    candidates = np.full((len(lights), max((chosen.stations[i].size for i in lights), default=0)), -1, np.int32)
    for row, i in enumerate(lights):
        candidates[row, : chosen.stations[i].size] = column[chosen.stations[i]]
    stations = [city.stations[i] for i in ours]
    fast, slow = minutes(settings.valid_for), minutes(settings.valid_for_slow)
    return Rules(
        lights=[city.lights[i].id for i in lights],
        stations=[station.id for station in stations],
        candidates=candidates,
        life=np.array([fast if station.cadence <= FAST else slow for station in stations], np.int64),
        low_cost=np.array([station.kind == "low_cost" for station in stations], bool),
        bands=bands,
        needs=np.array([name in settings.needs for name in PM]),
        coverage=settings.coverage,
        gray_life=fast,
        heartbeat=minutes(settings.heartbeat),
        dwell=minutes(settings.dwell),
        words=settings.words,
    )


def join(*parts: str) -> str:
    """Set the parts of a light's text side by side; empty ones are left out.

    >>> join("오존 주의보", "", "점검중")
    '오존 주의보 · 점검중'
    """
    return " · ".join(part for part in parts if part)
