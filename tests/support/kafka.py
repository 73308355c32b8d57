"""Messages and events of Kafka's client without a broker."""

from confluent_kafka import KafkaError, Message

CREATE_TIME = 1
NO_STAMP = (0, -1)


def message(offset, value=b"{}", *, topic="t", partition=0, key=b"k", headers=None, stamp_ms=0):
    """A message as a consumer gives it; without a time stamp where that is None."""
    stamp = NO_STAMP if stamp_ms is None else (CREATE_TIME, stamp_ms)
    return Message(
        topic=topic, partition=partition, offset=offset, key=key, value=value, headers=headers, timestamp=stamp
    )


def error(code, *, offset=None, topic="t", partition=0):
    """An error event as a consumer gives it."""
    at = {} if offset is None else {"offset": offset}
    return Message(topic=topic, partition=partition, error=KafkaError(code), timestamp=NO_STAMP, **at)


def end(offset, *, topic="t", partition=0):
    """The event that a partition ends at an offset."""
    return error(KafkaError._PARTITION_EOF, offset=offset, topic=topic, partition=partition)


class ScriptedConsumer:
    """A consumer that gives prepared events, and nothing after them; keeps what it was assigned."""

    def __init__(self, *chunks):
        self._chunks = list(chunks)
        self.assigned = []

    def assign(self, partitions):
        self.assigned = [(at.topic, at.partition, at.offset) for at in partitions]

    def consume(self, number, timeout):
        return self._chunks.pop(0) if self._chunks else []
