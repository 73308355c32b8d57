"""A lost recovery store is made anew from the lake, and the flow goes on to the same numbers."""

import json
import math
import shutil
from datetime import timedelta

import numpy as np
import pytest

from flows.air import FLOW
from flows.engine.rebuild import LOST, rebuild
from flows.engine.run import RunOptions, open_source
from schemas.errors import ConfigurationError
from sinks.catalog import catalog
from sinks.lake.tables import create_tables, keep_city
from sinks.maintenance import audit
from tests.support.runs import CITY, START, STATIONS, city_of, line, lines, means, run, run_stopped


@pytest.fixture
def place(tmp_path):
    (tmp_path / "city.toml").write_text(CITY)
    return tmp_path


def make_anew(place, name):
    city = city_of(place)
    source = open_source(FLOW, city, RunOptions(str(place / "in.ndjson"), stop_at_end=True), lambda: False)
    return rebuild(FLOW, city, source, place / name, place / f"{name}-store").plain()


def test_a_rebuilt_store_goes_on_to_the_same_numbers(place):
    (place / "in.ndjson").write_text(lines(1, 700))
    run(place, "lost")
    shutil.rmtree(place / "lost-store")
    with pytest.raises(Exception, match=r"BytewaxRuntimeError|error") as refused:
        run(place, "lost")
    assert "cityair rebuild --recovery" in str(refused.value.__cause__)
    shutil.rmtree(place / "lost-store")
    made = make_anew(place, "lost")
    assert made["given_up"] == 0
    assert made["partitions"] == [{"topic": "in.ndjson", "kpart": 0, "next_offset": 699 * len(STATIONS)}]
    assert made["replayed"] == 699 * len(STATIONS)
    with (place / "in.ndjson").open("a") as file:
        file.write(lines(700, 1500))
    run(place, "lost")
    run(place, "calm")
    assert means(place / "lost") == means(place / "calm")
    audit.audit(place / "lost").require()


def test_what_waited_in_the_lost_store_is_given_up_and_named(place):
    """Readings of a year later wait for the watermark; a run that a signal stops leaves them in the store alone."""
    year = 365 * 1440
    ahead = line("a", year, pm25=1.0) + line("a", year + 1, pm25=1.0)
    (place / "in.ndjson").write_text(lines(1, 100) + ahead + lines(100, 110))
    run_stopped(place, "lost", items=2)  # the leap in time ends the first
    lake = place / "lost"
    waiting = "SELECT max(waiting) FROM ledger"
    assert catalog.connect(lake).execute(waiting).fetchone() == (2,)
    shutil.rmtree(place / "lost-store")
    made = make_anew(place, "lost")
    assert (made["given_up"], made["replayed"]) == (2, 109 * len(STATIONS))
    with (place / "in.ndjson").open("a") as file:
        file.write(lines(110, 130))
    run(place, "lost")
    rejects = catalog.connect(lake).execute("SELECT koff, reason, detail FROM rejects ORDER BY koff").fetchall()
    assert [(koff, reason) for koff, reason, _ in rejects] == [(99 * 4, "future"), (99 * 4 + 1, "future")]
    assert {detail for *_, detail in rejects} == {LOST}
    audit.audit(lake).require()


def test_an_empty_ledger_is_nothing_to_rebuild_from(place):
    (place / "in.ndjson").write_text(lines(1, 3))
    create_tables(place / "lost")
    keep_city(place / "lost", city_of(place))
    with pytest.raises(ConfigurationError, match="nothing of the air flow to rebuild from"):
        make_anew(place, "lost")
    assert not (place / "lost-store").exists()


def test_a_store_that_is_there_is_not_replaced(place):
    (place / "in.ndjson").write_text(lines(1, 100))
    run(place, "kept")
    with pytest.raises(ConfigurationError, match="move it away first"):
        make_anew(place, "kept")


def hours(first, last, seed=1):
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
