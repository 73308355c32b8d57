"""What the golden stores were made of: five hours of seven stations, and a run that stops in the middle of a step.

    python -m tests.golden.scenario NAME        # writes tests/golden/NAME.tar.gz with the code of this checkout

Everything here is fixed for ever: a store was written from these bytes, and resumes only with them.
"""

import argparse
import contextlib
import json
import random
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main

from flows import air
from flows.engine.dataflow import Edges, build
from flows.sources.files.source import FileSource
from schemas.city import parse
from schemas.light import LightMessage
from sinks import recovery_store as store
from sinks.lake.sink import LakeSink
from sinks.ndjson import NdjsonSink

HERE = Path(__file__).parent
SEOUL = timezone(timedelta(hours=9))
BEGIN = datetime(2026, 3, 2, 6, 0, tzinfo=SEOUL)
HOURS = 5
FAST, TEN, HOURLY = ("f-1", "f-2", "f-3", "f-4"), ("t-1",), ("r-1", "r-2")
ROWS = 90
"""Lines of an item, so that the run can stop between any two of them."""
STOPS_AFTER = 10
"""Items after which the golden run was stopped: three hours in."""
CITY = """
[city]
id = "golden"
name = "Golden"
timezone = "Asia/Seoul"
[indices]
ozone = "regression"
[light_rules]
dwell = "20m"
[[lights]]
id = "light-1"
lat = 35.21
lon = 128.81
[[lights]]
id = "light-2"
lat = 35.25
lon = 128.85
stations = ["r-2", "f-4"]
"""
WORDS = LightMessage(light_id="light-2", text="산불 조심", valid_until=BEGIN + timedelta(hours=4, minutes=30))


def city_file() -> str:
    """Write the city: four stations by the minute, one by ten, two reference stations by the hour."""
    every = dict.fromkeys(FAST, "1m") | dict.fromkeys(TEN, "10m") | dict.fromkeys(HOURLY, "1h")
    stations = [
        f'[[stations]]\nid = "{name}"\nlat = {35.2 + i / 100}\nlon = {128.8 + i / 100}\nevery = "{cadence}"\n'
        f'kind = "{"reference" if name in HOURLY else "low_cost"}"\n'
        for i, (name, cadence) in enumerate(every.items())
    ]
    return CITY + "".join(stations)


def lines() -> Iterator[str]:
    """Yield the readings in the order they came: some late, some early, some twice, some no readings at all."""
    dice = random.Random(12)
    held: dict[int, list[str]] = {}
    for minute in range(1, HOURS * 60 + 1):
        at = BEGIN + timedelta(minutes=minute)
        for name in _due(minute):
            line = json.dumps({"station_id": name, "observed_at": at.isoformat(), **_values(dice, name, minute)})
            chance = dice.random()
            if chance < 0.06:  # up to two hours late
                held.setdefault(minute + dice.choice((2, 11, 25, 115)), []).append(line)
                continue
            yield line
            if chance < 0.09:
                held.setdefault(minute + dice.randint(1, 15), []).append(line)
        yield from held.pop(minute, [])
        if minute % 37 == 5:
            yield from ("{", json.dumps({"station_id": "nobody", "observed_at": at.isoformat(), "pm10": 1}))
        if minute in (172, 178):  # a clock that is two days fast: they wait, in vain
            yield json.dumps({"station_id": "f-3", "observed_at": (at + timedelta(days=2)).isoformat(), "pm25": 9})
        if minute == 181:  # a clock that is three days slow
            yield json.dumps({"station_id": "f-3", "observed_at": (at - timedelta(days=3)).isoformat(), "pm25": 9})


def _due(minute: int) -> Iterator[str]:
    yield from FAST if not 100 < minute <= 130 else FAST[1:]  # f-1 falls silent, and comes back
    if minute % 10 == 0:
        yield from TEN
    if minute % 60 == 0:
        yield from HOURLY


def _values(dice: random.Random, name: str, minute: int) -> dict[str, Any]:
    """Rising dust: PM10 passes 150 in the first hour, so that an advisory begins; one sensor is stuck, one spikes."""
    dust = 120 + minute * 0.75
    values: dict[str, Any] = {
        "pm10": round(dust * dice.uniform(0.9, 1.1), 1),
        "pm25": round(dust * dice.uniform(0.3, 0.4), 1),
        "o3": round(dice.uniform(0.02, 0.05), 4),
        "no2": round(dice.uniform(0.01, 0.03), 4),
    }
    if name in HOURLY:
        values |= {"co": round(dice.uniform(0.3, 0.6), 2), "so2": round(dice.uniform(0.002, 0.005), 4)}
    if name == "f-2":
        values |= {"so2": 0.0, "temperature": round(dice.uniform(3, 9), 1), "humidity": None}
    if name == "f-4" and dice.random() < 0.02:
        values["pm25"] = dice.choice((400.0, 1500.0))
    if name == "t-1":
        values["status"] = {"o3": 1, "no2": 9} if minute % 50 == 0 else 0
    return values


def play(folder: Path, stops_after: int | None = None) -> None:
    """Run the air flow over ``folder/in``; with ``stops_after``, stop there as a signal would, and commit no more."""
    city = parse((folder / "city.toml").read_bytes())
    items = 0

    def stop() -> bool:
        nonlocal items
        items += 1
        return stops_after is not None and items > stops_after

    recovery = folder / "store"
    identity = store.open_recovery(recovery / air.FLOW.name)
    source = FileSource([folder / "in"], air.decoder(city), None, stop=stop, now=_received(), rows=ROWS)
    sink = LakeSink(folder / "lake", air.FLOW.name, city)
    topics = NdjsonSink(folder / "out", list(air.FLOW.outputs), identity)
    edges = Edges(source, sink, topics=topics, side_start=[WORDS])
    cli_main(
        build(air.FLOW, city, edges),
        epoch_interval=timedelta(milliseconds=5),
        recovery_config=RecoveryConfig(recovery / air.FLOW.name),
    )
    if stops_after is None:
        sink.finish()
    else:
        sink.abandon()


def _received() -> Any:
    """A clock that gives each run the same times: the pipeline's own are no part of what is compared."""
    return lambda: 1_772_500_000_000_000


def prepare(folder: Path) -> None:
    """Write the city and its readings: a file of the first hour, one of the rest."""
    (folder / "in").mkdir(parents=True)
    (folder / "city.toml").write_text(city_file())
    whole = list(lines())
    for name, part in (("a.ndjson", whole[:240]), ("b.ndjson", whole[240:])):
        (folder / "in" / name).write_text("".join(f"{line}\n" for line in part))


def unpack(name: str, folder: Path) -> Path:
    """Unpack a golden store."""
    with tarfile.open(HERE / f"{name}.tar.gz") as packed:
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.2 has none
        packed.extractall(folder, **safe)
    return folder


def main() -> None:
    """Write a golden store with the code of this checkout."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden.scenario", description=main.__doc__)
    parser.add_argument("name")
    name = parser.parse_args().name
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder)
        play(folder, STOPS_AFTER)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder / "lake" / "_cityair" / "recovery")
        with tarfile.open(HERE / f"{name}.tar.gz", "w:gz") as packed:
            for path in sorted(folder.iterdir()):
                packed.add(path, path.name)


if __name__ == "__main__":
    main()
