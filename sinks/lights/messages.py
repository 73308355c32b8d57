"""Texts of people for lights, into the topic that the flow reads them from."""

from collections.abc import Sequence

import msgspec

from schemas.light import LightMessage
from sinks.kafka.producer import Publisher

MESSAGE_TOPIC = "env.light.message.v1"


def send(messages: Sequence[LightMessage]) -> str:
    """Send texts, keyed by light; return the topic's name on the broker once all are delivered.

    Raises:
        BrokerError: the broker cannot be reached, or refuses a message.
        ConfigurationError: the topic is not there.
    """
    publisher = Publisher(MESSAGE_TOPIC)
    for message in messages:
        publisher.send(message.light_id.encode(), msgspec.json.encode(message))
    publisher.finish()
    return publisher.name
