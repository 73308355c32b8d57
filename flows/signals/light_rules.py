"""The stations that each light of a city file follows, and the rules by which it shows them."""

from typing import NamedTuple

import numpy as np

from flows.arrays import F64, I32
from flows.kernels.light_rules import PM, Rules, distance_km
from schemas.city import City
from schemas.city_rules import LightSettings
from schemas.durations import minutes

FAST_CADENCE_SLOTS = 10
"""Cadences up to here are fast, as for the closing of slots."""


class Preference(NamedTuple):
    """Zone and stations of each light of a city file."""

    zones: list[str]
    """Zone of each light: that of its first named station, or of the nearest."""
    stations: list[I32]
    """Indices in the city's stations, in order of preference; empty where none is near enough."""


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


def rules(city: City, settings: LightSettings, bands: F64, zone: str) -> Rules:
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
        life=np.array([fast if station.cadence <= FAST_CADENCE_SLOTS else slow for station in stations], np.int64),
        low_cost=np.array([station.kind == "low_cost" for station in stations], bool),
        bands=bands,
        needs=np.array([name in settings.needs for name in PM]),
        coverage=settings.coverage,
        gray_life=fast,
        heartbeat=minutes(settings.heartbeat),
        dwell=minutes(settings.dwell),
        words=settings.words,
    )
