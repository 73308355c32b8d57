"""Topics as input: partitions at the offsets of the recovery store. Exactly once under recovery.

A topic that is another than it was, or has lost what was to be read, is refused in words, never passed in silence.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bytewax.inputs import FixedPartitionedSource
from confluent_kafka import Consumer, TopicPartition

from flows.broker import connection
from flows.broker.identities import Identities
from flows.decode.batch import InputPartition, SourceBatch
from flows.decode.decoder import Decoder
from flows.sources.kafka.partitions import AssignedPartition, KafkaPartitions, lost_to_retention
from flows.sources.merge import BEFORE_ALL_US, PartitionBuffer
from schemas.errors import ConfigurationError

Snapshot = dict[str, Any]
Item = tuple[str, SourceBatch]


class KafkaSource(FixedPartitionedSource[Item, Snapshot]):
    """All partitions of some topics, in one engine partition named ``input``. Exactly once under recovery.

    Args:
        topics: contract names; ``CITYAIR_KAFKA_PREFIX`` stands before them on the broker.
        group: consumer group that shows the lag.
        decoder: judges what they hold.
        future: microseconds that a reading may be stamped past its message's time stamp.
        stop: whether to end early.
        now: microseconds since 1970 UTC, for ``received``.
        bounded: end where the partitions end now.
        accept_gaps: go on where messages are lost to retention.
    """

    def __init__(
        self,
        topics: Sequence[str],
        group: str,
        decoder: Decoder,
        *,
        future: int,
        stop: Callable[[], bool],
        now: Callable[[], int],
        bounded: bool,
        accept_gaps: bool,
    ) -> None:
        self._topics, self._decoder, self._future = topics, decoder, future
        self._stop, self._now, self._bounded, self._accept_gaps = stop, now, bounded, accept_gaps
        self._errors = connection.ClientErrors()
        self._config = connection.config(
            self._errors,
            group_id=group,
            enable_auto_commit=False,
            enable_partition_eof=True,
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

    def build_part(self, step_id: str, for_part: str, resume_state: Snapshot | None) -> KafkaPartitions:
        """Go on where a snapshot was taken; partitions that are new since then begin at their first message.

        Raises:
            BrokerError: the broker cannot be reached, or refuses us.
            ConfigurationError: a topic is not there, is another than it was, or has lost what was read of it.
            DataQualityError: messages that were not read yet are gone, and that was not accepted.
        """
        if resume_state is not None and "parts" not in resume_state:
            raise ConfigurationError("this recovery store has read files; start a new lake and store for topics")
        known = resume_state or {"topics": {}, "parts": []}
        identities = Identities(self._topics, self._errors)
        ids = identities.ask(known["topics"])
        consumer = Consumer(self._config)
        there = {
            name: connection.partitions(consumer, connection.topic_name(name), self._errors) for name in self._topics
        }
        assigned: list[AssignedPartition] = []
        for one in known["parts"]:
            partition = InputPartition(one["topic"], one["kpart"])
            if partition.number not in there.get(partition.topic, ()):
                raise ConfigurationError(f"partition {partition.number} of {partition.topic} was read and is gone")
            assigned.append(self._assigned(consumer, len(assigned), partition, one["koff"], one["high"]))
        for name, numbers in there.items():
            for number in numbers:
                partition = InputPartition(name, number)
                if partition not in [one.partition for one in assigned]:
                    assigned.append(self._assigned(consumer, len(assigned), partition, None, BEFORE_ALL_US))
        self._part = KafkaPartitions(
            consumer,
            assigned,
            ids,
            identities,
            self._decoder,
            self._future,
            self._stop,
            self._now,
            self._errors,
            accept_gaps=self._accept_gaps,
        )
        self._part.assign()
        return self._part

    def state_at(self, offsets: Mapping[InputPartition, tuple[int, int]]) -> Snapshot:
        """Make the snapshot of a source that has taken each partition up to an offset.

        Args:
            offsets: of each partition the next offset, and the largest ``observed`` before it.

        Raises:
            BrokerError: the broker cannot be reached, or refuses us.
            ConfigurationError: a topic is not there, or was none of the input.
        """
        for partition in offsets:
            if partition.topic not in self._topics:
                raise ConfigurationError(
                    f"the lake has readings of {partition.topic}, which is not a topic of the flow"
                )
        parts = [
            {"topic": partition.topic, "kpart": partition.number, "koff": koff, "high": high}
            for partition, (koff, high) in sorted(offsets.items())
        ]
        return {"v": 1, "topics": Identities(self._topics, self._errors).ask({}), "parts": parts}

    def finish(self) -> None:
        """After the engine has returned, the last snapshot is durable: show it to the group, and leave."""
        if self._part:
            self._part.leave()

    def _assigned(
        self, consumer: Any, part: int, partition: InputPartition, koff: int | None, high: int
    ) -> AssignedPartition:
        """Look what the broker has of a partition, and where to begin."""
        topic = connection.topic_name(partition.topic)
        asked = TopicPartition(topic, partition.number)
        low, end = connection.retry(lambda limit: consumer.get_watermark_offsets(asked, timeout=limit), self._errors)
        if koff is None:
            koff = low
        if koff > end:
            raise ConfigurationError(
                f"{topic} [{partition.number}] ends at offset {end}, but {koff} were read: its offsets went back; "
                "bring the topic back, or start a new lake and store"
            )
        if koff < low:
            lost_to_retention(f"{topic} [{partition.number}]", koff, low, accepted=self._accept_gaps)
        buffer = PartitionBuffer(part, koff, high)
        assigned = AssignedPartition(topic, partition, buffer, koff, low, end if self._bounded else None)
        assigned.reached(koff)
        return assigned
