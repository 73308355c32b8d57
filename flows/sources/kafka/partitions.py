"""Partitions of topics on their way: read together, held together in event time, let go in whole minutes.

A partition that has more holds back those that are ahead of it, so that replaying a month makes nothing late; one that
was read to its end and has gone quiet holds nobody.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bytewax.inputs import StatefulSourcePartition
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from flows.broker import connection
from flows.broker.identities import Identities
from flows.decode.batch import InputPartition, Readings, SourceBatch, no_readings
from flows.decode.decoder import Decoder
from flows.sources.base import Block
from flows.sources.kafka.records import Run, alike, decode
from flows.sources.merge import BEFORE_ALL_US, MergedBatch, PartitionBuffer, ReleaseLimit, emit, release
from schemas.errors import BrokerError, ConfigurationError, DataQualityError
from schemas.rejected import Reject
from schemas.slots import SLOT_US

ROWS = 10_000
"""Messages that leave together."""
PIECE = 2000
"""Messages taken from the client, decoded and let go at once: of more, few would stay in the processor's cache."""
WAIT = 0.02
"""Seconds to wait for a message where none is at hand; the worker has nothing else to do then."""
QUIET = 1.0
"""A partition read to its end that says nothing for so many seconds no longer holds the others back."""
PATIENCE = 10.0
"""The same for one that is behind: perhaps its broker is away."""
LOOK = 0.1
"""Seconds that count at most between two looks at the client: time in which we did not look is nobody's silence."""
LEAD = 30 * SLOT_US
"""Microseconds that others may go ahead of one that is behind and out of reach: half the shortest horizon."""
LEAVES_WITHIN = 3.0
"""Seconds; a client whose broker is away would wait for half a minute, or for ever."""
HEARTBEAT = 0.5
"""Seconds after which an empty item goes out, so that epochs without air are committed too."""
MOST_WAITING = 131_072
"""Messages of a partition that may wait for those of others; then it is not read on."""
GONE = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
log = logging.getLogger("cityair")
Snapshot = dict[str, Any]
Item = tuple[str, SourceBatch]


@dataclass(slots=True)
class AssignedPartition:
    """A partition on its way.

    Attributes:
        topic: its name on the broker.
        buffer: what has been read and was not emitted.
        next: offset after the last message read.
        low: the first offset that the broker has, as far as we know.
        end: of a bounded input: the offset before which it ends.
        finished: whether a bounded input has been read to its end here.
        behind: whether the broker has more of it.
        heard: when it last said something, in the seconds that its `KafkaPartitions` count.
        paused: not read on, because too much of it waits.
    """

    topic: str
    partition: InputPartition
    buffer: PartitionBuffer
    next: int
    low: int
    end: int | None
    heard: float = 0.0
    finished: bool = False
    behind: bool = True
    paused: bool = False

    def at(self, offset: int) -> TopicPartition:
        """Name an offset of it."""
        return TopicPartition(self.topic, self.partition.number, offset)

    def reached(self, offset: int) -> None:
        """Note that nothing before this offset is still to come."""
        self.finished = self.end is not None and offset >= self.end

    def wanted(self, run: Run) -> Run:
        """Of messages those before the end of a bounded input."""
        if self.end is None or run.messages[-1].offset() < self.end:
            return run
        return run.first(sum(message.offset() < self.end for message in run.messages))

    def put(self, readings: Readings, rejects: list[Reject], first: int, end: int) -> None:
        """Take what messages ``first`` to before ``end`` became; what is missing before them is the broker's.

        Raises:
            RuntimeError: they were read before, which would be a bug of ours.
        """
        if first < self.next:
            raise RuntimeError(f"{self.place} gave offset {first} after {self.next - 1}")
        self.buffer.add(Block(readings, rejects, self.next, end, {"koff": self.next}))
        self.next = end

    def skip_to(self, offset: int) -> None:
        """Note that the broker has no message before this offset: transactions and compaction leave such gaps."""
        if offset > self.next:
            self.buffer.add(Block(no_readings(), [], self.next, offset, {"koff": self.next}))
            self.next = offset
        self.reached(offset)

    def holds(self, now: float) -> bool:
        """Whether others have to wait for what it may still say; a bounded input is waited for to its end."""
        if self.end is not None:
            return not self.finished
        return now - self.heard < (PATIENCE if self.behind else QUIET)

    def holds_at(self, now: float) -> int | None:
        """The largest ``observed`` that others may go to for its sake; none where it holds nobody.

        One that is behind and cannot be reached must not come back to find all that it has too late.
        """
        if self.holds(now):
            return self.buffer.read_high
        return (
            self.buffer.read_high + LEAD
            if self.behind and self.end is None and self.buffer.read_high > BEFORE_ALL_US
            else None
        )

    @property
    def place(self) -> str:
        """Name it for people."""
        return f"{self.topic} [{self.partition.number}]"


class KafkaPartitions(StatefulSourcePartition[Item, Snapshot]):
    """All partitions of a source.

    Args:
        consumer: not assigned yet: ``assign`` does that.
        partitions: in the order of their index among the partitions.
        ids: of the topics, by contract name.
        identities: says whether they still have these.
        decoder: judges what they hold.
        future: microseconds that a reading may be stamped past its message's time stamp.
        stop: whether to end early.
        now: microseconds since 1970 UTC.
        errors: what the client complained of.
        accept_gaps: go on where messages are lost to retention.
    """

    def __init__(
        self,
        consumer: Any,
        partitions: list[AssignedPartition],
        ids: dict[str, str],
        identities: Identities,
        decoder: Decoder,
        future: int,
        stop: Callable[[], bool],
        now: Callable[[], int],
        errors: connection.ClientErrors,
        *,
        accept_gaps: bool,
    ) -> None:
        self._consumer, self._partitions, self._ids, self._identities = consumer, partitions, ids, identities
        self._decoder, self._future, self._stop, self._now = decoder, future, stop, now
        self._errors, self._accept_gaps = errors, accept_gaps
        self._parts = [partition.partition for partition in partitions]
        self._buffers = [partition.buffer for partition in partitions]
        self._by_name = {(partition.topic, partition.partition.number): partition for partition in partitions}
        self._topics = len({partition.topic for partition in partitions})
        self._bounded = any(partition.end is not None for partition in partitions)
        self._finished = self._moved = False
        self._kept: list[TopicPartition] = []
        self._ready: deque[Readings] = deque()
        self._more = True
        self._busy = False
        """Something left last time: after it, those who have put off work wait to hear that there is time."""
        self._said = self._looked = time.monotonic()
        self._clock = 0.0

    def next_batch(self) -> list[Item]:
        """Return what has come and may go; of a bounded input, at its end an item that says so."""
        if self._finished or self._stop():
            raise StopIteration
        if not self._ready:
            self._identities.watch(self._ids)
            self._read()
            self._release()
        merged = emit(self._buffers, self._ready.popleft() if self._ready else no_readings())
        more = bool(self._ready) or any(
            partition.behind and partition.holds(self._clock) for partition in self._partitions
        )
        items = []
        # The last of a backlog left with more to come; when nothing comes, something has to say so.
        if merged.offsets or self._busy or self._more != more or time.monotonic() - self._said > HEARTBEAT:
            items.append(self._item(merged, more=more))
        self._busy = bool(merged.offsets)
        if self._bounded and all(partition.finished and partition.buffer.empty for partition in self._partitions):
            self._finished = True
            items.append(("kafka", SourceBatch(self._parts, self._now(), end_of_input=True)))
        return items

    def _release(self) -> None:
        """Let go what no partition holds back."""
        holding = [high for partition in self._partitions if (high := partition.holds_at(self._clock)) is not None]
        limit = -(-min(holding) // SLOT_US) * SLOT_US if holding else None  # a whole slot: in it, order is free
        self._ready.extend(release(self._buffers, ReleaseLimit(limit, len(self._buffers)), ROWS))

    def snapshot(self) -> Snapshot:
        """Return where to go on, as plain data; the snapshot before is durable now, and shown to the group."""
        self._show(wait=False)
        self._kept = [partition.at(partition.buffer.offset) for partition in self._partitions]
        parts = [
            {
                "topic": p.topic,
                "kpart": p.number,
                "koff": partition.buffer.offset,
                "high": partition.buffer.emitted_high,
            }
            for p, partition in zip(self._parts, self._partitions, strict=True)
        ]
        return {"v": 1, "topics": dict(self._ids), "parts": parts}

    def assign(self) -> None:
        """Have the client read each partition from where it stands; what it holds already is read again."""
        self._consumer.assign([partition.at(max(partition.next, partition.low)) for partition in self._partitions])
        self._moved = False
        for partition in self._partitions:
            partition.paused = False

    def leave(self) -> None:
        """Show the group the last snapshot, and leave the broker; one that is away is not waited for long."""
        leaving = threading.Thread(target=self._leave, daemon=True)
        leaving.start()
        leaving.join(LEAVES_WITHIN)
        if leaving.is_alive():
            log.warning(
                "%s did not answer the consumer group's last offsets; the recovery store has them", connection.servers()
            )

    def _leave(self) -> None:
        self._show(wait=True)
        self._consumer.close()  # waits for every commit that is under way

    def _show(self, *, wait: bool) -> None:
        if not self._kept:
            return
        try:
            self._consumer.commit(offsets=self._kept, asynchronous=not wait)
        except KafkaException as err:
            log.warning("the consumer group's offsets were not shown: %s; the recovery store has them", err)
        self._kept = []

    def _item(self, merged: MergedBatch, *, more: bool) -> Item:
        self._more, self._said = more, time.monotonic()
        return "kafka", SourceBatch(
            self._parts, self._now(), merged.readings, merged.rejects, merged.offsets, backlog=more
        )

    def _read(self) -> None:
        """Take what the client has, and give it to the lanes."""
        first = self._consumer.poll(WAIT)
        found = [] if first is None else [first, *self._consumer.consume(PIECE - 1, 0)]
        now = time.monotonic()
        self._clock += min(now - self._looked, LOOK)
        self._looked = now
        taken = 0
        while found:
            self._take(found)
            taken += len(found)
            found = self._consumer.consume(PIECE, 0) if len(found) == PIECE and taken < ROWS else []
        if self._moved:
            self.assign()
        self._pace()

    def _take(self, found: Sequence[Message]) -> None:
        """Give the lanes what the client gave."""
        runs = []
        for run in alike(found, self._topics):
            first = run.messages[0]
            partition, fault = self._by_name.get((first.topic(), first.partition())), first.error()
            runs.append((partition, fault, run, partition.wanted(run) if partition and fault is None else run.first(0)))
        wanted = [
            (partition.buffer.part, of_lane) for partition, _, _, of_lane in runs if partition and of_lane.messages
        ]
        decoded = iter(decode(wanted, self._decoder, self._future))
        for partition, fault, run, of_lane in runs:
            if fault is not None:
                self._fault(partition, fault, run.messages[0].offset())
            elif partition is not None:
                if of_lane.messages:
                    partition.put(*next(decoded), of_lane.messages[0].offset(), of_lane.messages[-1].offset() + 1)
                after = run.messages[-1].offset() + 1
                partition.reached(after)
                _, high = self._consumer.get_watermark_offsets(partition.at(0), cached=True)
                partition.behind, partition.heard = after < high, self._clock

    def _fault(self, partition: AssignedPartition | None, fault: Any, offset: int | None) -> None:
        """Deal with what the client says instead of a message."""
        code = fault.code()
        if code == KafkaError._PARTITION_EOF and partition is not None and offset is not None:
            partition.skip_to(offset if partition.end is None else min(offset, partition.end))
            partition.behind, partition.heard = False, self._clock
        elif code in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE) and partition is not None:
            asked = partition.at(0)
            low, _ = connection.retry(
                lambda limit: self._consumer.get_watermark_offsets(asked, timeout=limit), self._errors
            )
            if partition.next >= low:  # so its end was before; by now it may have grown past it
                raise ConfigurationError(
                    f"{partition.place} had no offset {partition.next}, up to which it was read: its offsets went "
                    "back, because it was deleted and made again; bring it back, or start a new lake and store"
                )
            lost_to_retention(partition.place, partition.next, low, accepted=self._accept_gaps)
            partition.low = low
            self._moved = True
        elif code in GONE:
            raise ConfigurationError(
                f"{partition.place if partition else connection.servers()}: {fault.str()}: the topic was deleted "
                "while it was read; bring it back, or start a new lake and store"
            )
        elif fault.name() not in connection.RETRIABLE:
            raise BrokerError(
                f"{partition.place if partition else connection.servers()}: {fault.name()}: {fault.str()}"
            )

    def _pace(self) -> None:
        """Read no further where too much waits; go on where it has gone."""
        for partition in self._partitions:
            waiting = partition.buffer.unreleased
            if not partition.paused and (waiting > MOST_WAITING or partition.finished):
                self._consumer.pause([partition.at(partition.next)])
                partition.paused = True
            elif partition.paused and not partition.finished and waiting < MOST_WAITING // 2:
                self._consumer.resume([partition.at(partition.next)])
                partition.paused = False


def lost_to_retention(place: str, next_offset: int, low: int, *, accepted: bool) -> None:
    """Say that messages are gone that were not read yet.

    Raises:
        DataQualityError: that was not accepted beforehand.
    """
    said = (
        f"{place}: offsets {next_offset} to {low - 1} ({low - next_offset:,} messages) "
        "were deleted by the broker before they were read"
    )
    if not accepted:
        raise DataQualityError(
            f"{said}; to go on without them, and have the ledger count them as gap: --accept-gaps. "
            "Longer retention.ms keeps this from happening: cityair topics check"
        )
    log.error("%s; going on without them, the ledger counts them as gap", said)
