"""The air flow through a real broker: readings in by topic, means out by topic, the lake beside."""

import json

from sinks.catalog import catalog
from sinks.maintenance.audit import audit

READINGS, ROLLING = "env.air.reading.v1", "env.air.rolling.v1"
DEAD = f"{READINGS}.dlq"


def test_readings_come_in_and_means_go_out(cityair, city_file, send, contents, reading, tmp_path):
    send(READINGS, [reading(f"s-{s}", minute, pm10=10.0 * s + minute) for minute in range(1, 61) for s in range(4)])
    said = cityair("run", "air", "--input", "kafka", "--output", "kafka", "--stop-at-end", "--json")
    assert json.loads(said)["stored"] == 240
    lake = tmp_path / "lake"
    assert audit(lake).faults == []
    with catalog.connect(lake) as con:
        assert con.execute("SELECT DISTINCT topic FROM air_readings").fetchall() == [(READINGS,)]
        means = dict(
            con.execute("SELECT station_id, mean FROM rolling WHERE window_length = '1h' AND valid").fetchall()
        )
    assert means == {f"s-{s}": 10.0 * s + 30.5 for s in range(4)}
    sent = contents(ROLLING)
    by_station = {m.key().decode(): json.loads(m.value()) for m in sent}  # newest last
    assert {s: message["means"]["pm10"]["1h"]["mean"] for s, message in by_station.items()} == means
    ids = [dict(m.headers())["ce_id"] for m in sent]
    assert len(ids) == len(set(ids)) == 6 * 4


def test_what_is_refused_becomes_a_dead_letter_as_it_came(cityair, city_file, send, contents, reading, tmp_path):
    send(
        READINGS,
        [
            reading("s-0", 1, pm10=1.0),
            (b"odd key", b"\xff not json", [("origin", b"gateway-3"), ("null", None)]),
            reading("nowhere", 1, pm10=1.0),
            (None, None),
            reading("s-0", 1, pm10=1.0),
            reading("s-0", 1, pm10=2.0),
        ],
        partition=2,
    )
    cityair("run", "air", "--input", "kafka", "--output", "kafka", "--stop-at-end")
    letters = {dict(m.headers())["cityair_offset"]: m for m in contents(DEAD)}
    assert set(letters) == {b"1", b"2", b"3", b"5"}, "a duplicate is none: its values are in the lake"
    letter = letters[b"1"]
    assert (letter.key(), letter.value()) == (b"odd key", b"\xff not json")
    headers = dict(letter.headers())
    assert headers["origin"] == b"gateway-3"
    assert headers["null"] is None
    assert headers["cityair_topic"] == READINGS.encode()
    assert headers["cityair_partition"] == b"2"
    assert headers["cityair_reason"] == b"undecodable"
    assert headers["cityair_version"]
    assert dict(letters[b"2"].headers())["cityair_reason"] == b"unknown_station"
    assert dict(letters[b"5"].headers())["cityair_reason"] == b"superseded"
    with catalog.connect(tmp_path / "lake") as con:
        assert con.execute("SELECT received, stored, rejected, duplicate, gap FROM ledger_totals").fetchall() == [
            (6, 1, 4, 1, 0)
        ]


def test_a_second_start_goes_on(cityair, city_file, send, contents, reading, tmp_path):
    for begin in (1, 31):
        send(READINGS, [reading(f"s-{s}", m, pm25=5.0) for m in range(begin, begin + 30) for s in range(4)])
        cityair("run", "air", "--input", "kafka", "--output", "kafka", "--stop-at-end")
    ids = [dict(m.headers())["ce_id"] for m in contents(ROLLING)]
    assert len(ids) == len(set(ids)) == 6 * 4
    with catalog.connect(tmp_path / "lake") as con:
        assert con.execute("SELECT sum(stored), sum(received) FROM ledger").fetchall() == [(240, 240)]
    assert audit(tmp_path / "lake").faults == []
