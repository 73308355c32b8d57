"""One process: all that a topic holds, as one Python process can take it; the limit of whatever does more.

``python -m benchmarks.ours.consume CITY TOPIC raw|columns``: ``raw`` takes the messages and looks at none, ``columns``
decodes them by ``flows.decode.decoder.Decoder`` and keeps nothing.
"""

import json
import sys
import time
from itertools import groupby
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from flows.air import FLOW
from flows.broker.connection import Connection
from flows.settings import load_city

MESSAGES = 500
"""At once; with thousands it takes half as long again, because they do not stay in the cache."""
EOF = KafkaError._PARTITION_EOF


def main() -> None:
    """Read every partition to its end."""
    decoder, topic, columns = FLOW.decoder(load_city(Path(sys.argv[1]))), sys.argv[2], sys.argv[3] == "columns"
    config = Connection().settings(
        group_id="cityair-benchmark",
        enable_auto_commit=False,
        enable_partition_eof=True,
        fetch_queue_backoff_ms=10,
    )
    began = time.perf_counter()
    consumer = Consumer(config)
    left = set(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, number, 0) for number in left])
    messages = readings = refused = 0
    first = 0.0
    while left:
        found = consumer.consume(MESSAGES, 0.1)
        first = first or (time.perf_counter() if found else 0.0)
        ends = {message.partition() for message in found if _code(message) == EOF}
        if any(_code(message) not in (None, EOF) for message in found):
            sys.exit(f"the broker says: {next(message.error() for message in found if message.error())}")
        left -= ends
        if ends:
            found = [message for message in found if message.error() is None]
        messages += len(found)
        if columns:
            for part, run in groupby(found, _partition):
                rows, rejects, _ = decoder.lines(part, 0, b"\n".join([*(one.value() for one in run), b""]))
                readings += len(rows)
                refused += len(rejects)
    ended = time.perf_counter()
    consumer.close()
    said = {"messages": messages, "readings": readings, "refused": refused}
    print(json.dumps({"seconds": ended - began, "first": first - began, **said}))


def _code(message: Any) -> int | None:
    error = message.error()
    return None if error is None else int(error.code())


def _partition(message: Any) -> int:
    return int(message.partition())


if __name__ == "__main__":
    main()
