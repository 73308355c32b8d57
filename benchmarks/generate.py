"""Makes the inputs: a city of 48 stations by the minute, and what the seeded simulator lets them send.

One process: ``python -m benchmarks.generate KIND PATH --days N --step STEP``. KIND is ``city`` (a city file), ``lines``
(NDJSON of about 140 bytes: an id, a time and six pollutants), ``garbage`` (the same with 1 % of its lines broken) or
``table`` (Parquet with the same columns). Of the city that ships, whole: ``unlit`` (its file without the lights) and
``shipped`` (NDJSON of about 190 bytes, as ``cityair simulate`` writes it).
"""

import argparse
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pyarrow.parquet as pq
from msgspec import structs

from flows.resources import shipped
from flows.settings import load_city
from flows.simulate import lines as simulated
from flows.simulate.lines import SimulatedLines, corrupt, utc_time
from flows.simulate.simulator import Simulation
from schemas.city import City, parse
from schemas.measured import AIR

START = datetime(2025, 10, 31, 15, tzinfo=UTC)
"""A local midnight, long past: the year that follows holds no future."""
SEED = 7
GARBAGE = 0.01


class Line(msgspec.Struct):
    """A message of ``env.air.reading.v1`` with the pollutants alone; NaN is written as null."""

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
    head = f'[city]\nid = "bench"\nname = "Bench"\ntimezone = "Asia/Seoul"\n\n[windows]\nstep = "{step}"\n'
    stations = [f'[[stations]]\nid = "{s.id}"\nlat = {s.lat}\nlon = {s.lon}\n' for s in load_city(None).stations]
    return "\n".join([head, *stations])


def unlit_text() -> str:
    """The city file that ships, without its lights."""
    whole = shipped("gimhae.toml").read_text(encoding="utf-8")
    text = re.sub(r"(?ms)^lights = \[.*?^\]\n", "", whole)
    assert parse(text.encode()) == structs.replace(parse(whole.encode()), lights=[]), "more than the lights is gone"
    return text


def encode(lines: SimulatedLines, city: City) -> list[bytes]:
    """Lines as they stand on the wire, with their ends."""
    zone = ZoneInfo(city.city.timezone)
    moments, which = np.unique(lines.observed, return_inverse=True)
    times = [utc_time(int(at)).astimezone(zone).isoformat() for at in moments]
    names = [city.stations[i].id for i in lines.station.tolist()]
    values = lines.values[:, : len(AIR.gridded)].T.tolist()
    write = msgspec.json.Encoder().encode
    return [
        write(Line(*row)) + b"\n" for row in zip(names, map(times.__getitem__, which.tolist()), *values, strict=True)
    ]


def write_lines(simulation: Simulation, path: Path, garbage: float) -> int:
    """Write NDJSON, a share of it broken."""
    draw = np.random.default_rng(SEED)
    count = 0
    with path.open("wb") as file:
        for lines in simulation.days():
            texts = encode(lines, simulation.city)
            for row in np.flatnonzero(draw.random(len(texts)) < garbage).tolist():
                texts[row] = corrupt(texts[row][:-1], draw)[1] + b"\n"
            file.write(b"".join(texts))
            count += len(texts)
    return count


def write_table(simulation: Simulation, path: Path) -> int:
    """Write Parquet, in the order of arrival, a row group a day."""
    columns = ["station_id", "observed_at", *AIR.gridded]
    writer, count = None, 0
    for lines in simulation.days():
        day = simulation.to_table(lines).select(columns)
        writer = writer or pq.ParquetWriter(path, day.schema, compression="zstd")
        writer.write_table(day)
        count += day.num_rows
    if writer:
        writer.close()
    return count


def write_shipped(path: Path, days: float) -> int:
    """Write NDJSON of the city that ships."""
    city = load_city(None)
    simulation, ids = Simulation(city, START, days, SEED), [station.id for station in city.stations]
    count = 0
    with path.open("wb") as file:
        for lines in simulation.days():
            texts = simulated.encode(lines, ids, ZoneInfo(city.city.timezone))
            file.write(b"".join(text + b"\n" for text in texts))
            count += len(texts)
    return count


def main() -> None:
    """Write one input."""
    options = argparse.ArgumentParser()
    options.add_argument("kind", choices=["city", "lines", "garbage", "table", "unlit", "shipped"])
    options.add_argument("path", type=Path)
    options.add_argument("--days", type=float, default=1)
    options.add_argument("--step", default="10m")
    given = options.parse_args()
    if given.kind in ("city", "unlit"):
        given.path.write_text(city_text(given.step) if given.kind == "city" else unlit_text(), encoding="utf-8")
        count = 0
    elif given.kind == "shipped":
        count = write_shipped(given.path, given.days)
    else:
        simulation = Simulation(parse(city_text(given.step).encode()), START, given.days, SEED)
        if given.kind == "table":
            count = write_table(simulation, given.path)
        else:
            count = write_lines(simulation, given.path, GARBAGE if given.kind == "garbage" else 0.0)
    print(json.dumps({"readings": count}))


if __name__ == "__main__":
    main()
