"""What cannot be read is a reject, through a real broker: never the end of a flow, and no hole in its books."""

import json
import time

import msgspec
import pytest
from confluent_kafka import KafkaError, TopicPartition

from flows.broker.connection import Connection
from flows.broker.read_back import read_newest
from flows.broker.unreadable import readable_from
from flows.settings import load_city
from schemas.topics import topic_specs
from sinks.catalog import catalog
from sinks.kafka.admin import BrokerAdmin
from sinks.lights.states import TopicStates
from sinks.maintenance.audit import audit
from tests.support.record_batches import Record, batch, flip, send

READINGS, WORDS, STATES = "env.air.reading.v1", "env.light.message.v1", "env.light.state.v1"
BAD_NAME = ((b"\xff\xfe", b"x"), (b"origin", b"y"))
BOMB_BYTES = 120_000_000


@pytest.fixture
def produce(broker, city_topics):
    """Sends batches as they are; returns the broker's error codes."""

    def put(topic, *batches, partition=0):
        return [send(broker.servers, city_topics + topic, records, partition) for records in batches]

    return put


@pytest.fixture
def damage(broker, city_topics):
    """Flips a digit in the broker's log."""
    if not hasattr(broker, "folder"):
        pytest.skip("the broker's disk is not at hand")

    def change(topic, old, new, partition=0, **how):
        flip(broker.folder / "data", city_topics + topic, old, new, partition, **how)

    return change


@pytest.fixture
def run(cityair, city_file, tmp_path):
    """Runs the air flow to the end of its topics; returns the sums of its ledger."""

    def to_end():
        cityair("run", "air", "--input", "kafka", "--output", "kafka", "--stop-at-end")
        assert audit(tmp_path / "lake").faults == []
        with catalog.connect(tmp_path / "lake") as con:
            [sums] = con.execute(
                "SELECT sum(received), sum(stored), sum(rejected), sum(duplicate), sum(gap) FROM ledger"
            ).fetchall()
        return tuple(int(each) for each in sums)

    return to_end


@pytest.fixture
def light(city_file):
    """A light in the city, so that messages for lights are read."""
    row = '[[lights]]\nid = "light-07"\nlat = 35.0\nlon = 128.8\nstations = ["s-0"]\n'
    city_file.write_text(city_file.read_text() + row)


@pytest.fixture
def rejects(tmp_path):
    """Rows of ``rejects``."""

    def rows():
        with catalog.connect(tmp_path / "lake") as con:
            return con.execute("SELECT topic, koff, reason, payload, detail FROM rejects ORDER BY ALL").fetchall()

    return rows


@pytest.fixture
def letters(contents):
    """Offset, reason and bytes of the dead letters of a topic."""

    def read(topic):
        sent = [(dict(letter.headers()), letter.value()) for letter in contents(f"{topic}.dlq")]
        return [(headers["cityair_offset"], headers["cityair_reason"], value) for headers, value in sent]

    return read


def records(reading, minutes, **values):
    return [Record(value, key) for key, value in (reading("s-0", minute, **values) for minute in minutes)]


def test_a_header_name_that_is_not_utf_8(run, rejects, produce, reading, contents):
    """Nobody asks for the headers of what is good; what is refused is refused for its own reason, with its bytes."""
    good, repeated = records(reading, [1], pm10=1.0)[0], records(reading, [1], pm10=1.0)[0]
    bad = [Record(b"{", b"k"), Record(b'{"station_id":"nowhere","observed_at":"2026-03-02T00:01:00+09:00"}'), repeated]
    sent = [Record(record.value, record.key, BAD_NAME) for record in (good, *bad)]
    assert produce(READINGS, batch(sent)) == [0]
    assert run() == (4, 1, 2, 1, 0)
    assert [(reason, payload) for _, _, reason, payload, _ in rejects()] == [
        ("undecodable", bad[0].value),
        ("unknown_station", bad[1].value),
        ("duplicate", repeated.value),
    ]
    letters = contents(f"{READINGS}.dlq")
    assert [(letter.key(), letter.value()) for letter in letters] == [(b"k", b"{"), (None, bad[1].value)]


def test_a_header_name_that_is_not_utf_8_on_a_message_for_lights(light, run, letters, produce, reading):
    text = {"light_id": "light-99", "text": "x", "valid_until": "2026-03-03T00:00:00+09:00"}
    assert produce(WORDS, batch([Record(b"{", None, BAD_NAME), Record(json.dumps(text).encode(), None, BAD_NAME)])) == [
        0
    ]
    assert produce(READINGS, batch(records(reading, [1], pm10=1.0))) == [0]
    assert run() == (1, 1, 0, 0, 0)
    assert letters(WORDS) == [(b"0", b"undecodable", b"{"), (b"1", b"contract", json.dumps(text).encode())]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_digit_flipped_in_the_brokers_log(run, rejects, produce, damage, reading, place):
    """The first, a middle and the last batch of a partition: what stands before and after it counts."""
    for i in range(3):
        produce(READINGS, batch(records(reading, range(10 * i + 1, 10 * i + 8), pm10=1000.5 + i)))
    for partition in (1, 2):
        produce(READINGS, batch(records(reading, [40 + partition], pm10=1.0)), partition=partition)
    damage(READINGS, f"00:{10 * place + 4:02d}:00".encode(), f"00:{10 * place + 5:02d}:00".encode())
    assert run() == (23, 16, 7, 0, 0)
    assert [(offset, reason, payload) for _, offset, reason, payload, _ in rejects()] == [
        (offset, "undecodable", b"") for offset in range(7 * place, 7 * place + 7)
    ]
    assert "failed CRC32C check" in rejects()[0][-1]
    produce(READINGS, batch(records(reading, [50], pm10=1.0)))
    assert run() == (24, 17, 7, 0, 0), "another start passes over it"


def test_several_damaged_batches_one_after_another(run, produce, damage, reading):
    for i in range(4):
        produce(READINGS, batch(records(reading, range(10 * i + 1, 10 * i + 4 + i), pm10=1.0)))
    for i in (1, 2):
        damage(READINGS, f"00:{10 * i + 2:02d}:00".encode(), f"00:{10 * i + 3:02d}:00".encode())
    assert run() == (18, 9, 9, 0, 0)


def test_a_damaged_message_for_lights(light, run, letters, produce, damage, reading):
    for name in (b"first", b"other"):
        produce(WORDS, batch([Record(b'{"light_id":"%s"}' % name)]))
    damage(WORDS, b"first", b"forst")
    produce(READINGS, batch(records(reading, [1], pm10=1.0)))
    assert run() == (1, 1, 0, 0, 0)
    assert letters(WORDS) == [(b"0", b"undecodable", b""), (b"1", b"contract", b'{"light_id":"other"}')]


def test_a_batch_that_unpacks_to_more_than_the_client_takes(run, rejects, produce, reading):
    """These topics are not as `cityair topics create` makes them: the broker takes 4 kB that hold 120 MB."""
    bomb = batch([Record(b"{" + b" " * BOMB_BYTES)], packed=True)
    assert len(bomb) < 10_000
    batches = [batch(records(reading, [minute], pm10=1.0)) for minute in (1, 2)]
    assert produce(READINGS, batches[0], bomb, batches[1]) == [0, 0, 0]
    assert run() == (3, 2, 1, 0, 0)
    [(_, offset, reason, payload, detail)] = rejects()
    assert (offset, reason, payload) == (1, "undecodable", b"")
    assert "Decompression" in detail


def test_our_topics_refuse_what_unpacks_to_much_and_take_what_is_packed_well(broker, city_topics):
    """24 of these are 90 MB each to whoever reads them."""
    name = city_topics + "made"
    [spec] = [spec for spec in topic_specs(86_400) if spec.name == READINGS]
    BrokerAdmin().create([msgspec.structs.replace(spec, name=name)])
    assert send(broker.servers, name, batch([Record(b"{" + b" " * 5_000_000)], packed=True)) == (
        KafkaError.MSG_SIZE_TOO_LARGE
    )
    assert send(broker.servers, name, batch([Record(b'{"pm10":1.0}')] * 500, packed=True)) == 0
    broker.delete(name)


def test_a_damaged_batch_of_a_topic_that_is_read_back(city_topics, produce, damage):
    """Our own topics are read at each start: the flow starts all the same."""
    for i, key in enumerate((b"light-01", b"light-02", b"light-03")):
        produce(STATES, batch([Record(b"state of " + key, key, ((b"ce_sequence", b"%d" % i),))]))
    produce(STATES, batch([Record(b"{}", b"light-04", (*BAD_NAME, (b"ce_sequence", b"9")))]))
    damage(STATES, b"state of light-02", b"state of light-12")
    assert {key: newest.sequence for key, newest in read_newest(STATES).items()} == {b"light-01": 0, b"light-03": 2}


def test_a_light_goes_on_after_a_damaged_batch(city_file, city_topics, produce, damage):
    """It would show its last color until that is too old, and then gray for ever."""
    state = {"light_id": "light-07", "color": "gray", "grade": None, "parameter": None, "pm10": None, "pm25": None}
    state |= {"as_of": "2026-03-02T00:00:00Z", "valid_until": "2026-03-02T00:15:00Z", "stations": [], "text": None}
    with TopicStates(load_city(city_file)) as states:
        for seq in range(3):
            message = json.dumps(state | {"seq": seq, "coverage": None, "reason": f"reason {seq}"}).encode()
            produce(STATES, batch([Record(message, b"light-07")] * 2))
        damage(STATES, b"reason 1", b"reason 9", count=2)
        assert states.read_all() == [], "the topic was empty when it was opened"
        shown, until = [], time.monotonic() + 20
        while len(shown) < 4 and time.monotonic() < until:
            shown += [state.seq for state in states.poll(0.1)]
    assert shown == [0, 0, 2, 2]


def test_where_a_batch_ends_that_cannot_be_read(broker, city_topics, produce, damage):
    topic = city_topics + READINGS
    produce(
        READINGS, batch([Record(b"a")] * 5), batch([Record(b"b")] * 99 + [Record(b"marked")]), batch([Record(b"c")])
    )
    damage(READINGS, b"marked", b"market")
    settings = Connection().consumer_settings("test", auto_offset_reset="error")
    for begin, after in ((4, 4), (5, 105), (50, 105), (104, 105), (105, 105), (106, 106)):
        assert readable_from(settings, TopicPartition(topic, 0, begin), 106, Connection()) == after
