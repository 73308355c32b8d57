"""Dead letters are sent again exactly once, and the books of the lake still add up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Producer

from flows.broker.connection import Connection, RetryPolicy
from schemas.errors import BrokerError
from sinks.catalog import catalog
from sinks.kafka import redrive
from sinks.kafka.redrive import DeadLetterQueue, RedriveRequest
from sinks.maintenance.audit import audit

READINGS = "env.air.reading.v1"
DEAD = f"{READINGS}.dlq"
COMMAND = Path(sys.executable).with_name("cityair")


@pytest.fixture
def again(city_topics):
    """Redrives the readings' dead letters in this process."""

    def call(*reasons, limit=None):
        letters = DeadLetterQueue(READINGS)
        try:
            return letters.redrive(RedriveRequest(frozenset(reasons), limit))
        finally:
            letters.close()

    return call


@pytest.fixture
def killed():
    """Runs the command with a crash planted, in which it must die."""

    def call(point, *words):
        done = subprocess.run(
            [COMMAND, *words], env={**os.environ, "CITYAIR_CRASH": point}, capture_output=True, timeout=240, check=False
        )
        assert done.returncode == -9, done.stderr

    return call


def reading(station, minute, **values):
    at = f"2026-03-{2 + minute // 1440:02d}T{minute // 60 % 24:02d}:{minute % 60:02d}:00+09:00"
    return station.encode(), json.dumps({"station_id": station, "observed_at": at, **values}).encode()


def letter(offset, reason="unknown_station", key=None, value=None, **more):
    about = {"id": f"{READINGS}:0:{offset}", "offset": str(offset), "reason": reason, **more}
    headers = [("origin", b"gateway"), *((f"cityair_{name}", text.encode()) for name, text in about.items())]
    return key or b"k%d" % offset, value or b"value %d" % offset, headers


def values(messages):
    return [message.value() for message in messages if message.value() is not None]


def test_the_whole_circle(cityair, city_file, send, contents, tmp_path):
    run = ("run", "air", "--input", "kafka", "--output", "kafka", "--stop-at-end", "--json")
    known, new = ([reading(s, minute, pm10=20.0) for minute in range(1, 31)] for s in ("s-0", "new"))
    key, value = new[0]
    send(READINGS, [*known, *new[1:], (key, value, [("origin", b"gateway"), ("null", None)])])
    assert json.loads(cityair(*run))["rejected"] == 30
    assert len(contents(DEAD)) == 30

    city_file.write_text(city_file.read_text() + '[[stations]]\nid = "new"\nlat = 35.9\nlon = 128.8\n')
    assert cityair("redrive", READINGS) == f"{READINGS}: sent 30 unknown_station\n"
    assert cityair("redrive", READINGS) == f"{READINGS}: no dead letters\n"
    [came] = [m for m in contents(READINGS) if m.value() == value and m.offset() >= 30]
    assert came.key() == b"new"
    assert came.headers() == [("origin", b"gateway"), ("null", None)]

    assert json.loads(cityair(*run))["stored"] == 30
    assert "nothing is missing, nothing is there twice" in cityair("lake", "audit")
    with catalog.connect(tmp_path / "lake") as con:
        totals = "SELECT sum(received), sum(stored), sum(rejected), sum(duplicate) FROM ledger"
        assert con.execute(totals).fetchall() == [(90, 60, 30, 0)]
        assert con.execute("SELECT count(*) FROM air_readings WHERE station_id = 'new'").fetchall() == [(30,)]


def test_a_kill_neither_doubles_nor_loses(cityair, city_file, send, contents, again, killed, tmp_path):
    wanted = [reading(f"s-{i % 4}", i // 4, pm10=20.0) for i in range(2500)]
    send(DEAD, [letter(i, "contract" if i % 5 == 4 else "unknown_station", *wanted[i]) for i in range(2500)])
    words = ("redrive", READINGS, "--reason", "unknown_station")
    killed("redrive.before_commit", *words)
    assert values(contents(READINGS)) == []
    killed("redrive.after_commit", *words)
    assert len(contents(READINGS)) == 800
    killed("redrive.before_commit", *words)
    report = again("unknown_station")
    assert (report.sent, report.kept) == ({"unknown_station": 1200}, {"contract": 500})
    assert report.put_back == 299, "the last of them lies behind everything to be sent, and stays"
    assert sorted(values(contents(READINGS))) == sorted(v for i, (_, v) in enumerate(wanted) if i % 5 != 4)
    assert again().sent == {"contract": 500}
    assert sorted(values(contents(READINGS))) == sorted(value for _, value in wanted)

    cityair("run", "air", "--input", "kafka", "--output", "kafka", "--stop-at-end")
    assert audit(tmp_path / "lake").faults == []
    with catalog.connect(tmp_path / "lake") as con:
        [[stored, gap]] = con.execute("SELECT sum(stored), sum(gap) FROM ledger").fetchall()
    assert stored == 2500
    assert gap > 1500, "what two killed transactions wrote, and the marks of all, take offsets"


def test_letters_that_are_not_asked_for_stay(again, send, contents):
    send(DEAD, [letter(i, reason) for i, reason in enumerate(["contract", "future", "contract", "too_late"])])
    report = again("future", "contract", limit=2)
    assert (report.sent, report.kept) == ({"contract": 1, "future": 1}, {"contract": 1, "too_late": 1})
    assert report.put_back == 0, "nothing that stays lies before something that was sent"
    report = again("too_late")
    assert (report.sent, report.kept, report.put_back) == ({"too_late": 1}, {"contract": 1}, 1)
    *_, back = [message for message in contents(DEAD) if message.value()]
    assert (back.key(), back.value()) == (b"k2", b"value 2")
    headers = dict(back.headers())
    assert "cityair_id" not in headers, "the flow would take it for its own"
    assert (headers["cityair_reason"], headers["cityair_offset"], headers["origin"]) == (b"contract", b"2", b"gateway")
    assert again().sent == {"contract": 1}
    assert sorted(values(contents(READINGS))) == [b"value 0", b"value 1", b"value 2", b"value 3"]


def test_a_letter_that_was_cut_is_never_sent(cityair, city_topics, send, contents, again):
    send(DEAD, [letter(0, "too_large", cut="2000000"), letter(1)])
    said = cityair("redrive", READINGS)
    assert "sent 1 unknown_station" in said
    assert "kept 1 that cannot be sent again" in said
    assert "1 of those kept moved to the end" in said
    report = again()
    assert (report.sent, report.cut, report.put_back) == ({}, 1, 0)
    assert values(contents(READINGS)) == [b"value 1"]


def test_a_dry_run_changes_nothing(cityair, city_topics, send, contents, again):
    send(DEAD, [letter(0), letter(1, "contract")])
    before = len(contents(DEAD))
    said = cityair("redrive", "--dry-run", "--reason", "contract")
    assert f"{READINGS}: would send 1 contract\n  kept 1 unknown_station\nenv.odor.reading.v1: no dead letters" in said
    said = cityair("redrive", READINGS, "--dry-run", "--json")
    assert json.loads(said)["topics"][0]["sent"] == {"unknown_station": 1, "contract": 1}
    assert (contents(READINGS), len(contents(DEAD))) == ([], before)
    assert again().sent == {"unknown_station": 1, "contract": 1}


def test_a_broker_that_forgot_the_group_gets_nothing_twice(again, send, contents, broker):
    send(DEAD, [letter(i) for i in range(3)])
    assert again(limit=2).sent == {"unknown_station": 2}
    broker.admin.delete_consumer_groups([redrive.GROUP])[redrive.GROUP].result(30)
    assert again().sent == {"unknown_station": 1}
    assert sorted(values(contents(READINGS))) == [b"value 0", b"value 1", b"value 2"]


def test_a_flow_that_goes_on_makes_no_letter_twice(cityair, city_file, send, contents, again, killed):
    run = ("run", "air", "--input", "kafka", "--output", "kafka", "--stop-at-end")
    send(READINGS, [reading("nowhere", minute, pm10=1.0) for minute in range(1, 4)] + [(b"s-0", b"{}")])
    killed("topics.after_flush", *run)
    found = contents(DEAD)
    assert len(found) == 4
    report = again(dict(found[-1].headers())["cityair_reason"].decode())
    assert report.put_back
    cityair(*run)
    ids = [name for message in contents(DEAD) if (name := dict(message.headers()).get("cityair_id"))]
    refused_again = sum(report.sent.values())
    assert len(set(ids)) == len(ids) == 4 + refused_again


def test_an_open_redrive_hides_no_letter_from_the_flow(cityair, city_file, send, contents, broker, city_topics, killed):
    run = ("run", "air", "--input", "kafka", "--output", "kafka", "--stop-at-end")
    open_long = {"transactional.id": "cityair-redrive-open", "transaction.timeout.ms": 300_000}
    producer = Producer({"bootstrap.servers": broker.servers, **open_long})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(city_topics + DEAD, b"put back")
    producer.flush()
    send(READINGS, [reading("nowhere", minute, pm10=1.0) for minute in range(1, 4)])
    killed("topics.after_flush", *run)
    cityair(*run)
    producer.commit_transaction()
    assert len([message for message in contents(DEAD) if message.headers()]) == 3


def test_a_second_redrive_takes_over(city_topics, send, contents, again, monkeypatch):
    send(DEAD, [letter(i) for i in range(3)])
    first = DeadLetterQueue(READINGS)

    def point(_):
        monkeypatch.setattr(redrive, "failpoint", lambda _: None)
        assert again().sent == {"unknown_station": 3}

    monkeypatch.setattr(redrive, "failpoint", point)
    with pytest.raises(BrokerError, match="these letters were not sent"):
        first.redrive(RedriveRequest())
    first.close()
    assert len(contents(READINGS)) == 3


def test_errors_name_their_cure(cityair, city_topics, broker, monkeypatch):
    assert "no dead letters are kept for 'env.air.rolling.v1'" in cityair("redrive", "env.air.rolling.v1", status=2)
    assert "--reason duplicate: unknown" in cityair("redrive", "--reason", "duplicate", status=2)
    broker.delete(city_topics + DEAD)
    assert "cityair topics create" in cityair("redrive", READINGS, status=3)
    monkeypatch.setenv("CITYAIR_KAFKA", "127.0.0.1:9")
    with pytest.raises(BrokerError, match="no broker answered"):
        DeadLetterQueue(READINGS, Connection(RetryPolicy(timeout_s=1)))
