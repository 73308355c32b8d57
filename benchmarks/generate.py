"""Makes the inputs: a city of 48 stations by the minute, and what the seeded simulator lets them send.

One process: ``python -m benchmarks.generate KIND PATH --days N --step STEP``. KIND is ``city`` (a city file), ``lines``
(NDJSON of about 140 bytes: an id, a time and six pollutants), ``garbage`` (the same with 1 % of its lines broken) or
``table`` (Parquet with the same columns).
"""

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq

from flows.settings import load_city
from flows.sources.simulated_lines import Lines, garble, moment
from flows.sources.simulator import Simulation
from schemas.city import City, parse
from schemas.reading import PARAMETERS

START = datetime(2025, 10, 31, 15, tzinfo=UTC)
"""A local midnight, long past: the year that follows has no future in it."""
SEED = 7
GARBAGE = 0.01
COLUMNS = ["station_id", "observed_at", *PARAMETERS]


class Line(msgspec.Struct):
    """A message as design.md 3.1 has it, with the pollutants alone."""

    station_id: str
    observed_at: str
    pm10: float
    pm25: float
    o3: float
    no2: float
    co: float
    so2: float


def city_text(step: str) -> str:
    """A city file: the places of the shipped city, all 48 by the minute."""
    stations = load_city(None).stations
    entries = [f'[[stations]]\nid = "{s.id}"\nlat = {s.lat}\nlon = {s.lon}\n' for s in stations]
    return f'[city]\nid = "bench"\nname = "Bench"\ntimezone = "Asia/Seoul"\n\n[windows]\nstep = "{step}"\n\n' + "\n".join(entries)


def encode(lines: Lines, city: City, zone: str) -> list[bytes]:
    """Lines as they stand on the wire, with their ends."""
    moments, which = np.unique(lines.observed, return_inverse=True)
    times = [moment(int(at)).astimezone(msgspec_zone(zone)).isoformat() for at in moments]
    names = [city.stations[i].id for i in lines.station.tolist()]
    values = lines.values[:, : len(PARAMETERS)].T.tolist()
    records = map(Line, names, map(times.__getitem__, which.tolist()), *values)
    write = msgspec.json.Encoder().encode
    return [write(record) + b"\n" for record in records]


def msgspec_zone(name: str) -> "datetime.tzinfo":  # type: ignore[name-defined]
    """The city's time zone."""
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)
