"""Reading a topic back: from given offsets, or from its beginning, to where it ends now."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import methodcaller
from typing import NamedTuple, TypeVar, cast

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from flows.broker.connection import RETRIABLE, Connection, servers, topic_name
from flows.broker.unreadable import is_unreadable, readable_from
from schemas.errors import BrokerError
from schemas.headers import SEQUENCE

GROUP = "cityair-read-back"
"""Asked for by the client, and by the broker's access rules; never committed."""
CHUNK_MESSAGES = 10_000
POLL_TIMEOUT_S = 0.2

Offsets = dict[int, int]
"""An offset of each partition of a topic, by its number."""
RecordHeaders = list[tuple[str, bytes | None]]
T = TypeVar("T")
_HEADERS = methodcaller("headers")
"""The client returns what it has with the error still set. A plain call, once Python has specialised it, does not look,
and the error rises from a later line; this one always looks."""
log = logging.getLogger("cityair")


class NewestMessage(NamedTuple):
    """The newest message of a key on a compacted topic; None is a tombstone."""

    sequence: int
    value: bytes | None


def is_partition_end(error: KafkaError, topic: str) -> bool:
    """Whether a client's event says that a partition's end was reached; false for errors that end by themselves.

    Args:
        error: of the event.
        topic: names the topic in messages.

    Raises:
        BrokerError: any other error.
    """
    if error.code() == KafkaError._PARTITION_EOF:
        return True
    if error.name() in RETRIABLE and not error.fatal():
        return False
    raise BrokerError(f"{topic}: {error.name()}: {error.str()}")


def place_of(event: Message) -> tuple[str, int]:
    """Topic and partition of what a consumer gave; messages that nobody has sent yet have none."""
    topic, partition = event.topic(), event.partition()
    assert topic is not None
    assert partition is not None
    return topic, partition


def offset_of(event: Message) -> int:
    """Offset of what a consumer gave; a message that nobody has sent yet has none."""
    offset = event.offset()
    assert offset is not None
    return offset


def headers_of(message: Message) -> RecordHeaders:
    """Headers of what a consumer gave, in order; none where a name is not UTF-8, for then the client gives none."""
    try:
        return cast(RecordHeaders, _HEADERS(message) or [])
    except (UnicodeDecodeError, SystemError):  # of which, is the client's affair
        return []


def offset_after(event: Message) -> int:
    """Offset at which reading goes on, after a message or after the event that its partition ends."""
    return offset_of(event) + (event.error() is None)


def ends_of(consumer: Consumer, topic: str, connection: Connection) -> Offsets:
    """Offset at which each partition of a topic ends, by the topic's name on the broker.

    Raises:
        BrokerError: the broker cannot be reached, or refuses us.
        ConfigurationError: the topic is not there.
    """
    numbers = connection.partitions(consumer, topic)
    return {number: connection.watermarks(consumer, topic, number)[1] for number in numbers}


def messages_between(
    consumer: Consumer,
    topic: str,
    begins: Offsets | None,
    ends: Offsets,
    connection: Connection,
    *,
    chunk: int = CHUNK_MESSAGES,
) -> Iterator[Message]:
    """Messages of a topic between offsets, partition by partition in their order.

    Args:
        consumer: of `Connection.consumer_settings`; is assigned what has to be read.
        topic: name on the broker.
        begins: first offset of each partition, 0 where it is not named; None for the first that the broker has.
        ends: offset after the last message of each partition.
        connection: of the consumer.
        chunk: messages taken from the client at once.

    Raises:
        BrokerError: the broker stops answering, or refuses us.
    """
    left = {number: end for number, end in ends.items() if end > (begins or {}).get(number, 0)}
    places = {number: OFFSET_BEGINNING if begins is None else begins.get(number, 0) for number in left}
    consumer.assign([TopicPartition(topic, number, offset) for number, offset in places.items()])
    heard = time.monotonic()
    while left:
        answered = False
        for event in consumer.consume(chunk, POLL_TIMEOUT_S):
            error, (_, number) = event.error(), place_of(event)
            if error is not None and is_unreadable(error) and number in left:
                after = _after_unreadable(event, topic, places[number], left[number], connection)
            elif error is not None and not is_partition_end(error, topic):
                continue
            else:
                after = offset_after(event)
            answered = True
            if number not in left:
                continue
            if error is None and offset_of(event) < left[number]:
                yield event
            places[number] = max(after, places[number])
            if after >= left[number]:
                del left[number]
            if error is not None and is_unreadable(error):  # the client would not go on after it
                consumer.assign([TopicPartition(topic, n, places[n]) for n in left])
                break
        if answered:
            heard = time.monotonic()  # now, because whoever takes the messages may have taken long
        elif time.monotonic() - heard > connection.policy.timeout_s:
            raise BrokerError(f"{topic}: no answer from {servers()} ({connection.errors.last})")


def _after_unreadable(event: Message, topic: str, place: int, end: int, connection: Connection) -> int:
    """Offset after a batch that the client cannot read; its messages are passed over, and logged."""
    offset = event.offset()
    first = max(place, offset if offset is not None and offset < end else 0)
    where = TopicPartition(topic, place_of(event)[1], first)
    after = readable_from(connection.consumer_settings(GROUP), where, end, connection)
    if after > first:
        log.warning(
            "%s [%d]: offsets %d to %d cannot be read, and are left out", topic, where.partition, first, after - 1
        )
    return after


def followed(consumer: Consumer, events: Sequence[Message], topic: str, connection: Connection) -> list[Message]:
    """What a consumer that follows a topic gave, without what cannot be read; the consumer goes on after that.

    Args:
        consumer: assigned to all partitions of the topic.
        events: that it gave just now.
        topic: name on the broker.
        connection: of the consumer.

    Raises:
        BrokerError: the broker stops answering, or refuses us.
    """
    lost: dict[int, int] = {}
    taken = []
    for event in events:
        error, (_, number) = event.error(), place_of(event)
        if number in lost:  # the client has lost its place in the bytes
            continue
        if error is None or not is_unreadable(error):
            taken.append(event)
            continue
        _, end = connection.watermarks(consumer, topic, number)
        lost[number] = _after_unreadable(event, topic, 0, end, connection)
    if lost:
        assigned = consumer.assignment()
        places = {at.partition: at.offset for at in assigned}
        places |= {at.partition: at.offset for at in consumer.position(assigned) if at.offset >= 0}
        consumer.assign([TopicPartition(topic, number, offset) for number, offset in (places | lost).items()])
    return taken


@contextlib.contextmanager
def reader(connection: Connection) -> Iterator[Consumer]:
    """A consumer for one reading; sees what stands behind an open transaction, too.

    Raises:
        ConfigurationError: the broker's settings do not fit together.
    """
    consumer = Consumer(connection.consumer_settings(GROUP, isolation_level="read_uncommitted"))
    try:
        yield consumer
    finally:
        consumer.close()


def read_newest(topic: str, connection: Connection | None = None) -> dict[bytes, NewestMessage]:
    """Newest message of each key of a compacted topic, by its contract name; those without a sequence do not count.

    Raises:
        BrokerError: the broker cannot be reached, or refuses us.
        ConfigurationError: the topic is not there.
    """
    newest: dict[bytes, NewestMessage] = {}
    for message in _all_messages(topic, connection or Connection()):
        key, sequence = message.key(), dict(headers_of(message)).get(SEQUENCE)
        if key is None or sequence is None or not sequence.isdigit():
            continue
        known = newest.get(key)
        if known is None or int(sequence) > known.sequence:
            newest[key] = NewestMessage(int(sequence), message.value())
    return newest


def read_messages(topic: str, parse: Callable[[bytes], T], connection: Connection | None = None) -> list[T]:
    """What a small topic holds, by its contract name and in its order; what cannot be read is left out, and logged.

    Args:
        topic: contract name.
        parse: reads the bytes of a message; raises ValueError, or an error of msgspec, where it cannot.
        connection: to the broker.

    Raises:
        BrokerError: the broker cannot be reached, or refuses us.
        ConfigurationError: the topic is not there.
    """
    return list(parsed(_all_messages(topic, connection or Connection()), parse, topic_name(topic)))


def parsed(messages: Iterable[Message], parse: Callable[[bytes], T], topic: str) -> Iterator[T]:
    """Read messages, without tombstones; what cannot be read is left out, and logged."""
    for message in messages:
        value = message.value()
        if value is None:
            continue
        try:
            yield parse(value)
        except (msgspec.MsgspecError, ValueError, RecursionError) as err:
            where = f"{topic} [{message.partition()}] at offset {message.offset()}"
            log.warning("%s cannot be read, and is left out: %s", where, err)


def _all_messages(topic: str, connection: Connection) -> Iterator[Message]:
    name = topic_name(topic)
    with reader(connection) as consumer:
        yield from messages_between(consumer, name, None, ends_of(consumer, name, connection), connection)
