"""What a topic holds already of the messages that a replay gives again, and how far each partition was written."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol, Self

from flows.broker.read_back import Offsets
from flows.outputs.events import Message
from schemas.snapshots import VERSION, check_version

Snapshot = dict[str, Any]


class TopicPosition(NamedTuple):
    """Where a sink stood on a topic when its snapshot was taken.

    >>> TopicPosition.restore({"v": 1, "offsets": {0: 7}, "ids": ["a"]}, "env.air.alert.v1")
    TopicPosition(offsets={0: 7}, ids=frozenset({'a'}))
    """

    offsets: Offsets
    """Offset after the last message written to each partition."""
    ids: frozenset[str] = frozenset()
    """Ids of messages before these offsets that no replay has given yet; none of a compacted topic."""

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any], topic: str) -> Self:
        """Read a snapshot.

        Raises:
            ConfigurationError: it is of a version that this code does not read.
        """
        check_version(snapshot, f"topic {topic}")
        return cls(dict(snapshot["offsets"]), frozenset(snapshot.get("ids", ())))


class SentMessages(Protocol):
    """Messages of a topic that must not be sent again."""

    def take(self, message: Message) -> bool:
        """Whether the topic holds a message; asked once for each, in the order in which they would be sent."""

    def snapshot(self) -> Snapshot:
        """What the snapshot of the sink keeps of it."""


class UnreplayedIds:
    """Ids in a topic that keeps every message, which no replay has given yet.

    Args:
        ids: found in the topic after the last durable snapshot, or kept in it.

    >>> sent = UnreplayedIds({"a"})
    >>> sent.take(Message("a", None, b"", ())), sent.take(Message("a", None, b"", ()))
    (True, False)
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = set(ids)

    def take(self, message: Message) -> bool:
        """Whether the topic holds a message; after that its id is forgotten, because a replay gives each once."""
        if message.id not in self._ids:
            return False
        self._ids.remove(message.id)
        return True

    def snapshot(self) -> Snapshot:
        """The ids that are left: a second crash must not forget them."""
        return {"ids": sorted(self._ids)}


class NewestSequences:
    """Newest sequence of each key of a compacted topic, which loses older messages and their ids.

    Args:
        sequences: by key.

    >>> sent = NewestSequences({b"light-07": 3})
    >>> [sent.take(Message("", b"light-07", b"", (), sequence)) for sequence in (3, 4, 4)]
    [True, False, True]
    """

    def __init__(self, sequences: Mapping[bytes, int]) -> None:
        self._newest = dict(sequences)

    def take(self, message: Message) -> bool:
        """Whether the topic holds a message of this sequence or a newer one; if not, this is the newest now."""
        assert message.key is not None, f"{message.id} has no key"
        assert message.sequence is not None, f"{message.id} has no sequence"
        if message.sequence <= self._newest.get(message.key, -1):
            return True
        self._newest[message.key] = message.sequence
        return False

    def snapshot(self) -> Snapshot:
        """Nothing: a resume reads the topic whole."""
        return {}


def snapshot_of(offsets: Offsets, sent: SentMessages) -> Snapshot:
    """Snapshot of a sink, which `TopicPosition.restore` reads.

    >>> snapshot_of({0: 7}, UnreplayedIds({"b", "a"}))
    {'v': 1, 'offsets': {0: 7}, 'ids': ['a', 'b']}
    """
    return {"v": VERSION, "offsets": dict(offsets)} | sent.snapshot()
