"""What every test may lean on: an environment of its own, and makers of small cities and their messages."""

import json
import os
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import settings

from flows.decode.batch import InMemory, Readings
from schemas.city import DEFAULT_PARAMETERS, City, Identity, Late, QualitySettings, Station, WindowSettings
from schemas.measured import AIR

KEPT = "CITYAIR_KAFKA"
"""It asks for tests; all others would change what is tested."""
collect_ignore = ["support/toy_deployed.py"]
"""Whoever imports it deploys the toy's tables in his process; search for doctests imports everything else."""


def pytest_configure():
    """Set what has to be set before any module is imported: a planted crash is read when the lake is."""
    os.environ.pop("CITYAIR_CRASH", None)
    settings.register_profile("cityair", deadline=None)  # how long an example takes says more of the machine
    settings.load_profile("cityair")


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in [name for name in os.environ if name.startswith("CITYAIR_") and name != KEPT]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def make_city():
    """A city of stations named a, b, c … with these cadences; ``zones`` has a letter for each, or all are in one.

    Its windows, its horizon and the memory of its tests are short, so that a few hours of air show everything.
    """

    def make(
        every=("1m", "1m", "1m"),
        *,
        ids="abcdefgh",
        zones="",
        windows=("10m", "1h", "2h"),
        step="10m",
        horizon="2h",
        room=100_000,
        limits=None,
    ):
        stations = [
            Station(id=name, lat=35.2, lon=128.9, every=cadence, zone=zones[i] if zones else "city")
            for i, (name, cadence) in enumerate(zip(ids, every, strict=False))
        ]
        assert len(stations) == len(every)
        return City(
            city=Identity(id="tiny", name="Tiny", timezone="Asia/Seoul"),
            stations=stations,
            parameters={**DEFAULT_PARAMETERS, **(limits or {})},
            windows=WindowSettings(lengths=tuple(windows), step=step),
            late=Late(horizon=horizon, waiting_room=room),
            quality=QualitySettings(flat_line_length="30m", attenuated_signal_length="1h", zeros_length="20m"),
        )

    return make


@pytest.fixture(scope="session")
def make_readings():
    """Readings from rows of (station, second, {parameter: value}), each with its own bytes, numbered from ``first``."""

    def make(rows, first=0, part=0):
        n = len(rows)
        values = np.full((n, len(AIR.values)), np.nan, order="F")
        for i, (_, _, measured) in enumerate(rows):
            for name, value in measured.items():
                values[i, AIR.values.index(name)] = value
        return Readings(
            np.array([row[0] for row in rows], np.int32),
            np.array([row[1] for row in rows], np.int64) * 1_000_000,
            values,
            np.zeros((n, len(AIR.gridded)), np.uint8),
            np.full(n, part, np.int32),
            np.arange(first, first + n),
            InMemory([b"reading %d" % (first + i) for i in range(n)]),
        )

    return make


@pytest.fixture(scope="session")
def message():
    """A message of ``env.air.reading.v1`` as bytes; None leaves a field out."""

    def make(station="a", observed_at="2026-03-01T09:00:00+09:00", **fields):
        whole = {"station_id": station, "observed_at": observed_at, **fields}
        return json.dumps({key: value for key, value in whole.items() if value is not None}).encode()

    return make


@pytest.fixture(scope="session")
def rfc3339():
    """A time, given in whole seconds since 1970, as messages write it."""

    def write(second, hours=9):
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second, hours=hours)).strftime(
            "%Y-%m-%dT%H:%M:%S"
        ) + f"{hours:+03d}:00"

    return write
