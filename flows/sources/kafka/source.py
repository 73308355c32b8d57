"""Topics as input: partitions at the offsets of the recovery store. Exactly once under recovery.

A topic that is another than it was, or has lost what was to be read, is refused in words, never passed in silence.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from confluent_kafka import Consumer, TopicPartition

from flows.broker.connection import Connection, topic_name
from flows.broker.identities import TopicIdentities
from flows.decode.batch import InputPartition, Readings, SourceBatch, no_readings
from flows.kernels.merge_keys import BEFORE_ALL_US
from flows.sources.kafka.consumer import AssignedConsumer, Pacing
from flows.sources.kafka.partitions import Alignment, AssignedPartition, PollClock, lost_to_retention, release_limit
from flows.sources.kafka.position import KafkaPosition, PartitionPosition, Snapshot
from flows.sources.kafka.records import RecordDecoder
from flows.sources.merge import MergedBatch, PartitionBuffer, ReleaseLimit, emit, release
from schemas.errors import ConfigurationError

DEFAULT_ALIGNMENT = Alignment()
DEFAULT_PACING = Pacing()
Item = tuple[str, SourceBatch]


@dataclass(frozen=True, slots=True)
class KafkaInput:
    """Which messages are read.

    Attributes:
        topics: contract names; ``CITYAIR_KAFKA_PREFIX`` stands before them on the broker.
        group: consumer group that shows the lag.
        bounded: end where the partitions end now.
        accept_gaps: go on where messages are lost to retention.
    """

    topics: Sequence[str]
    group: str
    bounded: bool = False
    accept_gaps: bool = False


class KafkaSource(FixedPartitionedSource[Item, Snapshot]):
    """All partitions of some topics, in one engine partition named ``input``. Exactly once under recovery.

    Args:
        reads: which messages.
        decoder: of their bytes.
        stop: whether to end early.
        now: microseconds since 1970 UTC, for ``received``.
        alignment: how partitions wait for one another.
        pacing: how much is taken from the client at once.
        connection: to the broker.

    Raises:
        ConfigurationError: the broker's settings do not fit together.
    """

    def __init__(
        self,
        reads: KafkaInput,
        decoder: RecordDecoder,
        *,
        stop: Callable[[], bool],
        now: Callable[[], int],
        alignment: Alignment = DEFAULT_ALIGNMENT,
        pacing: Pacing = DEFAULT_PACING,
        connection: Connection | None = None,
    ) -> None:
        self._reads, self._decoder, self._stop, self._now = reads, decoder, stop, now
        self._alignment, self._pacing = alignment, pacing
        self._connection = connection or Connection()
        self._settings = self._connection.consumer_settings(
            reads.group,
            auto_offset_reset="error",
            fetch_queue_backoff_ms=10,  # at the default of a second, a full queue makes the client sleep
            isolation_level="read_committed",
            # The group is never joined. All that this limits is how long a commit waits for a broker that is away.
            session_timeout_ms=4000,
            heartbeat_interval_ms=1000,
        )
        self._part: KafkaPartitions | None = None

    def list_parts(self) -> list[str]:
        """List the one partition."""
        return ["input"]

    def build_part(self, step_id: str, for_part: str, resume_state: Snapshot | None) -> "KafkaPartitions":
        """Resume from a snapshot; partitions that are new since then begin at their first message.

        Raises:
            BrokerError: the broker cannot be reached, or refuses us.
            ConfigurationError: a topic is not there, is another than it was, or has lost what was read of it; or the
                snapshot is of files, or of another version.
            DataQualityError: messages that were not read yet are gone, and that was not accepted.
        """
        position = KafkaPosition({}, ()) if resume_state is None else KafkaPosition.restore(resume_state)
        identities = TopicIdentities(self._reads.topics, self._connection)
        identities.require(position.ids)
        client = Consumer(self._settings)
        assigned = [
            self._assigned(client, part, partition, offset, high)
            for part, (partition, offset, high) in enumerate(self._positions(client, position))
        ]
        consumer = AssignedConsumer(
            client,
            self._settings,
            assigned,
            self._decoder,
            self._connection,
            self._pacing,
            PollClock(self._alignment.max_tick_s, time.monotonic()),
            accept_gaps=self._reads.accept_gaps,
        )
        self._part = KafkaPartitions(
            consumer,
            assigned,
            identities,
            stop=self._stop,
            now=self._now,
            alignment=self._alignment,
            pacing=self._pacing,
        )
        consumer.assign()
        return self._part

    def state_at(self, offsets: Mapping[InputPartition, tuple[int, int]]) -> Snapshot:
        """Snapshot of a source that has emitted each partition up to an offset.

        Args:
            offsets: of each partition the next offset, and the largest ``observed`` before it.

        Raises:
            BrokerError: the broker cannot be reached, or refuses us.
            ConfigurationError: a topic is not there, or was none of the input.
        """
        for partition in offsets:
            if partition.topic not in self._reads.topics:
                raise ConfigurationError(
                    f"the lake has readings of {partition.topic}, which is not a topic of the flow"
                )
        ids = TopicIdentities(self._reads.topics, self._connection).require({})
        parts = [PartitionPosition(partition, offset, high) for partition, (offset, high) in sorted(offsets.items())]
        return KafkaPosition(ids, tuple(parts)).snapshot()

    def finish(self) -> None:
        """Show the last snapshot, durable once the engine has returned, to the group, and leave the broker."""
        if self._part:
            self._part.finish()

    def _positions(self, client: Consumer, position: KafkaPosition) -> list[tuple[InputPartition, int | None, int]]:
        """Partitions of a position, in their order, and then those that are new: without an offset."""
        numbers = {topic: self._connection.partitions(client, topic_name(topic)) for topic in self._reads.topics}
        for partition, _, _ in position.partitions:
            if partition.number not in numbers.get(partition.topic, ()):
                raise ConfigurationError(f"partition {partition.number} of {partition.topic} was read and is gone")
        known = {of.partition for of in position.partitions}
        new = [InputPartition(topic, number) for topic, of in numbers.items() for number in of]
        return [*position.partitions, *((part, None, BEFORE_ALL_US) for part in new if part not in known)]

    def _assigned(
        self, client: Consumer, part: int, partition: InputPartition, offset: int | None, high: int
    ) -> AssignedPartition:
        """Find where to begin in a partition: at an offset, or at its first message."""
        topic = topic_name(partition.topic)
        low, end = self._connection.watermarks(client, topic, partition.number)
        if offset is None:
            offset = low
        label = f"{topic} [{partition.number}]"
        if offset > end:
            raise ConfigurationError(
                f"{label} ends at offset {end}, but {offset} were read: its offsets went back; "
                "bring the topic back, or start a new lake and store"
            )
        if offset < low:
            lost_to_retention(label, offset, low, accepted=self._reads.accept_gaps)
        buffer = PartitionBuffer(part, offset, high)
        assigned = AssignedPartition(topic, partition, buffer, offset, low, end if self._reads.bounded else None)
        assigned.mark_read(offset)
        return assigned


class KafkaPartitions(StatefulSourcePartition[Item, Snapshot]):
    """Engine partition of all partitions of a source, aligned in event time.

    Args:
        consumer: fills the buffers.
        partitions: in the order of their index.
        identities: of their topics.
        stop: whether to end early.
        now: microseconds since 1970 UTC, for ``received``.
        alignment: how partitions wait for one another.
        pacing: how much is emitted at once.
    """

    def __init__(
        self,
        consumer: AssignedConsumer,
        partitions: Sequence[AssignedPartition],
        identities: TopicIdentities,
        *,
        stop: Callable[[], bool],
        now: Callable[[], int],
        alignment: Alignment,
        pacing: Pacing,
    ) -> None:
        self._consumer, self._partitions, self._identities = consumer, partitions, identities
        self._stop, self._now, self._alignment, self._pacing = stop, now, alignment, pacing
        self._parts = [partition.partition for partition in partitions]
        self._buffers = [partition.buffer for partition in partitions]
        self._bounded = any(partition.end is not None for partition in partitions)
        self._finished = False
        self._released: deque[Readings] = deque()
        self._durable: list[TopicPartition] = []
        """Offsets of the last snapshot, which is durable once the next one is taken."""
        self._busy = False
        """The last batch was not empty: steps that deferred work wait to hear that there is time for it."""
        self._emitted_s = time.monotonic()

    def next_batch(self) -> list[Item]:
        """Return what has come and may be emitted; of a bounded input, at its end an item that says so.

        Raises:
            StopIteration: the input ended, or is to stop.
            BrokerError: the broker refuses us.
            ConfigurationError: a topic is gone, or is another than it was.
            DataQualityError: messages that were not read yet are gone, and that was not accepted.
        """
        if self._finished or self._stop():
            raise StopIteration
        if not self._released:
            self._identities.check()
            self._consumer.fetch()
            limit = release_limit(self._partitions, self._consumer.clock.seconds, self._alignment)
            pieces = release(self._buffers, ReleaseLimit(limit, len(self._buffers)), self._pacing.batch_rows)
            self._released.extend(pieces)
        batch = emit(self._buffers, self._released.popleft() if self._released else no_readings())
        items = self._items(batch)
        if self._bounded and all(partition.finished and partition.buffer.empty for partition in self._partitions):
            self._finished = True
            items.append(("kafka", SourceBatch(self._parts, self._now(), end_of_input=True)))
        return items

    def snapshot(self) -> Snapshot:
        """Return the progress as plain data; the snapshot before is durable now, and shown to the group."""
        self._consumer.commit(self._durable, wait=False)
        self._durable = [partition.at(partition.buffer.offset) for partition in self._partitions]
        parts = [PartitionPosition(of.partition, of.buffer.offset, of.buffer.emitted_high) for of in self._partitions]
        return KafkaPosition(self._identities.ids, tuple(parts)).snapshot()

    def finish(self) -> None:
        """Show the last snapshot to the group, and leave the broker."""
        self._consumer.close(self._durable)
        self._durable = []

    def _items(self, batch: MergedBatch) -> list[Item]:
        """The item of a batch; of an empty one only where there is something to say."""
        quiet_s = time.monotonic() - self._emitted_s
        needed = batch.offsets or self._busy or quiet_s > self._pacing.heartbeat_s
        self._busy = bool(batch.offsets)
        if not needed:
            return []
        self._emitted_s = time.monotonic()
        return [("kafka", SourceBatch(self._parts, self._now(), batch.readings, batch.rejects, batch.offsets))]
