"""Each role of ``config/kafka/acls.toml`` on a broker with TLS and users: what it must do it can, and nothing else.

The names of users end in ``-1``; whoever they are is said by ``CITYAIR_KAFKA*``, as for everybody.
"""

import json
import re
import secrets
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    OffsetSpec,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from typer.testing import CliRunner

from flows.broker.connection import Connection, RetryPolicy
from flows.cli import config, main
from flows.cli.topics import app
from flows.settings import load_city
from schemas.errors import BrokerError, CityairError
from schemas.topics import TOPICS, dead_letter_topic, topic_specs
from sinks.kafka import acls as access
from sinks.kafka.admin import BrokerAdmin, create
from sinks.lights.states import TopicStates
from tests.support.until import until

PREFIX = "secured."
INPUTS = [name for name, topic in TOPICS.items() if topic.direction == "in"]
LETTERS = [dead_letter_topic(name) for name in INPUTS]
OUTPUTS = [name for name in TOPICS if name not in INPUTS]
ALL = [*INPUTS, *LETTERS, *OUTPUTS]
READINGS, STATES, MESSAGES = "env.air.reading.v1", "env.light.state.v1", "env.light.message.v1"
COMMAND = Path(sys.executable).with_name("cityair")
ROLES = access.roles()
REFUSED = {"topic": "TOPIC_AUTHORIZATION_FAILED", "group": "GROUP_AUTHORIZATION_FAILED"}


@pytest.fixture(scope="module")
def people(secure_broker):
    """Environment of the user of each role; the rules given as an operator gives them, every topic with a message."""
    admin = secure_broker.admin
    passwords = {role: secrets.token_urlsafe(18) for role in ROLES}
    scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    orders = [UserScramCredentialUpsertion(f"{role}-1", scram, word.encode()) for role, word in passwords.items()]
    for future in admin.alter_user_scram_credentials(orders).values():
        future.result(60)
    with pytest.MonkeyPatch.context() as here:
        for name, value in (secure_broker.environment() | {"CITYAIR_KAFKA_PREFIX": PREFIX}).items():
            here.setenv(name, value)
        for word in ("create", "check"):
            assert CliRunner().invoke(app, [word]).exit_code == 0
        for role in ROLES:
            words = ["acls", "--role", role, "--user", f"{role}-1", "--apply"]
            assert re.search(r"\n[1-9]\d* rules given now, 0 were there", CliRunner().invoke(app, words).stdout)
            assert "\n0 rules given now, " in CliRunner().invoke(app, words).stdout
        producer = Producer(secure_broker.client())
        for name in ALL:
            producer.produce(PREFIX + name, b"{}", key=b"k", partition=0)
        assert producer.flush(60) == 0
    return {
        role: secure_broker.environment()
        | {"CITYAIR_KAFKA_PREFIX": PREFIX, "CITYAIR_KAFKA_USER": f"{role}-1", "CITYAIR_KAFKA_PASSWORD": word}
        for role, word in passwords.items()
    }


@pytest.fixture
def be(people, monkeypatch):
    """Become the user of a role; changes to its environment may follow."""

    def become(role, **changes):
        for name, value in (people[role] | changes).items():
            monkeypatch.setenv(name, value)
        return people[role]["CITYAIR_KAFKA_PASSWORD"]

    return become


def client(**more):
    return Connection().settings(**more)


def write(*names, **more):
    """Try to write to topics; return what the broker said of each, nothing for "done"."""
    said = {}
    producer = Producer(client(message_timeout_ms=45_000, **{"enable_idempotence": True} | more))
    for name in names:
        producer.produce(
            PREFIX + name,
            b"{}",
            key=b"k",
            on_delivery=lambda err, _, name=name: said.update({name: err and err.name()}),
        )
    assert producer.flush(60) == 0
    return said


def read(*names, group):
    """Try to read the first message of topics; return what the broker said of each, nothing for "done"."""
    consumer = Consumer(client(group_id=group, enable_auto_commit=False))
    said = {}
    for name in names:
        error = consumer.list_topics(PREFIX + name, timeout=60).topics[PREFIX + name].error
        if error:  # it may not even know of it
            said[name] = error.name()
    consumer.assign([TopicPartition(PREFIX + name, 0, OFFSET_BEGINNING) for name in names if name not in said])

    def heard():
        for message in consumer.consume(100, timeout=0.2):
            if message.topic() is not None:  # else it is about the group
                said[message.topic().removeprefix(PREFIX)] = message.error().name() if message.error() else None
        return set(said) == set(names)

    try:
        until(heard, lambda: f"no answer about {set(names) - set(said)}")
    finally:
        consumer.close()
    return said


def join(group):
    """Try to be one of a group and to keep its place; return what the broker said, nothing for "done"."""
    consumer = Consumer(client(group_id=group, enable_auto_commit=False, session_timeout_ms=30_000))
    joined, refused = [], []
    consumer.subscribe([PREFIX + READINGS, PREFIX + STATES], on_assign=lambda _, parts: joined.append(parts))

    def heard():
        for message in consumer.consume(10, timeout=0.2):
            if message.error() and message.topic() is None:
                refused.append(message.error().name())
        return joined or refused

    try:
        until(heard, lambda: f"no answer about group {group}")
        if joined and not refused:
            consumer.commit(offsets=[TopicPartition(joined[0][0].topic, 0, 1)], asynchronous=False)
    finally:
        consumer.close()
    return refused[0] if refused else None


@pytest.mark.parametrize("role", sorted(ROLES))
def test_each_role_writes_and_reads_its_topics_and_no_other(be, role):
    be(role)
    mine = ROLES[role]
    group = (mine.groups or ["nobody-*"])[0].replace("*", "test")
    assert write(*ALL, enable_idempotence=bool(mine.write)) == {
        name: None if name in mine.write else REFUSED["topic"] for name in ALL
    }
    assert read(*ALL, group=group) == {name: None if name in mine.read else REFUSED["topic"] for name in ALL}


def test_a_gateway_that_reads_is_refused_whatever_group_it_names(be):
    be("gateway")
    for group in ("gateway", "cityair-air", "light-1"):
        assert join(group) == REFUSED["group"]
    assert read(READINGS, group="gateway") == {READINGS: REFUSED["topic"]}


def test_a_light_is_one_of_the_lights_groups_and_of_no_other(be):
    be("light")
    assert read(STATES, group="light-07") == {STATES: None}
    assert join("cityair-air") == REFUSED["group"]
    assert write(READINGS, STATES, enable_idempotence=False) == {READINGS: REFUSED["topic"], STATES: REFUSED["topic"]}


def test_flows_keep_their_place_and_a_monitor_sees_it(be):
    be("flows")
    assert join("cityair-air") is None
    assert join("light-07") == REFUSED["group"]
    be("watch")
    admin = AdminClient(client())
    [place] = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions("cityair-air")]).values()
    assert [part.offset for part in place.result(60).topic_partitions] == [1]
    [end] = admin.list_offsets({TopicPartition(PREFIX + READINGS, 0): OffsetSpec.latest()}).values()
    assert end.result(60).offset >= 1
    assert join("cityair-air") == REFUSED["group"]


def test_dead_letters_are_sent_again_in_one_transaction(be):
    be("redrive")
    producer = Producer(client(transactional_id="cityair-redrive"))
    producer.init_transactions(60)
    producer.begin_transaction()
    producer.produce(PREFIX + READINGS, b"{}")
    producer.produce(PREFIX + dead_letter_topic(READINGS), b"{}")
    producer.commit_transaction(60)


def test_topics_are_made_by_the_role_that_may(be):
    be("topics")
    assert CliRunner().invoke(app, ["check"]).exit_code == 0
    assert CliRunner().invoke(app, ["create"]).exit_code == 0
    for role in ("gateway", "flows"):
        be(role, CITYAIR_KAFKA_PREFIX="elsewhere.")
        with pytest.raises(BrokerError, match="cannot be made: TOPIC_AUTHORIZATION_FAILED.*needs the right CREATE"):
            create(BrokerAdmin(), topic_specs(86_400)[:1])
    with pytest.raises(BrokerError, match="CLUSTER_AUTHORIZATION_FAILED: it needs the right ALTER on the cluster"):
        access.apply(BrokerAdmin(), access.rules(ROLES["flows"], "flows-1"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"CITYAIR_KAFKA_PASSWORD": "not-the-word-it-is"}, "_AUTHENTICATION"),
        ({"CITYAIR_KAFKA_USER": "stranger"}, "_AUTHENTICATION"),
        ({"CITYAIR_KAFKA_SECURITY": "SASL_PLAINTEXT"}, "no broker answered"),
        ({"CITYAIR_KAFKA_CA": ""}, "_SSL"),
    ],
)
def test_who_does_not_prove_who_it_is_gets_no_answer_and_no_secret_is_told(be, changes, said):
    word = be("gateway", **changes)
    for timeout_s in (1, 4, 16, 64):  # a handshake under load takes its time
        with pytest.raises(BrokerError) as raised:
            BrokerAdmin(RetryPolicy(timeout_s))
        whole = f"{raised.value} {raised.value.__cause__!r}"
        assert word not in whole
        assert "not-the-word-it-is" not in whole
        if said in whole:
            return
    raise AssertionError(f"it does not say {said}: {whole}")


def test_plaintext_is_refused_on_the_tls_listener(be, secure_broker, monkeypatch):
    be("gateway")
    for name in ("USER", "PASSWORD", "CA"):
        monkeypatch.delenv(f"CITYAIR_KAFKA_{name}")
    monkeypatch.setenv("CITYAIR_KAFKA_SECURITY", "PLAINTEXT")
    with pytest.raises(BrokerError, match="no broker answered"):
        BrokerAdmin(RetryPolicy(1))
    failed = []
    producer = Producer(client(message_timeout_ms=1000))
    producer.produce(PREFIX + READINGS, b"{}", on_delivery=lambda err, _: failed.append(err.name()))
    assert producer.flush(10) == 0
    assert failed == ["_MSG_TIMED_OUT"]


def test_a_password_from_a_file_is_as_good(be, tmp_path, monkeypatch):
    file = tmp_path / "password"
    file.write_text(be("gateway") + "\n")
    monkeypatch.delenv("CITYAIR_KAFKA_PASSWORD")
    monkeypatch.setenv("CITYAIR_KAFKA_PASSWORD_FILE", str(file))
    assert write(READINGS) == {READINGS: None}


def test_no_command_shows_the_password(be):
    word = be("topics")
    for group, words in (
        (config.app, ["show"]),
        (config.app, ["show", "--json"]),
        (app, ["acls"]),
        (app, ["check", "--json"]),
    ):
        result = CliRunner().invoke(group, words)
        assert result.exit_code == 0
        assert len(result.output) > 500
        assert word not in result.output


def test_rules_for_a_script():
    told = json.loads(CliRunner().invoke(app, ["acls", "--role", "light", "--user", "light-07", "--json"]).stdout)
    assert told["applied"] == []
    assert told["rules"] == [
        {"user": "light-07", "operation": "READ", "kind": "topic", "name": STATES, "prefixed": False},
        {"user": "light-07", "operation": "READ", "kind": "group", "name": "light-", "prefixed": True},
    ]


@pytest.fixture
def play(be, tmp_path, monkeypatch, capfd):
    """Run the air flow on the broker as somebody, to the end of what is there; the exit status and what was said."""

    def run(role):
        be(role)
        words = ["run", "air", "--input", "kafka", "--output", "kafka", "--stop-at-end", "--lake", str(tmp_path / role)]
        monkeypatch.setattr(sys, "argv", ["cityair", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capfd.readouterr().err

    return run


def test_the_flow_runs_with_the_rights_of_the_flows_and_with_no_others(play):
    code, said = play("flows")
    assert code == 0, said
    assert re.search(r"[1-9]\d* readings in .* [1-9]\d* rejected", said)
    for role in ("gateway", "light", "analyst"):
        code, said = play(role)
        assert code == 5, said
        assert "AUTHORIZATION" in said or "uthoriz" in said


@pytest.fixture
def put(people, secure_broker):
    """Puts a message into a topic, as one who may."""

    def send(name, value, **headers):
        producer = Producer(secure_broker.client())
        producer.produce(PREFIX + name, value, b"k", partition=0, headers=headers)
        assert producer.flush(60) == 0

    return send


@pytest.fixture
def values(people, secure_broker):
    """Every value that a topic holds, as one sees who may read all."""

    def look(name):
        more = {"isolation_level": "read_committed", "enable_partition_eof": True, "fetch_wait_max_ms": 50}
        consumer = Consumer(secure_broker.client(group_id="test", **more))
        consumer.assign([TopicPartition(PREFIX + name, 0, OFFSET_BEGINNING)])
        found = []
        while (message := consumer.poll(60)) is not None and message.error() is None:
            found.append(message.value())
        consumer.close()
        return found

    return look


@pytest.fixture
def refused(be):
    """Runs the real command as somebody who may not do that; returns what it said."""

    def call(role, *words):
        word = be(role)
        done = subprocess.run([COMMAND, *words], capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 5, done.stderr
        assert done.stdout == ""
        assert "uthoriz" in done.stderr or "AUTHORIZATION" in done.stderr
        assert "Traceback" not in done.stderr
        assert "%" not in done.stderr, "the client's own words are for nobody"
        assert word not in done.stderr
        return done.stderr

    return call


def test_the_client_of_a_light_sees_its_topic_and_can_do_nothing_else(be, put, values, cityair, refused):
    at = datetime(2026, 11, 22, tzinfo=UTC)
    state = {"light_id": "light-07", "seq": 1, "color": "blue", "grade": 1, "parameter": "pm10", "pm10": 3.0}
    state |= {"pm25": 2.0, "as_of": at.isoformat(), "valid_until": (at + timedelta(minutes=15)).isoformat()}
    put(STATES, json.dumps(state | {"stations": ["s-0"], "coverage": 1.0, "reason": "", "text": None}).encode())
    be("light")
    words = ("lights", "--kafka", "--json", "--light", "light-07", "--at")
    seen = json.loads(cityair(*words, (at + timedelta(minutes=14)).isoformat()))
    assert (seen["color"], seen["face"], seen["pm10"], seen["why"], seen["seq"]) == ("blue", "smile", 3.0, "told", 1)
    assert json.loads(cityair(*words, (at + timedelta(minutes=15)).isoformat()))["why"] == "over"

    for name in set(ALL) - {STATES}:  # the same client, and another topic
        with pytest.raises(CityairError, match=f"{PREFIX}{name}.*[Aa]uthorization failed"):
            TopicStates(load_city(None), name)
    said = values(MESSAGES)
    assert MESSAGES in refused("light", "lights", "say", "all", "x", "--until", "2099-01-01T18:00")
    assert values(MESSAGES) == said
    assert STATES in refused("gateway", *words[:-1])


def test_dead_letters_are_sent_again_by_the_role_that_may_and_by_no_other(be, put, values, cityair, refused):
    letter = b'{"light_id": "new"}'
    put(dead_letter_topic(MESSAGES), letter, cityair_id=f"{MESSAGES}:0:7", cityair_reason="unknown_station")
    before = values(MESSAGES)
    assert "TRANSACTIONAL_ID_AUTHORIZATION_FAILED" in refused("flows", "redrive", MESSAGES)
    for role in ("gateway", "operator", "analyst"):
        assert MESSAGES in refused(role, "redrive", MESSAGES)
    assert "GROUP_AUTHORIZATION_FAILED" in refused("topics", "redrive", MESSAGES, "--dry-run")
    assert values(MESSAGES) == before
    be("redrive")
    words = ("redrive", MESSAGES, "--reason", "unknown_station")
    assert cityair(*words).startswith(f"{MESSAGES}: sent 1 unknown_station\n")
    assert values(MESSAGES) == [*before, letter]
    assert "unknown_station" not in cityair(*words)
    assert values(MESSAGES) == [*before, letter]


def test_the_settings_in_the_manual_are_those_of_the_broker_tested_here(secure_broker):
    page = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    block = re.search(r"```properties\n(.*?)```", page, re.S)[1]
    told = dict(line.strip().split("=", 1) for line in block.splitlines() if line.strip())
    tested = dict(
        re.findall(r"^([\w.-]+)=(.*)$", secure_broker.server.properties.read_text(), re.M)
    )  # a later line wins
    own = {name for name in told if name.endswith(("listeners", ".location"))}
    assert {name: tested.get(name) for name in told} | dict.fromkeys(own) == told | dict.fromkeys(own)
    assert len(told) - len(own) >= 9
