"""`cityair simulate --output kafka`: the readings of a file, in a topic; and the script of the README."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from flows.broker.connection import Connection, RetryPolicy
from schemas.errors import BrokerError
from sinks.kafka.producer import Publisher
from tests.support.kafka_server import free_ports

READINGS = "env.air.reading.v1"
ROOT = Path(__file__).resolve().parents[2]
HOURS = ("--start", "2026-03-02", "--days", "0.25", "--seed", "3", "--scenario", "trouble")


@pytest.fixture
def by_partition(contents):
    """The messages of the readings' topic, partition by partition."""

    def read():
        found = {}
        for message in contents(READINGS):
            found.setdefault(message.partition(), []).append(message)
        return found

    return read


def test_a_topic_holds_what_a_file_holds(cityair, city_file, by_partition, tmp_path):
    cityair("simulate", *HOURS, "--output", str(tmp_path / "day.ndjson"))
    said = cityair("simulate", *HOURS, "--output", "kafka", "--truth", str(tmp_path / "truth.json"))
    assert f"the truth to {tmp_path / 'truth.json'}" in said
    assert (tmp_path / "truth.json").read_bytes() == (tmp_path / "day.ndjson.truth.json").read_bytes()

    lines = (tmp_path / "day.ndjson").read_bytes().splitlines()
    found = by_partition()
    assert sum(map(len, found.values())) == len(lines)
    keys = {}
    for messages in found.values():
        values = [message.value() for message in messages]
        left = iter(lines)
        assert all(value in left for value in values), "they are in the order they arrived"
        for message in messages:
            keys.setdefault(message.key(), set()).add(message.partition())
    assert sorted(keys) == [b"s-0", b"s-1", b"s-2", b"s-3"], "garbage has the key of who sent it"
    assert {len(partitions) for partitions in keys.values()} == {1}


def test_the_flow_finds_the_truth(cityair, city_file, city_topics, tmp_path):
    cityair("simulate", *HOURS, "--output", "kafka", "--truth", str(tmp_path / "truth.json"))
    totals = json.loads((tmp_path / "truth.json").read_text())["totals"]
    said = json.loads(cityair("run", "air", "--input", "kafka", "--stop-at-end", "--json"))
    assert said["received"] == totals["lines"]
    assert (said["stored"], said["duplicate"]) == (totals["readings"], totals["refused"]["duplicate"])


def test_pace(cityair, city_file, by_partition):
    began = time.monotonic()
    cityair("simulate", "--start", "2026-03-02", "--days", "0.02", "--output", "kafka", "--pace", "600")
    stamps = [message.timestamp()[1] for messages in by_partition().values() for message in messages]
    lasts = 0.02 * 86400 / 600
    assert lasts / 2 < (max(stamps) - min(stamps)) / 1000 < time.monotonic() - began


def test_errors_name_their_cure(cityair, city_topics, broker, monkeypatch, tmp_path):
    (tmp_path / "mine").write_text("mine")
    day = ("simulate", "--start", "2026-03-02", "--output")
    assert "needs --output kafka" in cityair(*day, str(tmp_path / "x.ndjson"), "--pace", "60", status=2)
    assert "--force overwrites it" in cityair(*day, "kafka", "--truth", str(tmp_path / "mine"), status=2)
    broker.delete(city_topics + READINGS)
    assert "make it with: cityair topics create" in cityair(*day, "kafka", status=3)
    monkeypatch.setenv("CITYAIR_KAFKA", "127.0.0.1:9")
    with pytest.raises(BrokerError, match="no broker answered"):
        Publisher(READINGS, Connection(RetryPolicy(timeout_s=1)))


def test_the_live_script_shows_a_city_living(machine):
    [port] = free_ports(1)
    done = subprocess.run(
        [ROOT / "examples" / "live.sh", "8"],
        env={**os.environ, "PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr[-3000:]
    shown = [line for line in done.stdout.splitlines() if line.startswith("gimhae-")]
    assert len(shown) >= 20, done.stderr[-3000:]
    assert "pm25" in shown[0]
