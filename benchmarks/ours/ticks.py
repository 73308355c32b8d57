"""One process: every 100 ms the next minute of every station to a topic, and when the last reading of each was sent.

``python -m benchmarks.ours.ticks CITY TOPIC FIRST COUNT``: minutes FIRST to FIRST + COUNT - 1 after the start. Prints
the stamps by slot, nanoseconds since 1970. Each message has a header that names its slot, as ours have.
"""

import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from confluent_kafka import Producer

from benchmarks.generate import START, Line
from flows.broker.connection import Connection
from flows.settings import load_city

EVERY = 0.1
USUAL = np.array([40.0, 20.0, 0.03, 0.02, 0.5, 0.003])
NOISE = USUAL / 20
"""A little of its usual value, each minute, or every station would seem stuck."""
AHEAD = 0.5
"""Seconds before the first is sent."""


def main() -> None:
    """Send them in time."""
    city, topic, first, count = load_city(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    zone = ZoneInfo(city.city.timezone)
    producer = Producer(Connection().settings(compression_type="lz4", linger_ms=0, partitioner="murmur2_random"))
    producer.list_topics(topic, timeout=10)
    encode = msgspec.json.Encoder().encode
    draw, air = np.random.default_rng(first), np.full((len(city.stations), 6), USUAL)
    stamps, behind = {}, 0.0
    begin = time.perf_counter() + AHEAD
    for number in range(count):
        at = START + timedelta(minutes=first + number)
        observed, slot = at.astimezone(zone).isoformat(), int(at.timestamp())
        air += (USUAL - air) / 20 + draw.normal(size=air.shape) * NOISE
        rows = np.maximum(air, 0.0).round(4).tolist()
        messages = [
            (station.id, encode(Line(station.id, observed, *row)), [("ce_id", f"{station.id}:{slot}".encode())])
            for station, row in zip(city.stations, rows, strict=True)
        ]
        due = begin + number * EVERY
        time.sleep(max(0.0, due - time.perf_counter()))
        behind = max(behind, time.perf_counter() - due)
        for key, value, headers in messages:
            stamps[slot] = time.time_ns()
            producer.produce(topic, value, key, headers=headers)
        producer.poll(0)
    if producer.flush(10):
        sys.exit("messages did not arrive")
    print(json.dumps({"stamps": stamps, "behind_ms": 1000 * behind}))


if __name__ == "__main__":
    main()
