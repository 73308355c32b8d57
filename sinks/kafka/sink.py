"""The out-topics on Kafka, exactly once without transactions.

Every message has an id that a replay gives again. A snapshot keeps how far each partition was written, and the ids in
the topic that no replay has given yet; a resume reads the topic from there, and what is there already is not sent
again. A compacted topic loses older messages of a key, so there the newest sequence of each key decides instead.
"""

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from flows.broker import connection
from flows.outputs.events import DEAD_LETTER_ID, EVENT_ID, SEQUENCE, Message
from schemas.errors import BrokerError, ConfigurationError
from schemas.topics import TOPICS
from sinks import recovery_store as store
from sinks.failpoints import failpoint

MOST_UNSENT = 100_000
"""Messages on their way at once; then the worker waits for the broker."""
MOST_UNSENT_KB = 65_536
"""The same in KiB: dead letters may be large."""
MOST_PLACES = 10_000
"""Keys whose partition is remembered; those of dead letters have no end."""
STOPS_AFTER = 2.0
"""Seconds in which a broker must take something, or a stop does not wait for it."""
SAID_EVERY = 10.0
"""Seconds between two words about a broker that is away."""
LARGEST = 4 << 20
"""Bytes of a message that the client lets pass; what a topic takes is the broker's to say."""

log = logging.getLogger("cityair")
Offsets = dict[int, int]
T = TypeVar("T", bound=msgspec.Struct)


class Newest(NamedTuple):
    """The newest message of a key on a compacted topic."""

    sequence: int
    value: bytes | None


class TopicSink(FixedPartitionedSink[list[Message], dict[str, Any]]):
    """Messages to topics, one engine partition a topic. Exactly once under recovery.

    Args:
        topics: contract names; ``CITYAIR_KAFKA_PREFIX`` stands before them on the broker.
        place: the flow's recovery store; where topics ended when it first wrote to them is kept there.
        stop: whether to end early; then a broker that is away is not waited for.

    Raises:
        BrokerError: the broker cannot be reached, or refuses us.
        ConfigurationError: a topic is not there, or has lost what was written to it.
    """

    def __init__(self, topics: list[str], place: Path, stop: Callable[[], bool]) -> None:
        self._topics, self._stop = sorted(topics), stop
        self._errors = connection.ClientErrors()
        self._ends = {topic: _ends(connection.topic_name(topic), self._errors) for topic in self._topics}
        self._begins = self._first_ends(place / "topics.json")

    def list_parts(self) -> list[str]:
        """One partition a topic."""
        return self._topics

    def part_fn(self, item_key: str) -> int:
        """Items are keyed by their topic."""
        return self._topics.index(item_key)

    def build_part(self, step_id: str, for_part: str, resume_state: dict[str, Any] | None) -> "_Topic":
        """See what of a topic no snapshot covers, so that it is not sent again."""
        name, ends = connection.topic_name(for_part), self._ends[for_part]
        begins: Offsets = resume_state["offsets"] if resume_state else self._begins[for_part]
        for number, offset in begins.items():
            if ends.get(number, -1) < offset:
                raise ConfigurationError(
                    f"{name} [{number}] ends at offset {ends.get(number, 0)}, but {offset} were written: it was "
                    "deleted and made again; start anew with another recovery store and lake, or bring the topic back"
                )
        producer = Producer(
            connection.config(
                self._errors,
                enable_idempotence=True,
                compression_type="lz4",
                linger_ms=0,
                partitioner="murmur2_random",  # as Kafka's Java clients
                message_timeout_ms=0,  # a broker that is away is waited for
                message_max_bytes=LARGEST,
                queue_buffering_max_messages=MOST_UNSENT,
                queue_buffering_max_kbytes=MOST_UNSENT_KB,
            )
        )
        if compacted(for_part):
            newest = {key: one.sequence for key, one in read_newest(for_part).items()}
            return _Compacted(name, producer, dict(ends), newest, self._errors, self._stop)
        there = set(resume_state["ids"]) if resume_state else set()
        header = EVENT_ID if for_part in TOPICS else DEAD_LETTER_ID
        for message in read(name, begins, ends, self._errors):
            if name_of := dict(message.headers() or ()).get(header):
                there.add(name_of.decode())
        return _Appended(name, producer, dict(ends), there, self._errors, self._stop)

    def _first_ends(self, path: Path) -> dict[str, Offsets]:
        """Where topics ended when this store first wrote to them: what lies behind is not ours."""
        kept = json.loads(path.read_text()) if path.exists() else {}
        known: dict[str, Offsets] = {t: {int(n): o for n, o in ends.items()} for t, ends in kept.items()}
        if new := {topic: ends for topic, ends in self._ends.items() if topic not in known}:
            known |= new
            store.write_durably(path, json.dumps(known).encode())
        return known


class _Topic(StatefulSinkPartition[list[Message], dict[str, Any]]):
    """Sends messages, and knows how far the topic was written."""

    def __init__(
        self, name: str, producer: Any, offsets: Offsets, errors: connection.ClientErrors, stop: Callable[[], bool]
    ) -> None:
        self._name, self._producer, self._offsets = name, producer, offsets
        self._errors, self._stop = errors, stop
        self._failed: KafkaError | None = None
        self._places: dict[bytes | None, int] = {}

    def write_batch(self, values: list[list[Message]]) -> None:
        for messages in values:
            for message in sorted(messages, key=self._place_of):
                if not self._there(message):
                    self._send(message)
        self._producer.poll(0)
        self._check()
        failpoint("topics.after_write")

    def snapshot(self) -> dict[str, Any]:
        failpoint("topics.before_flush")
        self._wait(lambda: self._producer.flush(0.2))
        failpoint("topics.after_flush")
        return {"v": 1, "offsets": dict(self._offsets)}

    def close(self) -> None:
        """Leave what is on its way: a resume sees whether it came."""
        self._producer.purge()

    def _place_of(self, message: Message) -> int:
        """InputPartition of a message, where an earlier one of its key has shown it.

        What goes to one partition is handed over together: then the client sends it in one request, not in several.
        """
        return self._places.get(message.key, -1)

    def _there(self, message: Message) -> bool:
        raise NotImplementedError

    def _send(self, message: Message) -> None:
        while True:
            try:
                self._producer.produce(
                    self._name, message.value, message.key, headers=list(message.headers), on_delivery=self._delivered
                )
                return
            except BufferError:  # too many messages, or too many bytes
                self._wait(lambda: self._producer.poll(0.2) == 0)  # until it says that something has arrived
            except KafkaException as err:
                raise BrokerError(f"{self._name}: {message.id}: {err.args[0].str()}") from err

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._failed = self._failed or error
            return
        number, offset = message.partition(), message.offset()
        if len(self._places) < MOST_PLACES:
            self._places[message.key()] = number
        self._offsets[number] = max(self._offsets.get(number, 0), offset + 1)

    def _wait(self, unsent: Callable[[], Any]) -> None:
        """Wait until nothing is left to be waited for, and say so where that takes long.

        Raises:
            KeyboardInterrupt: we are to stop, and the broker takes nothing.
        """
        moved = said = time.monotonic()
        left = len(self._producer)
        while unsent():
            self._check()
            now = time.monotonic()
            if len(self._producer) != left:
                left, moved = len(self._producer), now
            if self._stop() and now - moved > STOPS_AFTER:
                log.warning(
                    "%s: stopped while %s was away; nothing is lost, start again", self._name, connection.servers()
                )
                raise KeyboardInterrupt
            if now - max(said, moved) > SAID_EVERY:
                log.warning(
                    "%s: waiting for %s since %.0f s (%s)",
                    self._name,
                    connection.servers(),
                    now - moved,
                    self._errors.last,
                )
                said = now
        self._check()

    def _check(self) -> None:
        if self._failed is not None:
            raise BrokerError(f"{self._name}: {self._failed.name()}: {self._failed.str()}")


class _Appended(_Topic):
    """A topic that keeps every message: those whose ids are ``there`` are not sent again."""

    def __init__(
        self,
        name: str,
        producer: Any,
        offsets: Offsets,
        there: set[str],
        errors: connection.ClientErrors,
        stop: Callable[[], bool],
    ) -> None:
        super().__init__(name, producer, offsets, errors, stop)
        self._ids = there

    def snapshot(self) -> dict[str, Any]:
        return super().snapshot() | {"ids": sorted(self._ids)}

    def _there(self, message: Message) -> bool:
        if message.id not in self._ids:
            return False
        self._ids.remove(message.id)
        return True


class _Compacted(_Topic):
    """A topic that keeps the newest message of each key: one not newer than that is not sent again."""

    def __init__(
        self,
        name: str,
        producer: Any,
        offsets: Offsets,
        newest: dict[bytes, int],
        errors: connection.ClientErrors,
        stop: Callable[[], bool],
    ) -> None:
        super().__init__(name, producer, offsets, errors, stop)
        self._newest = newest

    def _there(self, message: Message) -> bool:
        assert message.key is not None, f"{message.id} has no key"
        assert message.sequence is not None, f"{message.id} has no sequence"
        if message.sequence <= self._newest.get(message.key, -1):
            return True
        self._newest[message.key] = message.sequence
        return False


def compacted(topic: str) -> bool:
    """Whether a topic keeps the newest message of each key only."""
    return topic in TOPICS and TOPICS[topic].compacted


def read_newest(topic: str) -> dict[bytes, Newest]:
    """Read a compacted topic whole: the newest message of each key.

    Raises:
        BrokerError: the broker cannot be reached, or refuses us.
    """
    errors = connection.ClientErrors()
    newest: dict[bytes, Newest] = {}
    name = connection.topic_name(topic)
    for message in read(name, None, _ends(name, errors), errors):
        sequence = dict(message.headers() or ()).get(SEQUENCE)
        if sequence is not None and (found := Newest(int(sequence), message.value())) > newest.get(
            message.key(), (-1,)
        ):
            newest[message.key()] = found
    return newest


def read_messages(topic: str, kind: type[T]) -> list[T]:
    """Read what a small topic holds, in its order; what does not keep the contract is left out.

    Raises:
        BrokerError: the broker cannot be reached, or refuses us.
    """
    errors = connection.ClientErrors()
    name = connection.topic_name(topic)
    decode = msgspec.json.Decoder(kind).decode
    found = []
    for message in read(name, None, _ends(name, errors), errors):
        with contextlib.suppress(msgspec.MsgspecError):
            found.append(decode(message.value() or b""))
    return found


def read(name: str, begins: Offsets | None, ends: Offsets, errors: connection.ClientErrors) -> Iterator[Any]:
    """Yield the messages of a topic from ``begins`` (none: the first there is) to before ``ends``."""
    consumer = Consumer(
        connection.config(
            errors,
            group_id="cityair-read-back",  # asked for by the client, never committed
            enable_auto_commit=False,
            enable_partition_eof=True,
            auto_offset_reset="earliest",
            isolation_level="read_uncommitted",  # what stands behind an open transaction is there too
        )
    )
    try:
        left = {n: end for n, end in ends.items() if end > (begins or {}).get(n, 0)}
        first = -2 if begins is None else None  # -2: the beginning
        consumer.assign([TopicPartition(name, n, first or (begins or {}).get(n, 0)) for n in left])
        silent_since = time.monotonic()
        while left:
            for message in consumer.consume(10_000, 0.2):
                silent_since = time.monotonic()
                error, number = message.error(), message.partition()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise BrokerError(f"{name}: {error.name()}: {error.str()}")
                if number not in left:
                    continue
                if error is None and message.offset() < left[number]:
                    yield message
                if message.offset() + (error is None) >= left[number]:
                    del left[number]
            if time.monotonic() - silent_since > connection.PATIENCE_S:
                raise BrokerError(f"{name}: no answer from {connection.servers()} ({errors.last})")
    finally:
        consumer.close()


def _ends(name: str, errors: connection.ClientErrors) -> Offsets:
    """Ask where each partition of a topic ends."""
    consumer = Consumer(connection.config(errors, group_id="cityair-read-back", isolation_level="read_uncommitted"))
    try:

        def end(number: int) -> int:
            asked = TopicPartition(name, number)
            high: int = connection.retry(lambda limit: consumer.get_watermark_offsets(asked, timeout=limit), errors)[1]
            return high

        return {number: end(number) for number in connection.partitions(consumer, name, errors)}
    finally:
        consumer.close()
