"""A compacted topic after the broker's own cleaner has been there: what it left of each light is enough to go on."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from flows.broker.read_back import NewestMessage, read_newest
from flows.outputs.events import Events
from flows.signals.base import SignalBatch
from flows.zone.result import ZoneResult
from schemas.city import City, Identity
from schemas.light import COLORS, LightState
from sinks.catalog import catalog
from sinks.kafka.sink import TopicSink
from sinks.lights.states import LakeStates
from tests.support.until import until

COMMAND = Path(sys.executable).with_name("cityair")
READINGS, STATES = "env.air.reading.v1", "env.light.state.v1"
LIGHTS = [*STAYS, LEAVES] = [f"light-{i:02}" for i in range(13)]
AIR = datetime(2026, 11, 22, tzinfo=UTC)
RUN = ("run", "air", "--input", "kafka", "--output", "kafka", "--stop-at-end")
SEGMENT_S = 0.1
"""Seconds by the messages' own time stamps after which a segment ends once more comes, and may be cleaned. The newest
never is. On a slow machine segments end at other places, too: what is left of a light is its newest message, and at
most one more, where a pause was made before that."""
CLEANED_WITHIN_S = 240
"""Seconds; a broker of ours looks once a second, another every 15 s by default."""


@pytest.fixture
def quick_topic(city_topics, broker):
    """The topic of states, but its segments end at once and are cleaned whenever the broker looks; returns its name."""
    name = city_topics + STATES
    broker.delete(name)
    soon = {"segment_ms": int(SEGMENT_S * 1000), "min_cleanable_dirty_ratio": 0, "delete_retention_ms": 0}
    broker.create(name, cleanup_policy="compact", **soon)
    return name


@pytest.fixture
def cleaned(quick_topic, contents):
    """Waits until the topic holds at most so many messages, and returns them, oldest first."""

    def wait(most):
        def few():
            found = contents(STATES)
            return found if len(found) <= most else None

        return until(few, lambda: f"the broker keeps {len(contents(STATES))} messages", timeout_s=CLEANED_WITHIN_S)

    return wait


@pytest.fixture
def took(quick_topic, broker):
    """How many messages the topic ever took: those that the cleaner removed have offsets, too."""

    def ask():
        consumer = Consumer(broker.client(group_id="test"))
        end = consumer.get_watermark_offsets(TopicPartition(quick_topic, 0), timeout=10)[1]
        consumer.close()
        return end

    return ask


@pytest.fixture
def remove(quick_topic, broker):
    """Has the broker forget a key, by a message without a value, which begins a segment."""

    def key(light):
        end_segment()
        producer = Producer(broker.client())
        producer.produce(quick_topic, None, light.encode())
        assert producer.flush(30) == 0

    return key


@pytest.fixture
def shown(cityair, city_file):
    """What ``cityair lights --kafka`` shows at a time: by light, the sequence of its newest state, and the color."""

    def at(when):
        lines = cityair("lights", "--kafka", "--json", "--at", when.isoformat()).splitlines()
        return {seen["light_id"]: (seen["seq"], seen["color"]) for seen in map(json.loads, lines)}

    return at


def end_segment():
    """Let so much time pass that the next message begins a segment."""
    time.sleep(2 * SEGMENT_S)


def state(light, seq):
    """A state as a flow might tell it, another color each time."""
    as_of, grade = AIR + timedelta(minutes=seq), 1 + seq % 4
    return LightState(
        light_id=light,
        seq=seq,
        color=COLORS[grade],
        grade=grade,
        parameter="pm25",
        pm10=10.0,
        pm25=20.0,
        as_of=as_of,
        valid_until=as_of + timedelta(minutes=15),
        stations=["s-0"],
        coverage=1.0,
        reason="",
        text=None,
    )


def told(seq, lights=LIGHTS):
    """The messages of a state of each light."""
    events = Events(City(city=Identity(id="tiny", name="Tiny", timezone="Asia/Seoul"), stations=[]), "air", [])
    result = ZoneResult(signals=SignalBatch(states=[state(light, seq) for light in lights]))
    [out] = events.of_zone([], result)
    assert out.topic == STATES
    return out.messages


def seqs_by_light(messages):
    """Sequences that a topic has of each light, in the order of their offsets."""
    found = {}
    for message in messages:
        found.setdefault(message.key().decode(), []).append(json.loads(message.value())["seq"])
    return found


def test_what_the_cleaner_left_is_enough(quick_topic, cleaned, took, remove, shown, tmp_path):
    def life(name, seqs, resume=None, pauses=()):
        """Send states as a flow does; return a snapshot from the middle. What follows a pause begins a segment."""
        (tmp_path / name).mkdir(exist_ok=True)
        part = TopicSink([STATES], tmp_path / name, lambda: False).build_part("topics", STATES, resume)
        for seq in seqs:
            part.write_batch([told(seq, LIGHTS if seq < 10 else STAYS)])
            if seq in pauses:
                end_segment()
            if seq == 19:
                middle = part.snapshot()
        part.snapshot()
        part.close()
        return middle if 19 in seqs else None

    middle = life("first", range(40), pauses=(12, 25, 38))
    assert took() == 10 * 13 + 30 * 12
    left = seqs_by_light(cleaned(1 + 2 * 12))
    assert set(left) == set(LIGHTS)
    assert left[LEAVES] == [9], "what was told last of it"
    assert all(left[light] in ([38, 39], [39]) for light in STAYS), "the newest segment is never cleaned"
    newest = {message.key: NewestMessage(message.sequence, message.value) for message in told(9) + told(39, STAYS)}
    assert read_newest(STATES) == newest
    at = AIR + timedelta(minutes=45)
    assert shown(at) == dict.fromkeys(STAYS, (39, "red")) | {LEAVES: (9, "gray")}

    # One that goes on from the middle replays the rest, one that lost its store everything: only what is new is sent.
    life("first", range(20, 42), middle)
    assert took() == 490 + 2 * 12
    life("lost", range(43))
    assert took() == 490 + 3 * 12

    # A light that somebody took off the topic is told again from its beginning.
    remove(LEAVES)
    end_segment()
    life("lost", [43])
    left = cleaned(2 * 12 + 1)
    assert not [message for message in left if message.key() == LEAVES.encode() and message.value()]
    assert set(read_newest(STATES)) == {light.encode() for light in STAYS}
    assert shown(at) == dict.fromkeys(STAYS, (43, "red"))
    life("last", [0])
    assert took() == 490 + 4 * 12 + 2


# More than 8 parameters: all are fixtures.
def test_a_flow_goes_on_past_the_cleaner(cityair, city_file, send, reading, cleaned, took, remove, shown, tmp_path):
    """One run ends, the next is killed before what it told is durable, and the cleaner goes by each time."""
    lights = [f'[[lights]]\nid = "light-{i}"\nlat = 35.{i}\nlon = 128.8\nstations = ["s-{i}"]' for i in range(3)]
    city_file.write_text(city_file.read_text() + "\n".join(lights) + "\n")

    def air(begin, end):
        levels = [5.0, 20.0, 50.0, 90.0]
        send(READINGS, [reading(f"s-{i}", m, pm10=9.0, pm25=levels[i]) for m in range(begin, end) for i in range(4)])

    air(1, 120)
    cityair(*RUN)
    first = took()
    air(120, 240)
    all_in_one = {"CITYAIR_EPOCH": "1m", "CITYAIR_CRASH": "topics.after_flush"}  # a first epoch may else be empty
    killed = subprocess.run([COMMAND, *RUN], env=os.environ | all_in_one, capture_output=True, timeout=240, check=False)
    assert killed.returncode == -9
    second = took()
    assert second > first > 3 * 119 / 5, "a heartbeat every five minutes"
    remove("elsewhere")  # so that what the killed run told is cleaned too
    assert sorted(message.key() for message in cleaned(4)) == [b"elsewhere", b"light-0", b"light-1", b"light-2"]

    air(240, 300)
    cityair(*RUN)
    with LakeStates(tmp_path / "lake") as lake:
        newest = {state.light_id: state for state in lake.read_all()}
    with catalog.connect(tmp_path / "lake") as con:
        sql = "SELECT count(*), count(DISTINCT (light_id, seq)) FROM light_states"
        [[stored, distinct]] = con.execute(sql).fetchall()
    sent = took() - 1
    assert sent == sum(state.seq + 1 for state in newest.values()), "each state was sent once"
    assert sent > second
    taken = second - first - 3  # by the cleaner, before they were in the lake: the killed run's, but for the newest
    assert sent - taken <= stored == distinct
    decode = msgspec.json.Decoder(LightState).decode
    assert {key.decode(): decode(one.value) for key, one in read_newest(STATES).items()} == newest
    seen = shown(max(state.as_of for state in newest.values()))
    assert seen == {light: (state.seq, state.color) for light, state in newest.items()}
    assert [color for _, color in seen.values()] == ["blue", "green", "yellow"]
