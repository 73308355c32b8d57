"""The topic sink itself, on a real broker: what a resume finds is not sent again; compacted topics never go back."""

import random

import pytest
from confluent_kafka import Producer

from flows.broker.read_back import read_newest
from flows.outputs.events import Message
from schemas.errors import BrokerError, ConfigurationError
from sinks.kafka.sink import SendLimits, TopicSink

ROLLING, STATE = "env.air.rolling.v1", "env.light.state.v1"


@pytest.fixture
def sink(city_topics, tmp_path):
    def make(topic=ROLLING, resume=None, stop=lambda: False, **settings):
        made = TopicSink([topic], tmp_path, stop, **settings)
        assert made.list_parts() == [topic]
        assert made.part_fn(topic) == 0
        return made.build_part("topics", topic, resume)

    return make


@pytest.fixture
def sent(contents):
    """Messages of a topic, partition by partition: (key, header, value)."""

    def read(topic=ROLLING, header="ce_id"):
        return [(message.key(), dict(message.headers())[header], message.value()) for message in contents(topic)]

    return read


def message(name, key=b"s-0", value=b"{}"):
    return Message(name, key, value, (("ce_id", name.encode()),))


def state(light, sequence, value=None):
    headers = (("ce_id", f"{light}:{sequence}".encode()), ("ce_sequence", str(sequence).encode()))
    return Message(f"{light}:{sequence}", light.encode(), value or str(sequence).encode(), headers, sequence)


def names(found):
    return sorted(name.decode() for _, name, _ in found)


def test_what_a_lost_epoch_sent_is_not_sent_again(sink, sent):
    part = sink()
    part.write_batch([[message("a"), message("b")]])
    kept = part.snapshot()
    assert kept["ids"] == []
    part.write_batch([[message("c"), message("d")]])
    part.snapshot()  # which never becomes durable
    part.close()
    again = sink(resume=kept)
    again.write_batch([[message("c")]])
    kept = again.snapshot()
    assert kept["ids"] == ["d"], "in the topic, and no replay has given it yet"
    again.close()
    third = sink(resume=kept)
    third.write_batch([[message("d"), message("e")]])
    assert third.snapshot()["ids"] == []
    assert names(sent()) == ["a", "b", "c", "d", "e"]


def test_a_first_epoch_that_was_lost_is_seen(sink, sent):
    first = sink()
    first.write_batch([[message("a")]])
    first.snapshot()
    first.close()
    second = sink()
    second.write_batch([[message("a"), message("b")]])
    second.snapshot()
    assert names(sent()) == ["a", "b"]


def test_what_others_wrote_before_is_not_ours(sink, sent, city_topics, broker):
    producer = Producer(broker.client())
    producer.produce(city_topics + ROLLING, b"old", b"s-0", headers=[("ce_id", b"a")])
    assert producer.flush(30) == 0
    part = sink()
    part.write_batch([[message("a")]])
    part.snapshot()
    assert names(sent()) == ["a", "a"]


def test_messages_of_a_key_go_where_java_puts_them_in_their_order(sink, sent):
    part = sink()
    part.write_batch([[message(f"{key}:{i}", key.encode()) for i in range(50) for key in ("s-0", "s-1", "s-2")]])
    part.snapshot()
    found = sent()
    for key in (b"s-0", b"s-1", b"s-2"):
        assert [name for of, name, _ in found if of == key] == [b"%s:%d" % (key, i) for i in range(50)]


def test_what_goes_to_one_partition_is_handed_over_together_and_keys_keep_their_order(sink, sent, contents):
    keys = [b"s-%d" % i for i in range(12)]
    part = sink()
    part.write_batch([[message(f"{key.decode()}:0", key) for key in keys]])
    part.snapshot()
    where = {one.key(): one.partition() for one in contents(ROLLING)}
    assert len(set(where.values())) > 1
    assert part._producer._partition_of == where, "by which messages are put together"
    part.write_batch([[message(f"{key.decode()}:{i}", key) for i in (1, 2) for key in keys]])
    part.snapshot()
    found = sent()
    for key in keys:
        assert [name for of, name, _ in found if of == key] == [b"%s:%d" % (key, i) for i in range(3)]


def test_many_large_messages_wait_for_room(sink, sent):
    part = sink(limits=SendLimits(unsent_kb=1024))
    part.write_batch([[message(str(i), value=random.randbytes(100_000)) for i in range(60)]])
    part.snapshot()
    assert len(sent()) == 60


def test_a_message_too_large_is_named_and_refused(sink):
    part = sink()
    part.write_batch([[message("large", value=random.randbytes(2 << 20))]])
    with pytest.raises(BrokerError, match=f"{ROLLING}.*MSG_SIZE_TOO_LARGE"):
        part.snapshot()


def test_a_message_too_large_for_the_client_is_named_and_refused(sink):
    with pytest.raises(BrokerError, match=f"{ROLLING}: huge"):
        sink().write_batch([[message("huge", value=bytes(5 << 20))]])


def test_a_topic_made_again_is_refused(sink, city_topics, broker):
    part = sink()
    part.write_batch([[message(str(i)) for i in range(10)]])
    kept = part.snapshot()
    broker.delete(city_topics + ROLLING)
    broker.create(city_topics + ROLLING, partitions=4)
    with pytest.raises(ConfigurationError, match=f"{city_topics}{ROLLING}.*made again"):
        sink(resume=kept)


def test_a_topic_that_is_not_there_is_named(sink, city_topics, broker):
    broker.delete(city_topics + ROLLING)
    with pytest.raises(ConfigurationError, match=f"{city_topics}{ROLLING}.*topics create"):
        sink()


def test_of_a_compacted_topic_the_newest_is_kept_and_nothing_older_follows(sink, sent):
    """Lives end at any point; the sequence a replay begins with is at most what was durable."""
    dice = random.Random(5)
    durable, newest = 0, 0
    kept = None
    for _ in range(12):
        part = sink(STATE, resume=kept)
        upto = durable + dice.randint(1, 30)
        for sequence in range(durable + 1, upto + 1):
            part.write_batch([[state(light, sequence) for light in ("l-1", "l-2")]])
        newest = max(newest, upto)
        snapshot = part.snapshot()
        part.close()
        if dice.random() < 0.5:
            kept, durable = snapshot, upto
    for light in (b"l-1", b"l-2"):
        sequences = [int(value) for key, _, value in sent(STATE) if key == light]
        assert sequences == list(range(1, newest + 1)), "each once, in order"
        assert read_newest(STATE)[light] == (newest, str(newest).encode())


def test_a_compacted_topic_is_read_whole_although_older_messages_are_gone(sink, sent, city_topics, broker):
    part = sink(STATE)
    part.write_batch([[state("l-1", sequence) for sequence in range(1, 20)]])
    kept = part.snapshot()
    part.close()
    # A tombstone and something without a sequence: neither is newer than what we sent.
    producer = Producer(broker.client())
    producer.produce(city_topics + STATE, b"by hand", b"l-1")
    producer.produce(city_topics + STATE, None, b"l-9", headers=[("ce_sequence", b"3"), ("ce_id", b"l-9:3")])
    assert producer.flush(30) == 0
    assert {key: one.sequence for key, one in read_newest(STATE).items()} == {b"l-1": 19, b"l-9": 3}
    again = sink(STATE, resume=kept)
    again.write_batch([[state("l-1", 18), state("l-1", 20), state("l-9", 3), state("l-9", 4)]])
    again.snapshot()
    assert {key: one.sequence for key, one in read_newest(STATE).items()} == {b"l-1": 20, b"l-9": 4}


def test_an_empty_compacted_topic(sink):
    assert read_newest(STATE) == {}
    part = sink(STATE)
    part.write_batch([[state("l-1", 0)]])
    part.snapshot()
    assert read_newest(STATE)[b"l-1"].sequence == 0
