"""Cities to simulate, and a day with everything in it."""

import numpy as np
import pytest

from flows import air
from flows.settings import load_city
from flows.simulate.files import write_run
from flows.simulate.simulator import Simulation
from schemas.city import parse
from schemas.measured import AIR
from schemas.slots import SLOT_US
from tests.support.simulated import START


@pytest.fixture(scope="session")
def city():
    return load_city(None)


@pytest.fixture(scope="session")
def tiny():
    return parse(b"""
        city = { id = "tiny", name = "Tiny", timezone = "Asia/Dhaka" }
        stations = [
            { id = "ten-seconds", lat = 35.20, lon = 128.90, every = "10s" },
            { id = "minute", lat = 35.20, lon = 128.90 },
            { id = "ten-minutes", lat = 35.21, lon = 128.91, every = "10m" },
            { id = "hour", lat = 35.25, lon = 128.80, every = "1h", kind = "reference" },
        ]""")


@pytest.fixture(scope="session")
def trouble(city, tmp_path_factory):
    """A day with everything in it: its truth, its clean twin and itself as (station, observed) → values."""
    folder = tmp_path_factory.mktemp("simulated")
    summary = write_run(Simulation(city, START, 1, 7, ["trouble"]), folder / "trouble.ndjson")
    write_run(Simulation(city, START, 1, 7, []), folder / "clear.ndjson")
    return summary, values_of(city, folder / "clear.ndjson"), values_of(city, folder / "trouble.ndjson")


def values_of(city, path):
    """First values of each station and time, shape (minutes, stations, 8), NaN where nothing was sent."""
    readings, _, _ = air.decoder(city).lines(0, 0, path.read_bytes())
    grid = np.full((1440, len(city.stations), len(AIR.values)), np.nan)
    slot = (readings.observed - round(START.timestamp() * 1e6)) // SLOT_US - 1
    inside = slot < 1440
    grid[slot[inside], readings.station[inside]] = readings.values[inside]
    return grid
