"""The consumer of assigned partitions: takes messages from the client into the partitions' buffers."""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from flows.broker.connection import Config, Connection, servers
from flows.broker.read_back import is_partition_end, offset_after, offset_of, place_of
from flows.broker.unreadable import is_unreadable, readable_from
from flows.decode.batch import no_readings
from flows.sources.kafka.partitions import AssignedPartition, PollClock, lost_to_retention
from flows.sources.kafka.records import RecordDecoder, runs_of, unreadable_rejects
from schemas.errors import ConfigurationError

DELETED = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
OUT_OF_RANGE = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)
log = logging.getLogger("cityair")


@dataclass(frozen=True, slots=True)
class Pacing:
    """How much is taken from the client at once, and how long it is waited for.

    Attributes:
        batch_rows: rows of a backlog that are emitted together, and share an evaluation.
        chunk_messages: messages taken from the client, decoded and freed at once: of more, few would stay in the
            processor's cache.
        poll_timeout_s: seconds to wait for a message where none is at hand; the worker has nothing else to do then.
        max_buffered: messages of a partition that may wait for those of others; then it is paused.
        max_buffered_bytes: the same for the bytes of these messages.
        heartbeat_s: seconds after which an empty item is emitted, so that epochs without readings are committed too.
        close_timeout_s: seconds to leave the broker; a client whose broker is away would wait for ever.
    """

    batch_rows: int = 32_768
    chunk_messages: int = 2000
    poll_timeout_s: float = 0.02
    max_buffered: int = 131_072
    max_buffered_bytes: int = 64 << 20
    heartbeat_s: float = 0.5
    close_timeout_s: float = 3.0


class AssignedConsumer:
    """A consumer that reads given partitions from given offsets, and never joins its group.

    Args:
        client: of `Connection.consumer_settings`; not assigned yet: `assign` does that.
        settings: of the client.
        partitions: to be read, with their buffers.
        decoder: of their messages.
        connection: of the client.
        pacing: how much is taken at once.
        clock: counts while the client is polled.
        accept_gaps: go on where messages are lost to retention.

    Attributes:
        clock: as given.
    """

    def __init__(
        self,
        client: Consumer,
        settings: Config,
        partitions: Sequence[AssignedPartition],
        decoder: RecordDecoder,
        connection: Connection,
        pacing: Pacing,
        clock: PollClock,
        *,
        accept_gaps: bool,
    ) -> None:
        self._client, self._settings, self._partitions, self._decoder = client, settings, partitions, decoder
        self._connection, self._pacing, self._accept_gaps = connection, pacing, accept_gaps
        self.clock = clock
        self._by_name = {(partition.topic, partition.partition.number): partition for partition in partitions}
        self._topics = len({partition.topic for partition in partitions})
        self._moved = False
        self._passed_over: set[str] = set()
        """Labels of partitions at a batch that cannot be read: what the client gives of them until `assign` is void."""

    def assign(self) -> None:
        """Have the client read each partition from where it stands; what it has fetched already is fetched again."""
        self._client.assign([partition.at(max(partition.next_offset, partition.low)) for partition in self._partitions])
        self._moved = False
        self._passed_over.clear()
        for partition in self._partitions:
            if partition.paused:  # the client keeps that over an assignment
                self._client.resume([partition.at(partition.next_offset)])
                partition.paused = False

    def fetch(self) -> None:
        """Take what the client has, about a batch at most, into the buffers.

        Raises:
            BrokerError: the broker refuses us.
            ConfigurationError: a topic is gone, or is another than it was.
            DataQualityError: messages that were not read yet are gone, and that was not accepted.
        """
        pacing = self._pacing
        first = self._client.poll(pacing.poll_timeout_s)
        events = [] if first is None else [first, *self._client.consume(pacing.chunk_messages - 1, 0)]
        self.clock.tick(time.monotonic())
        taken = 0
        while events:
            self._take(events)
            taken += len(events)
            more = len(events) == pacing.chunk_messages and taken < pacing.batch_rows
            events = self._client.consume(pacing.chunk_messages, 0) if more else []
        if self._moved:
            self.assign()
        self._pause_or_resume()

    def commit(self, offsets: list[TopicPartition], *, wait: bool) -> None:
        """Show offsets to the consumer group, for Kafka's tools; the recovery store is what a resume reads."""
        if not offsets:
            return
        try:
            if wait:
                self._client.commit(offsets=offsets, asynchronous=False)
            else:
                self._client.commit(offsets=offsets, asynchronous=True)
        except KafkaException as err:
            log.warning("the consumer group's offsets were not shown: %s; the recovery store has them", err)

    def close(self, offsets: list[TopicPartition]) -> None:
        """Show the last offsets to the group and leave the broker; one that is away is not waited for long."""

        def leave() -> None:
            self.commit(offsets, wait=True)
            self._client.close()  # waits for every commit that is under way

        leaving = threading.Thread(target=leave, daemon=True)
        leaving.start()
        leaving.join(self._pacing.close_timeout_s)
        if leaving.is_alive():
            log.warning("%s did not answer the consumer group's last offsets; the recovery store has them", servers())

    def _take(self, events: Sequence[Message]) -> None:
        """Decode messages into the buffers, and handle error events, in the order in which they came."""
        runs = []
        for run in runs_of(events, self._topics):
            first = run.messages[0]
            partition, error = self._by_name.get(place_of(first)), first.error()
            needed = partition.before_end(run) if partition and error is None else run.first(0)
            runs.append((partition, error, run, needed))
        decoded = iter(
            self._decoder.decode([(of.buffer.part, needed) for of, _, _, needed in runs if of and needed.messages])
        )
        for partition, error, run, needed in runs:
            if error is not None:
                self._handle_error(partition, error, run.messages[0].offset())
            elif partition is not None:
                pieces = next(decoded) if needed.messages else None
                if partition.label in self._passed_over:
                    continue
                if pieces:
                    size = sum(map(len, needed.messages))
                    partition.add(*pieces, offset_of(needed.messages[0]), offset_after(needed.messages[-1]), size)
                after = offset_after(run.messages[-1])
                partition.mark_read(after)
                _, high = self._client.get_watermark_offsets(partition.at(0), cached=True)
                partition.behind, partition.heard_s = after < high, self.clock.seconds

    def _handle_error(self, partition: AssignedPartition | None, error: KafkaError, offset: int | None) -> None:
        code = error.code()
        if partition is not None and partition.label in self._passed_over:
            return  # the client has lost its place in the bytes, and talks of offsets that never were
        if partition is not None and offset is not None and code == KafkaError._PARTITION_EOF:
            partition.skip_to(offset if partition.end is None else min(offset, partition.end))
            partition.behind, partition.heard_s = False, self.clock.seconds
        elif partition is not None and code in OUT_OF_RANGE:
            self._go_on_at_low(partition, offset)
        elif partition is not None and is_unreadable(error):
            self._pass_over(partition, error, offset)
        elif code in DELETED:
            raise ConfigurationError(
                f"{partition.label if partition else servers()}: {error.str()}: the topic was deleted while it was "
                "read; bring it back, or start a new lake and store"
            )
        else:
            is_partition_end(error, partition.label if partition else servers())

    def _go_on_at_low(self, partition: AssignedPartition, offset: int | None) -> None:
        """Go on at the first offset that the broker has, where it has not the next one to be read.

        A client that met damaged bytes may still ask for what it took for an offset; `TopicIdentities` sees to it that
        the topic is the same.
        """
        low, end = self._connection.watermarks(self._client, partition.topic, partition.partition.number)
        if offset is not None and low <= partition.next_offset <= end < offset:
            self._moved = True
            return
        if partition.next_offset >= low:  # so its end was before; by now it may have grown past it
            raise ConfigurationError(
                f"{partition.label} had no offset {partition.next_offset}, up to which it was read: its offsets went "
                "back, because it was deleted and made again; bring it back, or start a new lake and store"
            )
        lost_to_retention(partition.label, partition.next_offset, low, accepted=self._accept_gaps)
        partition.low = low
        self._moved = True

    def _pass_over(self, partition: AssignedPartition, error: KafkaError, offset: int | None) -> None:
        """Refuse the messages of a batch that the client cannot read, and go on after it."""
        if partition.finished:
            return
        self._client.unassign()  # else it asks for the batch again all the time
        _, end = self._connection.watermarks(self._client, partition.topic, partition.partition.number)
        first = max(partition.next_offset, offset if offset is not None and offset < end else 0)
        after = readable_from(self._settings, partition.at(first), end, self._connection)
        if partition.end is not None:
            after = min(after, partition.end)
        if after > first:
            log.warning("%s: offsets %d to %d are refused: %s", partition.label, first, after - 1, error.str())
        partition.skip_to(min(first, after))
        for begin in range(first, after, self._pacing.batch_rows):
            stop = min(begin + self._pacing.batch_rows, after)
            partition.add(no_readings(), unreadable_rejects(partition.buffer.part, begin, stop, error), begin, stop)
        partition.mark_read(partition.next_offset)
        partition.heard_s = self.clock.seconds
        self._passed_over.add(partition.label)
        self._moved = True

    def _pause_or_resume(self) -> None:
        for partition in self._partitions:
            pause = partition.should_pause(self._pacing.max_buffered, self._pacing.max_buffered_bytes)
            if pause != partition.paused:
                (self._client.pause if pause else self._client.resume)([partition.at(partition.next_offset)])
                partition.paused = pause
