"""Progress of a topic's partitions, and their alignment in event time.

A partition that has more holds back those that are ahead of it, so that replaying a month makes nothing late. One that
was read to its end and is idle holds back none.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import TopicPartition

from flows.broker.read_back import offset_of
from flows.decode.batch import InputPartition, Readings, no_readings
from flows.kernels.merge_keys import BEFORE_ALL_US
from flows.sources.base import Block
from flows.sources.kafka.records import MessageRun
from flows.sources.merge import PartitionBuffer
from schemas.errors import DataQualityError
from schemas.rejected import Reject
from schemas.slots import SLOT_US

RESUMED_SHARE = 0.5
"""Share of what may be buffered below which a paused partition is read on."""
log = logging.getLogger("cityair")


@dataclass(frozen=True, slots=True)
class Alignment:
    """How long, and how far in event time, partitions wait for one another.

    Attributes:
        idle_timeout_s: seconds after which a partition read to its end, of which nothing comes, is idle.
        unreachable_timeout_s: the same for one that the broker has more of: perhaps its leader is away.
        max_drift_us: microseconds of event time that others may be ahead of an unreachable one, so that its backlog is
            not too late on return: half the shortest horizon.
        max_tick_s: seconds that count at most between two polls: time in which the client was not polled is no
            partition's silence.
    """

    idle_timeout_s: float = 1.0
    unreachable_timeout_s: float = 10.0
    max_drift_us: int = 30 * SLOT_US
    max_tick_s: float = 0.1


class PollClock:
    """Seconds in which the client was polled, which the time-outs of `Alignment` count.

    Args:
        max_tick_s: seconds that count at most between two polls.
        now_s: where a monotonic clock stands.

    >>> clock = PollClock(max_tick_s=0.1, now_s=0.0)
    >>> clock.tick(0.05)
    >>> clock.tick(3600.0)
    >>> round(clock.seconds, 2)
    0.15
    """

    def __init__(self, max_tick_s: float, now_s: float) -> None:
        self.seconds = 0.0
        self._max_tick_s, self._polled_s = max_tick_s, now_s

    def tick(self, now_s: float) -> None:
        """Count the time since the last poll."""
        self.seconds += min(now_s - self._polled_s, self._max_tick_s)
        self._polled_s = now_s


@dataclass(slots=True)
class AssignedPartition:
    """Progress of one partition that the consumer reads.

    Attributes:
        topic: its name on the broker.
        partition: its contract name and number.
        buffer: what was read and not emitted.
        next_offset: offset after the last message read.
        low: first offset that the broker has, as far as we know.
        end: offset before which a bounded input ends; None of one without an end.
        heard_s: when it was last heard of, by the `PollClock`.
        finished: whether a bounded input was read to its end.
        behind: whether the broker has more of it.
        paused: whether the client does not read it, because too much is buffered.

    >>> mine = InputPartition("env.air.reading.v1", 0)
    >>> partition = AssignedPartition("env.air.reading.v1", mine, PartitionBuffer(0), next_offset=0, low=0, end=None)
    >>> partition.holds_others(5.0, Alignment())
    True
    >>> partition.behind = False
    >>> partition.holds_others(5.0, Alignment())
    False
    """

    topic: str
    partition: InputPartition
    buffer: PartitionBuffer
    next_offset: int
    low: int
    end: int | None
    heard_s: float = 0.0
    finished: bool = False
    behind: bool = True
    paused: bool = False

    @property
    def label(self) -> str:
        """Name for messages to people."""
        return f"{self.topic} [{self.partition.number}]"

    def at(self, offset: int) -> TopicPartition:
        """The client's name for an offset of it."""
        return TopicPartition(self.topic, self.partition.number, offset)

    def mark_read(self, offset: int) -> None:
        """Note that no message before an offset is still to come."""
        self.finished = self.end is not None and offset >= self.end
        if self.finished:
            self.buffer.end()

    def before_end(self, run: MessageRun) -> MessageRun:
        """Those messages of a run that lie before the end of a bounded input."""
        if self.end is None or offset_of(run.messages[-1]) < self.end:
            return run
        return run.first(sum(offset_of(message) < self.end for message in run.messages))

    def add(self, readings: Readings, rejects: list[Reject], first: int, end: int, size: int = 0) -> None:
        """Buffer what messages ``first`` to before ``end`` became; offsets missing before them are the broker's gap.

        Args:
            readings: that they became.
            rejects: the others.
            first: offset of the first of them.
            end: offset after the last.
            size: their bytes.

        Raises:
            RuntimeError: they were read before, which would be a bug of ours.
        """
        if first < self.next_offset:
            raise RuntimeError(f"{self.label} gave offset {first} after {self.next_offset - 1}")
        self.buffer.add(Block(readings, rejects, self.next_offset, end, {"koff": self.next_offset}, size))
        self.next_offset = end

    def skip_to(self, offset: int) -> None:
        """Note that the broker has no message before an offset: transactions and compaction leave such gaps."""
        if offset > self.next_offset:
            self.buffer.add(Block(no_readings(), [], self.next_offset, offset, {"koff": self.next_offset}))
            self.next_offset = offset
        self.mark_read(offset)

    def should_pause(self, max_buffered: int, max_bytes: int) -> bool:
        """Whether the client is to read no further: too much waits, or a bounded input was read to its end."""
        if self.finished:
            return True
        waiting = max(self.buffer.unreleased / max_buffered, self.buffer.unreleased_bytes / max_bytes)
        return waiting >= RESUMED_SHARE if self.paused else waiting > 1

    def holds_others(self, clock_s: float, alignment: Alignment) -> bool:
        """Whether other partitions wait for what may still come; for a bounded input they do to its end."""
        if self.end is not None:
            return not self.finished
        silence_s = clock_s - self.heard_s
        return silence_s < (alignment.unreachable_timeout_s if self.behind else alignment.idle_timeout_s)

    def limit(self, clock_s: float, alignment: Alignment) -> int | None:
        """Event time up to which others may be emitted because of this one; None if it does not hold them back.

        An unreachable partition lets others drift ahead, so that its backlog is not too late on return.
        """
        high = self.buffer.read_high
        if self.holds_others(clock_s, alignment):
            return high
        unreachable = self.behind and self.end is None and high > BEFORE_ALL_US
        return high + alignment.max_drift_us if unreachable else None


def release_limit(partitions: Iterable[AssignedPartition], clock_s: float, alignment: Alignment) -> int | None:
    """Event time up to which all partitions may be emitted: the end of a slot, in which their order is free.

    Returns:
        Microseconds since 1970 UTC; None where no partition holds back others.
    """
    limits = [limit for partition in partitions if (limit := partition.limit(clock_s, alignment)) is not None]
    return -(-min(limits) // SLOT_US) * SLOT_US if limits else None


def lost_to_retention(label: str, next_offset: int, low: int, *, accepted: bool) -> None:
    """Report messages that the broker deleted before they were read.

    Raises:
        DataQualityError: that was not accepted beforehand.
    """
    message = (
        f"{label}: offsets {next_offset} to {low - 1} ({low - next_offset:,} messages) "
        "were deleted by the broker before they were read"
    )
    if not accepted:
        raise DataQualityError(
            f"{message}; to go on without them, and have the ledger count them as gap: --accept-gaps. "
            "Longer retention.ms keeps this from happening: cityair topics check"
        )
    log.error("%s; going on without them, the ledger counts them as gap", message)
