"""``cityair topics`` on a real broker: makes what is missing, changes nothing, and names what would go wrong."""

import json
import secrets
from pathlib import Path

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from flows.broker.connection import RetryPolicy
from flows.cli.topics import app
from schemas.errors import BrokerError, UsageError
from schemas.topics import TOPICS, TopicSpec, dead_letter_topic, topic_specs
from sinks.kafka.admin import BrokerAdmin, create
from tests.support.broker import Broker
from tests.support.kafka_server import free_ports
from tests.support.until import until

READINGS, STATES = "env.air.reading.v1", "env.light.state.v1"


@pytest.fixture
def prefix(broker, monkeypatch):
    """No topics yet; CITYAIR_KAFKA and CITYAIR_KAFKA_PREFIX say where they will be."""
    prefix = f"t-{secrets.token_hex(4)}."
    monkeypatch.setenv("CITYAIR_KAFKA", broker.servers)
    monkeypatch.setenv("CITYAIR_KAFKA_PREFIX", prefix)
    yield prefix
    broker.delete(*(name for name in broker.topics() if name.startswith(prefix)))


@pytest.fixture(scope="module")
def lax(tmp_path_factory, machine):
    """A broker that makes topics unasked, and asks nobody for rights."""
    with Broker(tmp_path_factory.mktemp("lax"), settings={"auto.create.topics.enable": "true"}) as started:
        yield started


def run(*words, status=0):
    """Run ``cityair topics`` and return what it printed; an error must have the status."""
    result = CliRunner().invoke(app, [*words])
    if result.exception:
        assert getattr(result.exception, "status", None) == status, result.output
    else:
        assert status == 0
    return result.stdout


def test_create_makes_all_that_the_city_needs(broker, prefix):
    said = run("create").splitlines()
    names = {prefix + name for name in TOPICS} | {
        prefix + dead_letter_topic(n) for n, t in TOPICS.items() if t.direction == "in"
    }
    assert {line.removeprefix("made ") for line in said[:-1]} == names
    found = broker.admin.list_topics(timeout=10).topics
    assert names <= set(found)
    assert len(found[prefix + READINGS].partitions) == 4
    assert len(found[prefix + STATES].partitions) == 1
    kept = BrokerAdmin().states([prefix + READINGS, prefix + STATES])
    assert kept[prefix + READINGS].settings["message.timestamp.type"] == "LogAppendTime"
    assert kept[prefix + READINGS].settings["compression.type"] == "uncompressed"
    assert kept[prefix + STATES].settings["cleanup.policy"] == "compact"
    assert run("create").splitlines()[-1].endswith("none was missing")
    run("check")


def test_check_names_what_is_missing_and_makes_nothing(broker, prefix):
    assert f"{prefix}{STATES} " in run("check", status=3)
    assert not [name for name in broker.topics() if name.startswith(prefix)]


def test_what_differs_is_told_and_never_altered(broker, prefix):
    broker.create(prefix + READINGS, partitions=1, retention_ms=86_400_000)
    report = json.loads(run("create", "--json", status=3))
    told = {one["setting"]: one for one in report["differences"]}
    assert set(told) == {"partitions", "retention.ms", "message.timestamp.type", "compression.type"}
    assert {one["topic"] for one in report["differences"]} == {prefix + READINGS}
    assert told["partitions"]["found"] == "1"
    assert len(report["created"]) == len(report["topics"]) - 1
    assert len(broker.admin.list_topics(timeout=10).topics[prefix + READINGS].partitions) == 1
    run("check", "--partitions", "1", status=3)  # retention is still short


def test_a_topic_that_would_eat_replayed_years_is_named_in_words(broker, prefix):
    run("create")
    broker.delete(prefix + READINGS, prefix + "env.air.alert.v1")
    broker.create(prefix + READINGS, partitions=4, retention_ms=30 * 86_400_000)
    broker.create(prefix + "env.air.alert.v1", retention_ms=-1)
    said = run("check", status=3)
    _, _, why = said.partition("Retention would eat replayed years")
    assert "stamped more than 30 days ago are deleted within minutes" in why
    assert f"{prefix}{READINGS} --add-config message.timestamp.type=LogAppendTime" in why
    assert "env.air.alert.v1" not in said  # kept for ever: what its producer stamps does not matter


def test_old_readings_outlive_the_retention_of_our_topics_and_not_of_others(lax, monkeypatch):
    monkeypatch.setenv("CITYAIR_KAFKA", lax.servers)
    create(BrokerAdmin(), topic_specs(86_400)[:1])
    lax.create("plain", retention_ms=1_000_000)
    producer = Producer(lax.client())
    for topic in (READINGS, "plain"):
        producer.produce(topic, b"last year", partition=0, timestamp=1_700_000_000_000)
    assert producer.flush(10) == 0
    until(lambda: start(lax, "plain") == 1, lambda: "the broker kept what its retention should eat")
    assert start(lax, READINGS) == 0


def start(broker, topic):
    """First offset that the broker still has of partition 0."""
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import OffsetSpec

    asked = {TopicPartition(topic, 0): OffsetSpec.earliest()}
    [future] = broker.admin.list_offsets(asked).values()
    return future.result(10).offset


def test_two_creators_at_once_do_not_fail(broker, prefix):
    topics = [TopicSpec(prefix + "twice", 1, 1, {})]
    target = BrokerAdmin()
    target.create(topics)
    target.create(topics)
    assert prefix + "twice" in broker.topics()


def test_no_broker_is_status_5(monkeypatch):
    monkeypatch.setenv("CITYAIR_KAFKA", "127.0.0.1:9")
    with pytest.raises(BrokerError, match="no broker answered at 127.0.0.1:9 within 1 s") as raised:
        BrokerAdmin(RetryPolicy(timeout_s=1))
    assert raised.value.status == 5


@pytest.mark.parametrize("words", [["--user", "x"], ["--role", "nobody"], ["--role", "light", "--user", "*"]])
def test_rights_that_make_no_sense_are_refused(words):
    result = CliRunner().invoke(app, ["acls", *words])
    assert isinstance(result.exception, UsageError)


def test_rights_of_a_broker_without_an_authorizer(lax, monkeypatch):
    monkeypatch.setenv("CITYAIR_KAFKA", lax.servers)
    result = CliRunner().invoke(app, ["acls", "--role", "light", "--apply"])
    assert isinstance(result.exception, BrokerError)
    assert "Set authorizer.class.name in server.properties" in str(result.exception)


def test_a_broker_that_makes_topics_unasked_is_warned_of(lax, monkeypatch):
    monkeypatch.setenv("CITYAIR_KAFKA", lax.servers)
    monkeypatch.setenv("CITYAIR_KAFKA_PREFIX", "unasked.")
    assert "warning: auto.create.topics.enable is true" in run("create")


def test_the_broker_of_compose_starts_and_serves_the_machine(tmp_path, machine, monkeypatch):
    """Its settings on other ports; the image joins the file and the environment as this broker does."""
    from ruamel.yaml import YAML

    file = Path(__file__).resolve().parents[2] / "docker-compose.kafka.yml"
    told = YAML(typ="safe").load(file.read_text(encoding="utf-8"))["services"]["kafka"]["environment"]
    inside, outside, control = free_ports(3)
    told["KAFKA_LISTENERS"] = f"PLAINTEXT://:{inside},HOST://:{outside},CONTROLLER://:{control}"
    told["KAFKA_ADVERTISED_LISTENERS"] = f"PLAINTEXT://localhost:{inside},HOST://localhost:{outside}"
    of_image = {
        k.removeprefix("KAFKA_").lower().replace("_", "."): v for k, v in told.items() if not k.endswith("OPTS")
    }
    addresses = of_image | {"controller.quorum.voters": f"1@localhost:{control}"}
    with Broker(tmp_path, port=outside, settings=addresses) as broker:
        monkeypatch.setenv("CITYAIR_KAFKA", broker.servers)
        run("create")
        run("check")
