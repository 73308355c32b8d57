"""One process: a file of NDJSON to a topic, each line a message, keyed by its station.

``python -m benchmarks.ours.fill_topic FILE TOPIC``, to the broker of ``CITYAIR_KAFKA``.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from flows.broker.connection import Connection

MOST_UNSENT = 200_000


def main() -> None:
    """Send every line, and wait until all have arrived."""
    path, topic = Path(sys.argv[1]), sys.argv[2]
    producer = Producer(
        Connection().settings(
            compression_type="lz4",
            linger_ms=50,
            batch_size=1 << 20,
            partitioner="murmur2_random",
            queue_buffering_max_messages=MOST_UNSENT,
        )
    )
    lost = 0

    def arrived(error: Any, _: Any) -> None:
        nonlocal lost
        lost += error is not None

    began, count = time.perf_counter(), 0
    with path.open("rb") as file:
        for line in file:
            key = line[line.index(b':"') + 2 :].partition(b'"')[0]
            while True:
                try:
                    producer.produce(topic, line[:-1], key, on_delivery=arrived)
                    break
                except BufferError:
                    producer.poll(0.1)
            count += 1
            if not count % 1000:
                producer.poll(0)
    left = producer.flush(60)
    if lost or left:
        sys.exit(f"{lost + left} of {count} messages did not arrive")
    print(json.dumps({"messages": count, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main()
