"""Shows a topic as it lives, without cityair: what anybody's consumer sees.

From the root: ``python -m tests.support.follow env.air.rolling.v1``, until Ctrl-C; ``CITYAIR_KAFKA`` names the broker.
"""

import contextlib
import json
import os
import signal
import sys

from confluent_kafka import Consumer, KafkaException


def main(topic: str) -> None:
    """Print each message: its key, its time, and of a rolling mean the newest 1 h values."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ.get("CITYAIR_KAFKA", "localhost:9092"),
            "group.id": "analyst-follow",
            "log_level": 0,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            message = consumer.poll(0.5)
            if message is None:
                continue
            if message.error():
                raise KafkaException(message.error())
            print((message.key() or b"").decode(), told(json.loads(message.value())), flush=True)
    consumer.close()


def told(message: dict) -> str:
    """Tell a message of ``env.air.rolling.v1`` in a line; any other as it is.

    >>> told({"ended_at": "2026-11-22T09:00:00+09:00", "means": {"pm25": {"1h": {"mean": 21.96, "valid": True}}}})
    '2026-11-22T09:00:00+09:00 pm25 22'
    """
    if "means" not in message:
        return json.dumps(message, ensure_ascii=False)
    hour = {name: windows["1h"]["mean"] for name, windows in message["means"].items() if "1h" in windows}
    return " ".join([message["ended_at"], *(f"{name} {mean:.3g}" for name, mean in hour.items())])


if __name__ == "__main__":
    main(*sys.argv[1:])
