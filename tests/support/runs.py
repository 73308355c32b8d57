"""Runs of the air flow over ``place/in.ndjson``, in this process: to its end, or stopped as a signal would.

A place holds ``city.toml`` and the input; a run's lake is ``place/NAME``, its stores are in ``place/NAME-store``.
"""

import json
from datetime import datetime, timedelta

from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main

from flows import settings
from flows.air import FLOW
from flows.engine.dataflow import Edges, build
from flows.engine.observe import RunObserver
from flows.engine.run import RunOptions, now_us
from flows.engine.run import run as run_flow
from flows.sources.files.source import FileSource
from sinks import recovery_store
from sinks.catalog import catalog
from sinks.lake.sink import LakeSink

STATIONS = ("a", "b", "c", "d")
CITY = '[city]\nid = "t"\nname = "T"\ntimezone = "Asia/Seoul"\n' + "".join(
    f'[[stations]]\nid = "{s}"\nlat = 35.2\nlon = 128.8\n' for s in STATIONS
)
START = datetime.fromisoformat("2026-03-02T00:00:00+09:00")


def line(station, minute, **values):
    at = START + timedelta(minutes=minute)
    return json.dumps({"station_id": station, "observed_at": at.isoformat(), **values}) + "\n"


def lines(first, last):
    """PM of every station and minute from ``first`` to before ``last``."""
    texts = []
    for minute in range(first, last):
        for i, station in enumerate(STATIONS):
            value = 20.0 + i + (minute * 7 + i) % 13
            texts.append(line(station, minute, pm25=value, pm10=1.5 * value))
    return "".join(texts)


def city_of(place):
    return settings.load_city(place / "city.toml")


def run(place, name, observer=None, **options):
    """Run to the end; true if a signal stopped it."""
    wanted = RunOptions(str(place / "in.ndjson"), **options)
    return run_flow(FLOW, city_of(place), wanted, place / name, place / f"{name}-store", observer or RunObserver())


def run_stopped(place, name, items=1):
    """Run until so many items were read: what is open then stays open."""
    city, store = city_of(place), place / f"{name}-store" / FLOW.name
    recovery_store.open_recovery(store)
    calls = iter([False] * items)
    source = FileSource(
        [place / "in.ndjson"], FLOW.decoder(city), None, stop=lambda: next(calls, True), now=now_us, rows=500
    )
    sink = LakeSink(place / name, FLOW.name, city)
    cli_main(build(FLOW, city, Edges(source, sink)), recovery_config=RecoveryConfig(store))
    sink.finish()


def means(lake):
    """Newest rows of rolling means, without what differs between runs."""
    query = (
        "SELECT station_id, parameter, window_length, ended_at::VARCHAR, mean, count, suspect FROM rolling ORDER BY ALL"
    )
    with catalog.connect(lake) as con:
        return con.execute(query).fetchall()
