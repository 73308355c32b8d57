"""One process: when the last message of each slot is in a consumer's hands; until SIGTERM.

``python -m benchmarks.ours.listen TOPIC …``. Prints by topic and slot: how many messages, and when the last one came,
nanoseconds since 1970.
"""

import json
import signal
import sys
import time

from confluent_kafka import Consumer, TopicPartition

from flows.broker.connection import Connection


def main() -> None:
    """Listen from now on."""
    going = True

    def stop(*_: object) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    consumer = Consumer(
        Connection().settings(group_id="cityair-benchmark", enable_auto_commit=False, fetch_wait_max_ms=100)
    )
    partitions = [
        TopicPartition(topic, number, consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1])
        for topic in sys.argv[1:]
        for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions
    ]
    consumer.assign(partitions)
    found: dict[str, dict[int, list[int]]] = {topic: {} for topic in sys.argv[1:]}
    while going:
        message = consumer.poll(0.2)
        if message is None or message.error() is not None:
            continue
        now = time.time_ns()
        slot = int(dict(message.headers())["ce_id"].rpartition(b":")[2])
        one = found[message.topic()].setdefault(slot, [0, 0])
        one[0], one[1] = one[0] + 1, now
    consumer.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
