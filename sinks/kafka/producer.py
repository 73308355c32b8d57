"""Messages into a topic, as an instrument's gateway would send them: every delivery is checked."""

import time
from typing import Any

from confluent_kafka import KafkaError, Producer

from flows.broker import connection
from schemas.errors import BrokerError

PATIENCE = 60.0
"""Seconds that a broker may be away while messages wait for it."""
MOST_UNSENT = 100_000
"""Messages on their way at once; then the next one waits."""


class Publisher:
    """Writes into one topic, once each as long as this process lives; it knows nothing of earlier ones.

    Args:
        topic: contract name; ``CITYAIR_KAFKA_PREFIX`` stands before it on the broker.

    Raises:
        BrokerError: the broker cannot be reached, or refuses us.
        ConfigurationError: the topic is not there.
    """

    def __init__(self, topic: str) -> None:
        self.name = connection.topic_name(topic)
        self._errors = connection.ClientErrors()
        self._refused: KafkaError | None = None
        self._producer: Any = Producer(
            connection.config(
                self._errors,
                enable_idempotence=True,
                compression_type="lz4",
                linger_ms=5,
                partitioner="murmur2_random",  # as Kafka's Java clients
                message_timeout_ms=int(PATIENCE * 1000),
                queue_buffering_max_messages=MOST_UNSENT,
            )
        )
        connection.partitions(self._producer, self.name, self._errors)

    def send(self, key: bytes, value: bytes) -> None:
        """Send one message; waits where too many are on their way.

        Raises:
            BrokerError: the broker has refused an earlier one, or is away for too long.
        """
        while True:
            try:
                self._producer.produce(self.name, value, key, on_delivery=self._delivered)
                break
            except BufferError:
                self._producer.poll(0.2)
                self._check()
        self._producer.poll(0)
        self._check()

    def wait(self, seconds: float) -> None:
        """Let time pass while messages are on their way."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._producer.poll(left)
            self._check()

    def finish(self) -> None:
        """Wait until the broker has everything.

        Raises:
            BrokerError: it has refused a message, or is away for too long.
        """
        while self._producer.flush(0.5):
            self._check()
        self._check()

    def _delivered(self, error: KafkaError | None, _: Any) -> None:
        self._refused = self._refused or error

    def _check(self) -> None:
        if self._refused is not None:
            said = f" ({self._errors.last})" if self._errors.last else ""
            raise BrokerError(f"{self.name}: {self._refused.name()}: {self._refused.str()}{said}")
