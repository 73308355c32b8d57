"""A real broker for every test of this folder, and a set of topics of its own for each.

``CITYAIR_TEST_KAFKA=host:port`` names a broker that runs already; else one is started, where there are java and mvn.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from schemas.topics import TOPICS, dead_letter_topic
from tests.support.broker import Broker, Secure
from tests.support.kafka_remote import Remote
from tests.support.kafka_server import missing

COMMAND = Path(sys.executable).with_name("cityair")
GIVEN = os.environ.get("CITYAIR_TEST_KAFKA", "").strip()
PARTITIONS = {"env.air.reading.v1": 4, "env.air.rolling.v1": 4}
"""One for every other topic."""


@pytest.fixture(scope="session")
def machine():
    """A machine that can start brokers."""
    if lacks := missing():
        pytest.skip(f"no Kafka broker can be started: {lacks} is missing")


@pytest.fixture(scope="session")
def broker(tmp_path_factory, request):
    """The broker of this session. It is everybody's: a test that kills or fills one asks for ``own_broker``."""
    if GIVEN:
        given = Remote(GIVEN)
        given.wait()
        yield given
        return
    request.getfixturevalue("machine")
    with Broker(tmp_path_factory.mktemp("kafka")) as started:
        yield started


@pytest.fixture
def own_broker(tmp_path, machine, monkeypatch):
    """A broker of this test alone, to be killed, stopped and started; CITYAIR_KAFKA names it."""
    with Broker(tmp_path / "kafka") as started:
        monkeypatch.setenv("CITYAIR_KAFKA", started.servers)
        yield started


@pytest.fixture(scope="session")
def secure_broker(tmp_path_factory, machine):
    """A broker with TLS, the users of `Secure.USERS`, and no rights but admin's; the session shares it."""
    if not shutil.which("openssl"):
        pytest.skip("no broker with TLS can be started: openssl is missing")
    with Secure(tmp_path_factory.mktemp("secure")) as started:
        yield started


@pytest.fixture(scope="session")
def make_topics():
    """Makes every topic of the city on a broker; their names begin with ``prefix``. Returns the names."""

    def make(broker, prefix="", partitions=PARTITIONS):
        topics = []
        for name, topic in TOPICS.items():
            kept = {"cleanup.policy": "compact"} if topic.compacted else {"retention.ms": "-1"}
            topics.append(NewTopic(prefix + name, partitions.get(name, 1), config=kept))
            if topic.direction == "in":
                topics.append(NewTopic(prefix + dead_letter_topic(name), 1, config={"retention.ms": "-1"}))
        broker.create_all(topics)
        return [topic.topic for topic in topics]

    return make


@pytest.fixture
def city_topics(broker, make_topics, monkeypatch):
    """The city's topics for this test alone, on the session's broker: yields what their names begin with.

    ``cityair`` finds them by CITYAIR_KAFKA and CITYAIR_KAFKA_PREFIX, which are set.
    """
    prefix = f"t-{secrets.token_hex(4)}."
    names = make_topics(broker, prefix)
    monkeypatch.setenv("CITYAIR_KAFKA", broker.servers)
    monkeypatch.setenv("CITYAIR_KAFKA_PREFIX", prefix)
    yield prefix
    broker.delete(*(broker.topics() & set(names)))  # a test may have removed some


@pytest.fixture
def city_file(tmp_path, monkeypatch):
    """A city of four stations by the minute; ``cityair`` finds it, a lake and a store by CITYAIR_*."""
    lines = ["[city]", 'id = "tiny"', 'name = "Tiny"', 'timezone = "Asia/Seoul"']
    for i in range(4):
        lines += ["[[stations]]", f'id = "s-{i}"', f"lat = 35.{i}", "lon = 128.8"]
    (tmp_path / "city.toml").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("CITYAIR_CITY", str(tmp_path / "city.toml"))
    monkeypatch.setenv("CITYAIR_LAKE", str(tmp_path / "lake"))
    monkeypatch.setenv("CITYAIR_EPOCH", "0.1s")
    return tmp_path / "city.toml"


@pytest.fixture
def cityair():
    """Runs the real command to its end and returns what it prints; ``status`` is what it has to end with."""

    def call(*words, status=0):
        done = subprocess.run([COMMAND, *words], capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == status, f"exit {done.returncode}: {done.stderr[-3000:]}"
        return done.stdout if status == 0 else done.stderr

    return call


@pytest.fixture
def send(city_topics, broker):
    """Puts messages into a topic: (key, value) or (key, value, headers)."""

    def put(topic, messages, partition=None):
        producer = Producer(
            {"bootstrap.servers": broker.servers, "partitioner": "murmur2_random", "enable.idempotence": True}
        )
        where = {} if partition is None else {"partition": partition}
        for key, value, *headers in messages:
            producer.produce(city_topics + topic, value, key, headers=headers[0] if headers else None, **where)
        assert producer.flush(30) == 0

    return put


@pytest.fixture
def contents(city_topics, broker):
    """Everything that is in a topic now, partition by partition."""

    def read(topic):
        consumer = Consumer(broker.client(group_id="test", enable_partition_eof=True, fetch_wait_max_ms=10))
        name = city_topics + topic
        parts = consumer.list_topics(name, timeout=10).topics[name].partitions
        consumer.assign([TopicPartition(name, n, 0) for n in parts])
        found, ended = [], 0
        while ended < len(parts):
            for message in consumer.consume(1000, 0.1):
                if message.error():
                    ended += 1
                else:
                    found.append(message)
        consumer.close()
        return sorted(found, key=lambda message: (message.partition(), message.offset()))

    return read


@pytest.fixture
def reading():
    """Makes key and value of a reading: station, minute of a day, and values."""

    def make(station, minute, **values):
        at = f"2026-03-02T{minute // 60:02d}:{minute % 60:02d}:00+09:00"
        return station.encode(), json.dumps({"station_id": station, "observed_at": at, **values}).encode()

    return make
