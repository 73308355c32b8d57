"""Messages into a topic, as an instrument's gateway sends them: every delivery is checked."""

import time

from confluent_kafka import KafkaError, Producer

from flows.broker.connection import Connection, topic_name
from schemas.errors import BrokerError

MAX_UNSENT_MESSAGES = 100_000
"""Messages that the broker has not acknowledged; then the next one waits."""
DELIVERY_TIMEOUT_S = 60.0
"""Seconds that a broker may be away while messages wait for it."""


class Publisher:
    """Producer of one topic: each message once as long as this process lives; it knows nothing of earlier ones.

    Args:
        topic: contract name; ``CITYAIR_KAFKA_PREFIX`` stands before it on the broker.
        connection: to the broker.

    Attributes:
        name: the topic's name on the broker.

    Raises:
        BrokerError: the broker cannot be reached, or refuses us.
        ConfigurationError: the topic is not there.
    """

    def __init__(self, topic: str, connection: Connection | None = None) -> None:
        self.name = topic_name(topic)
        self._connection = connection or Connection()
        self._refusal: KafkaError | None = None
        self._client = Producer(
            self._connection.producer_settings(
                linger_ms=5,
                message_timeout_ms=int(DELIVERY_TIMEOUT_S * 1000),
                queue_buffering_max_messages=MAX_UNSENT_MESSAGES,
            )
        )
        self._connection.partitions(self._client, self.name)

    def send(self, key: bytes, value: bytes) -> None:
        """Send one message; waits where too many are on their way.

        Raises:
            BrokerError: the broker has refused an earlier one, or is away for too long.
        """
        while True:
            try:
                self._client.produce(self.name, value, key, on_delivery=self._delivered)
                break
            except BufferError:
                self._client.poll(0.2)
                self._check()
        self._client.poll(0)
        self._check()

    def wait(self, seconds: float) -> None:
        """Let time pass while messages are on their way.

        Raises:
            BrokerError: the broker has refused a message, or is away for too long.
        """
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._client.poll(left)
            self._check()

    def finish(self) -> None:
        """Wait until the broker has everything.

        Raises:
            BrokerError: it has refused a message, or is away for too long.
        """
        while self._client.flush(0.5):
            self._check()
        self._check()

    def _delivered(self, error: KafkaError | None, _: object) -> None:
        self._refusal = self._refusal or error

    def _check(self) -> None:
        if self._refusal is not None:
            raise BrokerError(f"{self.name}: {self._refusal.name()}: {self._refusal.str()}{self._connection.complaint}")
