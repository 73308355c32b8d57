"""The source itself, on a real broker: its partitions step by step, without the engine."""

import json
import time
from itertools import pairwise

import pytest
from confluent_kafka import Producer

from flows import air
from flows.broker.connection import Connection, RetryPolicy
from flows.broker.identities import TopicIdentities
from flows.settings import load_city
from flows.sources.kafka.consumer import Pacing
from flows.sources.kafka.partitions import Alignment
from flows.sources.kafka.records import RecordDecoder
from flows.sources.kafka.source import KafkaInput, KafkaSource
from schemas.errors import BrokerError, ConfigurationError
from tests.support.until import until

READINGS = "env.air.reading.v1"
FUTURE_US = 300 * 1_000_000


@pytest.fixture
def source(city_topics, city_file):
    made = []

    def make(*, bounded=True, resume=None, stop=lambda: False, **settings):
        reads = KafkaInput([READINGS], "test", bounded=bounded)
        decoder = RecordDecoder(air.decoder(load_city(city_file)), FUTURE_US)
        source = KafkaSource(reads, decoder, stop=stop, now=lambda: 0, **settings)
        part = source.build_part("input", "kafka", resume)
        made.append(part)
        return part

    yield make
    for part in made:
        part.finish()


@pytest.fixture
def put(city_topics, broker):
    def put(messages):
        """(partition, value) or (partition, value, time stamp in ms)."""
        # Idempotent, or a batch that is sent again lands behind those sent after it.
        in_order = {"linger_ms": 5, "queue_buffering_max_messages": 1_000_000, "enable_idempotence": True}
        producer = Producer(broker.client(**in_order))
        for partition, value, *stamp in messages:
            stamped = {"timestamp": stamp[0]} if stamp else {}
            producer.produce(city_topics + READINGS, value, b"key", partition, **stamped)
            producer.poll(0)
        assert producer.flush(30) == 0

    return put


def reading(station, minute, **values):
    at = f"2026-03-{2 + minute // 1440:02d}T{minute // 60 % 24:02d}:{minute % 60:02d}:00+09:00"
    return json.dumps({"station_id": f"s-{station}", "observed_at": at, "pm10": 1.0, **values}).encode()


def items_of(part, seconds=120.0, until=None):
    """Everything that comes before the end, or until enough has."""
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            found += [item for _, item in part.next_batch()]
        except StopIteration:
            return found
        if until and until(found):
            return found
    raise AssertionError(f"after {seconds} s there are only {rows_of(found)} readings")


def rows_of(items):
    return sum(len(item.readings) for item in items)


def observed(items):
    return [at for item in items for at in item.readings.observed.tolist()]


def behind(part):
    """Whether the broker has more of a partition than was read."""
    return any(partition.behind for partition in part._partitions)


def steps_back(times):
    """Pairs of neighbors of which the second is before the first."""
    return [(before, after) for before, after in pairwise(times) if after < before]


def test_partitions_are_held_together_in_event_time(source, put):
    # One partition has ten days, written before the other has anything: replayed, neither is late.
    put([(0, reading(0, minute)) for minute in range(14_400)])
    put([(1, reading(1, minute)) for minute in range(14_400)])
    items = items_of(source())
    assert items[-1].end_of_input
    assert rows_of(items) == 28_800
    assert steps_back(at // 60_000_000 for at in observed(items)) == []


@pytest.mark.parametrize("bounded", [True, False])
def test_time_in_which_the_client_was_not_polled_is_no_silence(source, put, bounded):
    """A machine that stood still, or a worker busy with what came before, finds the other partition in order yet."""
    for partition in (0, 1):
        put([(partition, reading(partition, minute)) for minute in range(1_000)])
    alignment = Alignment(idle_timeout_s=0.3, unreachable_timeout_s=0.3, max_tick_s=0.02)

    def busy():
        time.sleep(0.4)  # before each poll, and longer than either timeout
        return False

    part = source(bounded=bounded, stop=busy, alignment=alignment, pacing=Pacing(batch_rows=500))
    items = items_of(part, until=lambda items: rows_of(items) == 2_000)
    assert steps_back(observed(items)) == []


def test_one_partition_with_much_and_the_others_with_nothing(source, put):
    """More than may be buffered lies in one partition; the idle ones release it, and then it is read on."""
    count = 10_000
    put([(2, reading(0, minute)) for minute in range(count)])
    part = source(bounded=False, pacing=Pacing(batch_rows=1_000, chunk_messages=500, max_buffered=2_000))
    items = items_of(part, until=lambda items: rows_of(items) >= count)
    assert rows_of(items) == count


def test_a_resume_goes_on_where_the_snapshot_was(source, put):
    put([(n % 4, reading(n % 4, n // 4)) for n in range(400)])
    first = source(bounded=False)
    before = items_of(first, until=rows_of)
    kept = first.snapshot()
    assert kept["v"] == 1
    after = items_of(source(resume=kept))
    offsets = [(p, k) for item in before + after for p, k in zip(item.readings.part, item.readings.offset, strict=True)]
    assert len(offsets) == len(set(offsets)) == 400


def test_every_offset_is_taken_once(source, put):
    lines = [reading(0, 1), b"{", reading(0, 2), b"", b"two\nlines", reading(0, 3)]
    put([(3, line) for line in lines])
    items = items_of(source())
    taken = [(t.part, t.first, t.last, t.number, t.gap) for item in items for t in item.offsets]
    assert taken[0][1] == 0
    assert [first for _, first, *_ in taken[1:]] == [last + 1 for _, _, last, *_ in taken[:-1]]
    assert sum(number for *_, number, _ in taken) == 6
    assert {r.offset: r.reason for item in items for r in item.rejects} == dict.fromkeys((1, 3, 4), "undecodable")


def test_a_reading_from_after_its_message_is_refused(source, put):
    at = 1_772_377_260_000  # 2026-03-02T00:01:00+09:00
    put([(0, reading(0, 1), at - 300_000), (0, reading(0, 1), at - 301_000)])
    items = items_of(source())
    assert rows_of(items) == 1
    (reject,) = [reject for item in items for reject in item.rejects]
    assert (reject.offset, reject.reason, reject.envelope.key) == (1, "future", b"key")
    assert reject.payload == reading(0, 1)


def test_a_message_and_the_news_of_the_end_may_come_together(source, put):
    part = source(bounded=False)
    found = []
    for minute in range(1, 4):
        put([(0, reading(0, minute))])
        time.sleep(0.8)  # a fetch waits for half a second; then the client has both at hand
        found += [item for _, item in part.next_batch()]
    found += items_of(part, until=lambda items: rows_of(found + items) >= 3) if rows_of(found) < 3 else []
    assert rows_of(found) == 3
    until(lambda: not part.next_batch() and not behind(part), lambda: "a partition stays behind")


def test_once_nothing_comes_an_empty_item_says_that_there_is_time(source, put):
    part = source(bounded=False, pacing=Pacing(heartbeat_s=3600.0))
    put([(0, reading(0, 1))])
    items_of(part, until=lambda items: rows_of(items) == 1)
    until(lambda: not part.next_batch() and not behind(part), lambda: "a partition stays behind")
    put([(0, reading(0, 2))])
    items = items_of(part, until=lambda items: bool(items) and not items[-1].offsets)
    assert [len(item.offsets) for item in items] == [1, 0]
    assert [item for _ in range(10) for item in part.next_batch()] == []


def test_what_leaves_together_spans_few_days(source, put):
    put([(0, reading(0, 3 * 1440 * n)) for n in range(10)])
    items = [item for item in items_of(source()) if len(item.readings)]
    assert [len(item.readings) for item in items] == [2] * 5


def test_a_stop_ends_it(source, put):
    put([(0, reading(0, 1))])
    assert items_of(source(bounded=False, stop=lambda: True)) == []


def test_a_topic_made_again_is_noticed_while_it_is_read(broker, city_topics):
    """Its offsets may have gone past the old ones before anybody asks, so that they tell nothing."""
    identities = TopicIdentities([READINGS], Connection(), interval_s=0.0)
    known = identities.require({})
    for _ in range(20):
        identities.check()
        time.sleep(0.02)
    broker.delete(city_topics + READINGS)
    broker.create(city_topics + READINGS)
    with pytest.raises(ConfigurationError, match=f"topic {city_topics}{READINGS} was deleted and made again"):
        until(identities.check, lambda: "it was not noticed")
    with pytest.raises(ConfigurationError, match="was deleted and made again"):
        identities.require(known)
    assert identities.require({}) != known


def test_a_store_that_has_read_files_is_refused(source):
    with pytest.raises(ConfigurationError, match="has read files"):
        source(resume={"v": 1, "files": []})


def test_offsets_that_went_back_are_refused(source, put):
    put([(0, reading(0, 1))])
    part = source(bounded=False)
    kept = part.snapshot()
    kept["parts"][0]["koff"] = 5
    with pytest.raises(ConfigurationError, match="went back"):
        source(resume=kept)


def test_a_partition_that_is_gone_is_refused(source):
    kept = source().snapshot()
    kept["parts"].append({"topic": READINGS, "kpart": 9, "koff": 0, "high": 0})
    with pytest.raises(ConfigurationError, match="partition 9"):
        source(resume=kept)


def test_a_topic_that_is_not_there_is_named(source, city_topics, broker):
    broker.delete(city_topics + READINGS)
    with pytest.raises(ConfigurationError, match=f"{city_topics}{READINGS}.*topics create"):
        source()


def test_a_broker_that_is_not_there_is_named(source, monkeypatch):
    monkeypatch.setenv("CITYAIR_KAFKA", "127.0.0.1:1")
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1"):
        source(connection=Connection(RetryPolicy(timeout_s=1)))
