"""Output topics on Kafka, exactly once without transactions.

Every message has an id that a replay gives again. A snapshot keeps how far each partition was written, and the ids in
the topic that no replay has given yet. A resume reads the topic from there, and does not send again what it finds. A
compacted topic loses older messages of a key; there the newest sequence of each key decides instead.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from confluent_kafka import KafkaError, KafkaException, Producer

from flows.broker.connection import MAX_CLIENT_BYTES, Connection, servers, topic_name
from flows.broker.read_back import Offsets, ends_of, headers_of, messages_between, read_newest, reader
from flows.outputs.events import Message
from schemas.errors import BrokerError, ConfigurationError
from schemas.headers import DEAD_LETTER_ID, EVENT_ID
from schemas.topics import TOPICS, is_compacted
from sinks import recovery_store as store
from sinks.failpoints import failpoint
from sinks.kafka.deduplication import (
    NewestSequences,
    SentMessages,
    Snapshot,
    TopicPosition,
    UnreplayedIds,
    snapshot_of,
)

MAX_KNOWN_KEYS = 10_000
"""Keys whose partition is remembered; those of dead letters have no end."""
FLUSH_TIMEOUT_S = 0.2

log = logging.getLogger("cityair")


@dataclass(frozen=True, slots=True)
class SendLimits:
    """Bounds of what is on its way to the broker, and of the wait for it.

    Attributes:
        unsent_messages: messages of a topic that the broker has not acknowledged; more of them wait.
        unsent_kb: the same in KiB, because dead letters may be large.
        stop_timeout_s: seconds in which the broker must take something, or a stop does not wait for it.
        warning_interval_s: seconds between two warnings that the broker is away.
    """

    unsent_messages: int = 100_000
    unsent_kb: int = 65_536
    stop_timeout_s: float = 2.0
    warning_interval_s: float = 10.0


DEFAULT_LIMITS = SendLimits()


class TopicSink(FixedPartitionedSink[list[Message], Snapshot]):
    """Messages to topics, in one engine partition a topic. Exactly once under recovery.

    Args:
        topics: contract names; ``CITYAIR_KAFKA_PREFIX`` stands before them on the broker.
        folder: the flow's recovery store; it keeps where topics ended when the flow first wrote to them.
        stop: whether to end early; then a broker that is away is not waited for.
        limits: of what is on its way.

    Raises:
        BrokerError: the broker cannot be reached, or refuses us.
        ConfigurationError: a topic is not there, or has lost what was written to it.
    """

    def __init__(
        self, topics: list[str], folder: Path, stop: Callable[[], bool], *, limits: SendLimits = DEFAULT_LIMITS
    ) -> None:
        self._topics, self._stop, self._limits = sorted(topics), stop, limits
        self._connection = Connection()
        with reader(self._connection) as consumer:
            self._ends = {topic: ends_of(consumer, topic_name(topic), self._connection) for topic in self._topics}
        self._first_ends = self._keep_first_ends(folder / "topics.json")

    def list_parts(self) -> list[str]:
        """One partition a topic."""
        return self._topics

    def part_fn(self, item_key: str) -> int:
        """Items are keyed by their topic."""
        return self._topics.index(item_key)

    def build_part(self, step_id: str, for_part: str, resume_state: Snapshot | None) -> "TopicWriter":
        """Find what of a topic no snapshot covers, so that it is not sent again.

        Raises:
            BrokerError: the broker cannot be reached, or refuses us.
            ConfigurationError: the topic was deleted and made again, or the snapshot is of another version.
        """
        name, ends = topic_name(for_part), self._ends[for_part]
        if resume_state is None:
            position = TopicPosition(self._first_ends[for_part])
        else:
            position = TopicPosition.restore(resume_state, for_part)
        for number, offset in position.offsets.items():
            if ends.get(number, -1) < offset:
                raise ConfigurationError(
                    f"{name} [{number}] ends at offset {ends.get(number, 0)}, but {offset} were written: it was "
                    "deleted and made again; start anew with another recovery store and lake, or bring the topic back"
                )
        producer = TopicProducer(name, dict(ends), self._connection, self._stop, self._limits)
        return TopicWriter(producer, self._sent(for_part, position, ends))

    def _sent(self, topic: str, position: TopicPosition, ends: Offsets) -> SentMessages:
        """Read back what the topic holds of messages that a replay gives again."""
        if is_compacted(topic):
            return NewestSequences({key: newest.sequence for key, newest in read_newest(topic).items()})
        ids = set(position.ids)
        header = EVENT_ID if topic in TOPICS else DEAD_LETTER_ID
        with reader(self._connection) as consumer:
            for message in messages_between(consumer, topic_name(topic), position.offsets, ends, self._connection):
                if id_ := dict(headers_of(message)).get(header):
                    ids.add(id_.decode())
        return UnreplayedIds(ids)

    def _keep_first_ends(self, path: Path) -> dict[str, Offsets]:
        """Where topics ended when this store first wrote to them: messages before that are not ours."""
        stored = json.loads(path.read_text()) if path.exists() else {}
        first: dict[str, Offsets] = {t: {int(n): o for n, o in ends.items()} for t, ends in stored.items()}
        if new := {topic: ends for topic, ends in self._ends.items() if topic not in first}:
            first |= new
            store.write_durably(path, json.dumps(first).encode())
        return first


class TopicWriter(StatefulSinkPartition[list[Message], Snapshot]):
    """Engine partition of one topic: sends what the topic does not hold yet.

    Args:
        producer: of the topic.
        sent: what it holds.
    """

    def __init__(self, producer: "TopicProducer", sent: SentMessages) -> None:
        self._producer, self._sent = producer, sent

    def write_batch(self, values: list[list[Message]]) -> None:
        """Send messages, and come back before the broker has them all.

        Raises:
            BrokerError: the broker refused an earlier one.
        """
        for messages in values:
            self._producer.send([message for message in messages if not self._sent.take(message)])
        self._producer.poll()
        failpoint("topics.after_write")

    def snapshot(self) -> Snapshot:
        """Wait until the broker has everything, and return how far the topic was written.

        Raises:
            BrokerError: the broker refused a message.
            KeyboardInterrupt: we are to stop, and the broker takes nothing.
        """
        failpoint("topics.before_flush")
        self._producer.flush()
        failpoint("topics.after_flush")
        return snapshot_of(self._producer.offsets, self._sent)

    def close(self) -> None:
        """Leave what is on its way: a resume finds whether it came."""
        self._producer.purge()


class TopicProducer:
    """A producer of one topic that knows how far each partition was written.

    Args:
        topic: name on the broker.
        offsets: where its partitions end.
        connection: to the broker.
        stop: whether to end early.
        limits: of what is on its way.

    Attributes:
        offsets: offset after the last message that the broker acknowledged in each partition.
    """

    def __init__(
        self, topic: str, offsets: Offsets, connection: Connection, stop: Callable[[], bool], limits: SendLimits
    ) -> None:
        self.offsets = offsets
        self._topic, self._connection, self._stop, self._limits = topic, connection, stop, limits
        self._refusal: KafkaError | None = None
        self._partition_of: dict[bytes | None, int] = {}
        self._client = Producer(
            connection.producer_settings(
                linger_ms=0,
                message_timeout_ms=0,  # a broker that is away is waited for
                message_max_bytes=MAX_CLIENT_BYTES,
                queue_buffering_max_messages=limits.unsent_messages,
                queue_buffering_max_kbytes=limits.unsent_kb,
            )
        )

    def send(self, messages: Sequence[Message]) -> None:
        """Hand messages to the client; waits where too much is on its way.

        Raises:
            BrokerError: a message is refused, or an earlier one was.
            KeyboardInterrupt: we are to stop, and the broker takes nothing.
        """
        for message in by_partition(messages, self._partition_of):
            while not self._handed_over(message):
                self._wait(lambda: self._client.poll(FLUSH_TIMEOUT_S) == 0)  # until it reports a delivery

    def poll(self) -> None:
        """Take reports of deliveries that are at hand.

        Raises:
            BrokerError: one of them is a refusal.
        """
        self._client.poll(0)
        self._check()

    def flush(self) -> None:
        """Wait until the broker has everything.

        Raises:
            BrokerError: the broker refused a message.
            KeyboardInterrupt: we are to stop, and the broker takes nothing.
        """
        self._wait(lambda: self._client.flush(FLUSH_TIMEOUT_S))

    def purge(self) -> None:
        """Drop what was not sent yet."""
        self._client.purge()

    def _handed_over(self, message: Message) -> bool:
        """Give a message to the client; false where too many messages, or too many bytes, are on their way."""
        try:
            self._client.produce(
                self._topic, message.value, message.key, headers=list(message.headers), on_delivery=self._delivered
            )
        except BufferError:
            return False
        except KafkaException as err:
            raise BrokerError(f"{self._topic}: {message.id}: {err.args[0].str()}") from err
        return True

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._refusal = self._refusal or error
            return
        number, offset = message.partition(), message.offset()
        if len(self._partition_of) < MAX_KNOWN_KEYS:
            self._partition_of[message.key()] = number
        self.offsets[number] = max(self.offsets.get(number, 0), offset + 1)

    def _wait(self, unsent: Callable[[], Any]) -> None:
        """Wait while ``unsent`` is true, and warn where that takes long."""
        moved = warned = time.monotonic()
        left = len(self._client)
        while unsent():
            self._check()
            now = time.monotonic()
            if len(self._client) != left:
                left, moved = len(self._client), now
            if self._stop() and now - moved > self._limits.stop_timeout_s:
                log.warning("%s: stopped while %s was away; nothing is lost, start again", self._topic, servers())
                raise KeyboardInterrupt
            if now - max(warned, moved) > self._limits.warning_interval_s:
                waited, last = now - moved, self._connection.errors.last
                log.warning("%s: waiting for %s since %.0f s (%s)", self._topic, servers(), waited, last)
                warned = now
        self._check()

    def _check(self) -> None:
        if self._refusal is not None:
            raise BrokerError(f"{self._topic}: {self._refusal.name()}: {self._refusal.str()}")


def by_partition(messages: Iterable[Message], partition_of: Mapping[bytes | None, int]) -> list[Message]:
    """Order messages by the partition of their key, those of unknown keys first; within a partition order stays.

    What goes to one partition is handed over together: then the client sends it in one request, not in several.

    >>> a1, b1, a2 = (Message(id_, id_[:1].encode(), b"", ()) for id_ in ("a1", "b1", "a2"))
    >>> [message.id for message in by_partition([a1, b1, a2], {b"a": 3, b"b": 0})]
    ['b1', 'a1', 'a2']
    """
    return sorted(messages, key=lambda message: partition_of.get(message.key, -1))
