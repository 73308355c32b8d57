"""A lost recovery store is made anew from the lake, and the flow goes on to the same numbers."""

import json
import math
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from flows import air, settings
from flows.cli.run import Tally, Wanted, play
from flows.engine import rebuild
from flows.sources.files import source as files
from schemas.errors import ConfigurationError
from sinks.catalog import catalog
from sinks.maintenance import audit

STATIONS = ("a", "b", "c", "d")
CITY = '[city]\nid = "t"\nname = "T"\ntimezone = "Asia/Seoul"\n' + "".join(
    f'[[stations]]\nid = "{s}"\nlat = 35.2\nlon = 128.8\n' for s in STATIONS
)
START = datetime.fromisoformat("2026-03-02T00:00:00+09:00")


def lines(first: int, last: int) -> str:
    said = []
    for minute in range(first, last):
        at = START + timedelta(minutes=minute)
        for i, station in enumerate(STATIONS):
            value = 20.0 + i + (minute * 7 + i) % 13
            reading = {"station_id": station, "observed_at": at.isoformat(), "pm25": value, "pm10": 1.5 * value}
            said.append(json.dumps(reading) + "\n")
    return "".join(said)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "city.toml").write_text(CITY)
    return tmp_path


def run(place: Path, name: str) -> None:
    city = settings.load_city(place / "city.toml")
    play(city, Wanted(str(place / "in.ndjson")), place / name, place / f"{name}-store", Tally())


def make_anew(place: Path, name: str) -> dict:
    city = settings.load_city(place / "city.toml")
    source = files.open_input(str(place / "in.ndjson"), None, air.decoder(city), lambda: False, lambda: 0)
    return rebuild.rebuild(city, source, place / name, place / f"{name}-store")


def means(lake: Path) -> list:
    con = catalog.connect(lake)
    return con.execute(
        "SELECT station_id, parameter, window_length, ended_at::VARCHAR, mean, count, suspect FROM rolling ORDER BY ALL"
    ).fetchall()


def test_a_rebuilt_store_goes_on_to_the_same_numbers(place):
    (place / "in.ndjson").write_text(lines(1, 700))
    run(place, "lost")
    shutil.rmtree(place / "lost-store")
    with pytest.raises(Exception, match=r"BytewaxRuntimeError|error") as refused:
        run(place, "lost")
    assert "cityair rebuild --recovery" in str(refused.value.__cause__)
    shutil.rmtree(place / "lost-store")
    made = make_anew(place, "lost")
    assert made["partitions"] == [{"topic": "in.ndjson", "kpart": 0, "next_offset": 699 * len(STATIONS)}]
    assert made["replayed"] == 699 * len(STATIONS)
    with (place / "in.ndjson").open("a") as file:
        file.write(lines(700, 1500))
    run(place, "lost")
    run(place, "calm")
    assert means(place / "lost") == means(place / "calm")
    audit.audit(place / "lost").require()


def test_a_store_that_is_there_is_not_replaced(place):
    (place / "in.ndjson").write_text(lines(1, 100))
    run(place, "kept")
    with pytest.raises(ConfigurationError, match="move it away first"):
        make_anew(place, "kept")


def hours(first: int, last: int, seed: int = 1) -> list[str]:
    """Ozone by the hour; about when the store is lost, every tenth reading is 23 hours late."""
    random = np.random.default_rng(seed)
    arriving = []
    for hour in range(last):
        for i, station in enumerate(STATIONS):
            at = START + timedelta(hours=hour)
            ozone = round(0.03 + 0.02 * math.sin(hour / 24 * 2 * math.pi + i) + random.normal(0, 0.004), 3)
            reading = {"station_id": station, "observed_at": at.isoformat(), "o3": max(0.0, ozone)}
            arriving.append((hour + 23 * (380 < hour < 420 and random.random() < 0.1), json.dumps(reading) + "\n"))
    return [line for hour, line in sorted(arriving, key=lambda item: item[0]) if first <= hour < last]


def test_ozone_has_its_two_weeks_again(place):
    text = CITY.replace("lon = 128.8\n", 'lon = 128.8\nevery = "1h"\n')
    (place / "city.toml").write_text(text + '[indices]\nozone = "regression"\n')
    (place / "in.ndjson").write_text("".join(hours(0, 410)))
    run(place, "lost")
    shutil.rmtree(place / "lost-store")
    made = make_anew(place, "lost")
    assert 390 * len(STATIONS) > made["replayed"] > 380 * len(STATIONS), "two weeks and what may come late, not all"
    with (place / "in.ndjson").open("a") as file:
        file.write("".join(hours(410, 440)))
    run(place, "lost")
    run(place, "calm")
    question = "SELECT * EXCLUDE (revision) FROM aqi ORDER BY ALL"
    found, expected = (catalog.connect(place / name).execute(question).fetchall() for name in ("lost", "calm"))
    assert found == expected
    assert len(found) > 430 * len(STATIONS)
    fitted = [row for row in found if row[-3] <= 84]
    assert len(fitted) > 90 * len(STATIONS)
    audit.audit(place / "lost").require()
