"""Batches that the client cannot read: damaged, or packed so that they unpack to more than it takes.

Kafka's client tells where such a batch begins, tells it again and again, and never goes on after it. Where the batch
ends is found by asking for offsets within and behind it.
"""

import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, TopicPartition

from flows.broker.connection import RETRIABLE, Config, Connection, servers
from schemas.errors import BrokerError

UNREADABLE = (
    KafkaError._BAD_MSG,
    KafkaError._BAD_COMPRESSION,
    KafkaError._NOT_IMPLEMENTED,
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_MSG_SIZE,
    KafkaError.MSG_SIZE_TOO_LARGE,
)
"""Errors that speak of bytes at an offset, and come again however often they are asked for."""
PASSING = (*RETRIABLE, "_AUTO_OFFSET_RESET", "OFFSET_OUT_OF_RANGE")
"""Errors that end by themselves; a client that met damaged bytes may ask for what it took for an offset."""
POLL_TIMEOUT_S = 0.2
SILENCE_S = 2.0
"""A client that says nothing for so long about an offset is asked anew: questions in quick succession get lost."""


def is_unreadable(error: KafkaError) -> bool:
    """Whether a client's event says that it cannot read what stands at its offset."""
    return error.code() in UNREADABLE and not error.fatal()


def readable_from(settings: Config, place: TopicPartition, end: int, connection: Connection) -> int:
    """First offset, from a place on, that is not in the batch there that cannot be read; the place's own if it can now.

    Args:
        settings: of a consumer that is told of the ends of partitions.
        place: topic and partition by their names on the broker, and an offset in the batch.
        end: offset at which the partition ends; it is not after that.
        connection: of the client.

    Raises:
        BrokerError: the broker stops answering, or refuses us.
    """
    consumer = Consumer(settings | {"fetch.message.max.bytes": 1, "queued.max.messages.kbytes": 1024})
    try:
        return first_outside(place.offset, end, lambda offset: _is_inside(consumer, place, offset, end, connection))
    finally:
        consumer.close()


def first_outside(begin: int, end: int, is_inside: Callable[[int], bool]) -> int:
    """Find the first offset from ``begin`` up to ``end`` that is not inside; all that are, lie together at the begin.

    >>> asked = []
    >>> first_outside(10, 10_000, lambda offset: asked.append(offset) or offset < 137)
    137
    >>> len(asked)
    14
    """
    if begin >= end or not is_inside(begin):
        return begin
    inside, step = begin, 1
    while inside + step < end and is_inside(inside + step):
        inside, step = inside + step, 2 * step
    outside = min(inside + step, end)
    while outside - inside > 1:
        middle = (inside + outside) // 2
        if is_inside(middle):
            inside = middle
        else:
            outside = middle
    return outside


def _is_inside(consumer: Consumer, place: TopicPartition, offset: int, end: int, connection: Connection) -> bool:
    """Whether an offset lies in an unreadable batch that holds the place's offset, too.

    An error may be of no offset, or of one that is no offset but damaged bytes: then it is of the one asked for.
    """
    until, ask_at, silence_s = time.monotonic() + connection.policy.timeout_s, 0.0, SILENCE_S
    while (now := time.monotonic()) < until:
        if now >= ask_at:
            _ask_anew(consumer, TopicPartition(place.topic, place.partition, offset))
            ask_at, silence_s = now + silence_s, 2 * silence_s  # longer each time: a slow broker may need it
        event = consumer.poll(POLL_TIMEOUT_S)
        if event is None:
            continue
        error, at = event.error(), event.offset()
        if error is None or error.code() == KafkaError._PARTITION_EOF:
            return False
        if is_unreadable(error):
            return at <= place.offset if at is not None and 0 <= at < end else offset == place.offset
        if error.name() not in PASSING or error.fatal():
            raise BrokerError(f"{place.topic}: {error.name()}: {error.str()}")
    raise BrokerError(f"{place.topic}: no answer from {servers()} ({connection.errors.last})")


def _ask_anew(consumer: Consumer, place: TopicPartition) -> None:
    """Assign an offset; events of what was asked for before are dropped."""
    consumer.unassign()
    while consumer.poll(0) is not None:
        pass
    consumer.assign([place])
