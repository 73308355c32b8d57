"""What is not sent again, and the snapshots that say so: those that 0.1.0 left, and those of another version."""

import pytest

from flows.outputs.events import Message
from schemas.errors import ConfigurationError
from sinks.kafka.deduplication import NewestSequences, TopicPosition, UnreplayedIds, snapshot_of
from sinks.kafka.sink import by_partition
from tests.support.golden import kafka_snapshots

ROLLING, STATES, DEAD = "env.air.rolling.v1", "env.light.state.v1", "env.air.reading.v1.dlq"


@pytest.fixture(scope="module")
def golden():
    return kafka_snapshots()


def message(id_, key=b"k", sequence=None):
    return Message(id_, key, b"", (), sequence)


def test_an_id_in_the_topic_is_sent_again_only_after_its_replay():
    sent = UnreplayedIds({"a", "b"})
    assert [sent.take(message(id_)) for id_ in ("a", "c", "a")] == [True, False, False]
    assert sent.snapshot() == {"ids": ["b"]}, "a second crash must not forget it"


def test_of_a_key_only_newer_sequences_are_sent():
    sent = NewestSequences({b"light-1": 7})
    taken = [sent.take(message("", b"light-1", sequence)) for sequence in (6, 7, 8, 8, 10)]
    assert taken == [True, True, False, True, False]
    assert not sent.take(message("", b"light-2", 0)), "a key that the topic does not have"
    assert sent.snapshot() == {}


@pytest.mark.parametrize("topic", [ROLLING, DEAD])
def test_an_appended_topic_of_an_earlier_version_is_understood(golden, topic):
    snapshot = golden[f"air.topics/{topic}"]
    position = TopicPosition.restore(snapshot, topic)
    assert position.offsets == snapshot["offsets"]
    assert position.ids == frozenset(snapshot["ids"])
    assert snapshot_of(position.offsets, UnreplayedIds(position.ids)) == snapshot


def test_a_compacted_topic_of_an_earlier_version_is_understood(golden):
    position = TopicPosition.restore(golden[f"air.topics/{STATES}"], STATES)
    assert position == ({0: 30}, frozenset())
    assert snapshot_of(position.offsets, NewestSequences({})) == golden[f"air.topics/{STATES}"]


@pytest.mark.parametrize("topic", [ROLLING, STATES])
@pytest.mark.parametrize("version", [2, None])
def test_another_version_is_refused(golden, topic, version):
    with pytest.raises(ConfigurationError, match=f"snapshot of topic {topic} has version {version!r}"):
        TopicPosition.restore(golden[f"air.topics/{topic}"] | {"v": version}, topic)


def test_messages_of_one_partition_stand_together_and_keep_their_order():
    messages = [message(f"{key.decode()}{i}", key) for i in range(3) for key in (b"a", b"b", b"c", b"new")]
    ordered = by_partition(messages, {b"a": 2, b"b": 0, b"c": 2})
    assert [one.id for one in ordered] == [
        *("new0", "new1", "new2", "b0", "b1", "b2"),
        *("a0", "c0", "a1", "c1", "a2", "c2"),
    ]
