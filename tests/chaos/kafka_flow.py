"""The real command between topics of its own, and the producer that feeds it."""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic

from flows.air import FLOW
from schemas.headers import DEAD_LETTER_ID, EVENT_ID
from schemas.topics import PARTITIONS, TOPICS, dead_letter_topic
from tests.chaos.city_air import BEGIN, minutes_of_messages
from tests.support.kafka_remote import Remote

COMMAND = Path(sys.executable).with_name("cityair")
EPOCH = "0.1s"
READINGS, ROLLING = "env.air.reading.v1", "env.air.rolling.v1"
DEAD_LETTERS = dead_letter_topic(READINGS)
OUT_TOPICS = [*FLOW.outputs, *(dead_letter_topic(topic) for topic in FLOW.inputs)]
MAX_RUN_S = 600
FLUSH_TIMEOUT_S = 120
"""Within it a producer must get rid of what it could not send while its broker was away."""


class Sent(NamedTuple):
    """A message of a topic, without its offset and its time."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class KafkaFlow:
    """A flow of the real command, with its own topics, lake and store.

    Args:
        broker: where its topics are.
        folder: holds city.toml, and gets the lake.
        name: of its lake, and what its topics' names begin with.
    """

    def __init__(self, broker: Remote, folder: Path, name: str) -> None:
        self.broker, self.name = broker, name
        self.prefix = f"{folder.name}.{name}."
        self.lake = folder / f"lake-{name}"
        self._city = folder / "city.toml"

    def make_topics(self, replication: int = -1, **config: str) -> None:
        """Make the city's topics."""
        settings = {"retention.ms": "-1"} | {key.replace("_", "."): value for key, value in config.items()}
        parts = {name: PARTITIONS if topic.spread else 1 for name, topic in TOPICS.items()}
        parts |= {dead_letter_topic(name): 1 for name, topic in TOPICS.items() if topic.direction == "in"}
        compacted = {name: {"cleanup.policy": "compact"} for name, topic in TOPICS.items() if topic.compacted}
        self.broker.create_all(
            [
                NewTopic(self.prefix + t, n, replication, config=settings | compacted.get(t, {}))
                for t, n in parts.items()
            ]
        )

    def environment(self, **more: str) -> dict[str, str]:
        """The variables of a run."""
        own = {"CITYAIR_KAFKA_PREFIX": self.prefix, "CITYAIR_CITY": str(self._city), "CITYAIR_LAKE": str(self.lake)}
        return os.environ | self.broker.environment() | own | {"CITYAIR_EPOCH": EPOCH} | more

    def start(self, *options: str, **more: str) -> subprocess.Popen[bytes]:
        """Start the command; it runs until it is stopped or has to end."""
        command = [str(COMMAND), "run", "air", "--input", "kafka", "--output", "kafka", *options]
        return subprocess.Popen(command, stderr=subprocess.PIPE, env=self.environment(**more))

    def finish(self, *options: str, **more: str) -> str:
        """Run it to the end of the input, and return what it printed on stderr.

        Raises:
            RuntimeError: it ended with an error.
        """
        process = self.start("--stop-at-end", *options, **more)
        try:
            stderr = process.communicate(timeout=MAX_RUN_S)[1].decode()
        finally:
            process.kill()
        if process.returncode:
            raise RuntimeError(f"the {self.name} run ended with {process.returncode}: {stderr[-3000:]}")
        return stderr

    def contents(self, topic: str) -> list[list[Any]]:
        """Everything that is in a topic now, by partition."""
        settings = self.broker.client(
            group_id="kill",
            enable_partition_eof=True,
            enable_auto_commit=False,
            fetch_wait_max_ms=10,  # at an end there is nothing to wait for
            isolation_level="read_committed",
        )
        consumer = Consumer(settings)
        name = self.prefix + topic
        parts = sorted(consumer.list_topics(name, timeout=30).topics[name].partitions)
        consumer.assign([TopicPartition(name, n, -2) for n in parts])  # -2: the beginning
        messages: list[list[Any]] = [[] for _ in parts]
        ended: set[int] = set()
        while len(ended) < len(parts):
            for message in consumer.consume(10_000, 0.1):
                if message.error():
                    ended.add(message.partition())
                else:
                    messages[message.partition()].append(message)
        consumer.close()
        return messages

    def messages(self, topic: str) -> tuple[dict[str, Sent], list[str]]:
        """Messages of a topic by their id, and the ids that are there twice."""
        by_id: dict[str, Sent] = {}
        doubled = []
        for messages in self.contents(topic):
            for message in messages:
                name = dict(message.headers())[EVENT_ID if topic in TOPICS else DEAD_LETTER_ID].decode()
                if name in by_id:
                    doubled.append(name)
                sent = Sent(message.partition(), message.key(), message.value(), tuple(message.headers()))
                by_id.setdefault(name, sent)
        return by_id, doubled

    def copy(self, topic: str, messages: list[Any], partition: int) -> None:
        """Send messages of another flow as they are, with their time stamps."""
        producer = self.producer()
        for message in messages:
            producer.produce(
                self.prefix + topic,
                message.value(),
                message.key(),
                partition,
                timestamp=message.timestamp()[1],
                headers=message.headers(),
            )
            producer.poll(0)
        assert producer.flush(FLUSH_TIMEOUT_S) == 0

    def producer(self, **more: object) -> Any:
        """A client that writes as a gateway does."""
        return Producer(
            self.broker.client(
                enable_idempotence=True,
                partitioner="murmur2_random",
                linger_ms=5,
                queue_buffering_max_messages=1_000_000,
                message_timeout_ms=0,
                **more,
            )
        )

    def end(self, partition: int) -> int:
        """Offset at which a partition of the input ends."""
        consumer = Consumer(self.broker.client(group_id="kill"))
        _, high = consumer.get_watermark_offsets(TopicPartition(self.prefix + READINGS, partition), timeout=30)
        consumer.close()
        return int(high)

    def lag(self, topic: str = READINGS, group: str = "cityair-air") -> dict[int, int]:
        """Messages behind the group's committed offset, by partition: what Kafka's own tools show."""
        name = self.prefix + topic
        consumer = Consumer(self.broker.client(group_id=group, enable_auto_commit=False))
        parts = [TopicPartition(name, n) for n in consumer.list_topics(name, timeout=30).topics[name].partitions]
        lags = {}
        for part in consumer.committed(parts, timeout=30):
            low, high = consumer.get_watermark_offsets(part, timeout=30)
            lags[part.partition] = high - max(part.offset, low)
        consumer.close()
        return lags


class Writer:
    """Writes the city's air minute by minute while a ``with`` block lasts, in a thread of its own.

    Attributes:
        minutes: so many minutes are written.
    """

    def __init__(self, flow: KafkaFlow, dice: random.Random, late_share: float, minutes_a_second: int) -> None:
        self._flow, self._dice, self._late_share, self._rate = flow, dice, late_share, minutes_a_second
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._fault: BaseException | None = None
        self.minutes = 0

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.end()
        else:  # the error in the block shall be seen, not that its producer was stopped
            self._ended.set()

    def end(self) -> None:
        """Write no more, and see that everything has arrived."""
        self._ended.set()
        self._thread.join()
        self.check()

    def check(self) -> None:
        """Raise what ended the thread too early."""
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        try:
            producer = self._flow.producer()
            for minute in self._write(producer):
                self.minutes = minute
            left = producer.flush(FLUSH_TIMEOUT_S)
            assert not left, f"{left} of the writer's messages could not be sent within {FLUSH_TIMEOUT_S} s"
        except BaseException as err:
            self._fault = err

    def _write(self, producer: Any) -> Iterator[int]:
        """Write at the given pace until the end; yield each minute that is handed to the client."""
        topic, began = self._flow.prefix + READINGS, time.monotonic()
        for minute, messages in enumerate(minutes_of_messages(self._dice, self._late_share), 1):
            at_ms = int((BEGIN + timedelta(minutes=minute)).timestamp() * 1000)
            for key, value, headers in messages:
                producer.produce(topic, value, key, timestamp=at_ms, headers=headers)
            producer.poll(0)
            yield minute
            if self._ended.wait(max(0.0, began + minute / self._rate - time.monotonic())):
                return
