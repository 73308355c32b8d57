"""The broker that all Kafka tests stand on does what they believe of it."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from flows.broker.connection import Connection, RetryPolicy
from schemas.errors import BrokerError
from tests.support.broker import Broker, Cluster
from tests.support.until import until

ROOT = Path(__file__).resolve().parents[2]


def produce(broker, topic, payloads, **config):
    """Write, and return the offsets that the broker acknowledged."""
    acknowledged = []
    producer = Producer(broker.client(enable_idempotence=True, **config))
    for payload in payloads:
        producer.produce(topic, payload, on_delivery=lambda err, m: acknowledged.append(None if err else m.offset()))
    assert producer.flush(60) == 0
    return acknowledged


def consume(broker, topic, count, **config):
    """Read the first ``count`` payloads."""
    consumer = Consumer(broker.client(group_id=f"{topic}-test", auto_offset_reset="earliest", **config))
    consumer.subscribe([topic])
    found = []

    def read():
        for message in consumer.consume(count, timeout=0.2):
            assert not message.error(), message.error()
            found.append(message.value())
        return len(found) >= count

    try:
        until(read, lambda: f"{len(found)} of {count} messages came")
    finally:
        consumer.close()
    return found


def test_what_is_produced_is_consumed(broker, city_topics):
    topic = f"{city_topics}env.air.alert.v1"
    payloads = [b"%d" % i for i in range(1000)]
    assert produce(broker, topic, payloads) == list(range(1000))
    assert consume(broker, topic, 1000) == payloads


def test_a_test_has_the_citys_topics_to_itself(broker, city_topics):
    assert os.environ["CITYAIR_KAFKA"] == broker.servers
    assert os.environ["CITYAIR_KAFKA_PREFIX"] == city_topics
    topics = broker.admin.list_topics(timeout=10).topics
    mine = {name.removeprefix(city_topics): topic for name, topic in topics.items() if name.startswith(city_topics)}
    assert {"env.air.rolling.v1", "env.air.reading.v1.dlq", "env.odor.report.v1.dlq"} < set(mine)
    assert len(mine["env.air.reading.v1"].partitions) == 4


def test_kill_9_keeps_what_was_acknowledged(own_broker):
    own_broker.create("air")
    assert produce(own_broker, "air", [b"before"]) == [0]
    pid = own_broker.server.pid
    own_broker.kill()
    assert not Path(f"/proc/{pid}").exists()
    own_broker.start()
    assert produce(own_broker, "air", [b"after"]) == [1]
    assert consume(own_broker, "air", 2) == [b"before", b"after"]
    own_broker.stop()
    assert not own_broker.server.running


def test_it_dies_with_its_parent_however_that_dies(tmp_path, machine):
    script = """
        import sys, time
        from tests.support.broker import Broker
        broker = Broker(sys.argv[1])
        broker._format()
        broker.server.launch()
        print(broker.server.pid, flush=True)
        time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        server = int(parent.stdout.readline())
        os.kill(server, 0)
        parent.send_signal(signal.SIGKILL)

    def gone():
        try:
            os.kill(server, 0)
        except ProcessLookupError:
            return True
        # where nobody adopts orphans, they stay as a name without a body
        stat = Path(f"/proc/{server}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"

    until(gone, lambda: f"the server {server} outlived its parent")


def test_a_cluster_survives_the_death_of_a_leader(tmp_path, machine):
    with Cluster(tmp_path) as cluster:
        cluster.create("air")
        assert produce(cluster, "air", [b"before"]) == [0]
        dead = cluster.leader("air")
        cluster.kill(dead)
        assert produce(cluster, "air", [b"during"]) == [1]
        assert cluster.leader("air") != dead
        cluster.start(dead)
        until(lambda: cluster.in_sync("air") == {1, 2, 3}, lambda: f"in sync: {cluster.in_sync('air')}")
        assert consume(cluster, "air", 2) == [b"before", b"during"]


def test_a_user_may_do_what_was_allowed_and_no_more(secure_broker):
    secure_broker.create("air", "light")
    allowed = AclBinding(
        *(ResourceType.TOPIC, "air", ResourcePatternType.LITERAL, "User:gateway", "*"),
        *(AclOperation.WRITE, AclPermissionType.ALLOW),
    )
    for future in secure_broker.admin.create_acls([allowed]).values():
        future.result()
    writer = Producer(secure_broker.client_of("gateway"))

    def written(topic):
        answers = []
        try:
            writer.produce(topic, b"1", on_delivery=lambda err, _: answers.append(err and err.name()))
        except KafkaException as err:  # a client that was refused once says so before it asks again
            return [err.args[0].name()]
        assert writer.flush(60) == 0
        return answers

    until(lambda: written("air") == [None], lambda: "gateway may not write")  # rights take a moment to be known
    assert written("light") == ["TOPIC_AUTHORIZATION_FAILED"]


@pytest.mark.parametrize("who", ["flows", "a wrong password", "plain text"])
def test_cityair_is_let_in_with_its_password_over_tls_and_not_otherwise(secure_broker, monkeypatch, who):
    mine = secure_broker.environment("flows")
    if who == "a wrong password":
        mine["CITYAIR_KAFKA_PASSWORD"] = "guessed"
    if who == "plain text":
        mine = {"CITYAIR_KAFKA": secure_broker.servers}
    for name, value in mine.items():
        monkeypatch.setenv(name, value)
    connection = Connection(RetryPolicy(timeout_s=30 if who == "flows" else 2))
    admin = AdminClient(connection.settings())

    def ask(seconds):
        return admin.list_topics(timeout=seconds).brokers

    if who == "flows":
        assert len(connection.retry(ask)) == 1
    else:
        with pytest.raises(BrokerError):
            connection.retry(ask)


def test_a_taken_port_is_named(tmp_path, machine):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"port {port} is taken"):
            Broker(tmp_path, port).start()
