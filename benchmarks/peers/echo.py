"""One process: a raw consume-and-produce loop, each message to another topic as it came; until SIGTERM.

``python -m benchmarks.peers.echo SERVERS FROM TO``: confluent-kafka, linger 0. The limit of whatever reads a topic and
answers on another.
"""

import signal
import sys

from confluent_kafka import Consumer, Producer, TopicPartition


def main() -> None:
    """Pass on what comes from now on."""
    servers, source, target = sys.argv[1:]
    going = True

    def stop(*_: object) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "echo", "enable.auto.commit": False})
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 0, "compression.type": "lz4"})
    numbers = consumer.list_topics(source, timeout=10).topics[source].partitions
    ends = {n: consumer.get_watermark_offsets(TopicPartition(source, n), timeout=10)[1] for n in numbers}
    consumer.assign([TopicPartition(source, number, end) for number, end in ends.items()])
    while going:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            producer.produce(target, message.value(), message.key(), headers=message.headers())
        producer.poll(0)
    producer.flush(5)
    consumer.close()


if __name__ == "__main__":
    main()
