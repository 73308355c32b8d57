"""A broker for benchmarks: the one of the tests, started as a server is, with topics as the city wants them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import CITYAIR, BenchmarkError, child, python

HEAP = "1g"
READINGS, ROLLING = "env.air.reading.v1", "env.air.rolling.v1"


@contextmanager
def running(folder: Path, city: Path) -> Iterator[str]:
    """Run a broker, make the city's topics, and name its servers; ``CITYAIR_KAFKA`` says so to all that is started.

    Raises:
        BenchmarkError: java or mvn is missing, or the broker does not start.
    """
    from tests.support.broker import Broker  # noqa: PLC0415, only what needs a broker needs its client
    from tests.support.kafka_server import missing  # noqa: PLC0415

    if lacks := missing():
        raise BenchmarkError(f"no Kafka broker can be started: {lacks} is missing")
    before = dict(os.environ)
    try:
        with Broker(folder, heap=HEAP, quick=False) as broker:
            os.environ.update(broker.environment())
            child([CITYAIR, "topics", "create", "--city", str(city)])
            yield broker.servers
    finally:
        os.environ.clear()
        os.environ.update(before)


def make_like(topic: str, *names: str) -> None:
    """Make topics with the partitions and settings of one that is there."""
    child(python("ours.make_like", topic, *names))
