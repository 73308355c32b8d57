"""Side inputs: topics of few messages that are read beside the readings and are not booked in the ledger.

What has to be counted, refused as too late or replayed in event time is no side input. An offset that the broker does
not have any more is passed over.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Generic, NamedTuple, TypeVar

import msgspec
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from flows.broker.connection import Config, Connection, topic_name
from flows.broker.read_back import Offsets, ends_of, is_partition_end, offset_after, offset_of, place_of
from flows.broker.unreadable import is_unreadable, readable_from
from flows.decode.batch import InputPartition, SideBatch
from flows.sources.kafka.position import SideInputPosition, Snapshot
from flows.sources.kafka.records import envelope_of, unreadable_rejects
from schemas.rejected import Reason, Reject

MAX_BATCH = 1000
POLL_INTERVAL = timedelta(milliseconds=200)
"""Messages are rare, and may wait so long."""

T = TypeVar("T", bound=msgspec.Struct)


class Refusal(NamedTuple):
    """Why a message is no record."""

    reason: Reason
    detail: str


def _accept(_: msgspec.Struct) -> str:
    return ""


class SideInputDecoder(Generic[T]):
    """Decoder of messages of one contract, with a check beyond it.

    Args:
        contract: of a message.
        refusal: says why a record that keeps the contract is refused; empty where it is not.

    >>> class Text(msgspec.Struct):
    ...     text: str
    >>> decoder = SideInputDecoder(Text, lambda record: "" if record.text.isascii() else "no ASCII - at `$.text`")
    >>> decoder.decode(b'{"text": "hello"}')
    Text(text='hello')
    >>> decoder.decode('{"text": "안녕"}'.encode())
    Refusal(reason='contract', detail='no ASCII - at `$.text`')
    """

    def __init__(self, contract: type[T], refusal: Callable[[T], str] = _accept) -> None:
        self._decode, self._refusal = msgspec.json.Decoder(contract).decode, refusal

    def decode(self, payload: bytes) -> T | Refusal:
        """Return the record of a message, or why it is refused."""
        try:
            record = self._decode(payload)
        except msgspec.ValidationError as err:
            return Refusal("contract", str(err))
        except (msgspec.MsgspecError, ValueError, RecursionError) as err:
            return Refusal("undecodable", str(err) or type(err).__name__)
        detail = self._refusal(record)
        return Refusal("contract", detail) if detail else record


class SideInputSource(FixedPartitionedSource[SideBatch[T], Snapshot], Generic[T]):
    """One topic of few messages, in one engine partition. Exactly once under recovery.

    Args:
        name: of the engine partition; the recovery store knows it by that.
        topic: contract name; ``CITYAIR_KAFKA_PREFIX`` stands before it on the broker.
        decoder: of its messages.
        group: consumer group; nothing is committed.
        bounded: end where the topic ends now.
        stop: whether to end early.
        connection: to the broker.

    Raises:
        ConfigurationError: the broker's settings do not fit together.
    """

    def __init__(
        self,
        name: str,
        topic: str,
        decoder: SideInputDecoder[T],
        *,
        group: str,
        bounded: bool,
        stop: Callable[[], bool],
        connection: Connection | None = None,
    ) -> None:
        self._name, self._topic, self._decoder = name, topic, decoder
        self._bounded, self._stop = bounded, stop
        self._connection = connection or Connection()
        self._settings = self._connection.consumer_settings(group)

    def list_parts(self) -> list[str]:
        """List the one partition."""
        return [self._name]

    def build_part(self, step_id: str, for_part: str, resume_state: Snapshot | None) -> "SideInputPartition[T]":
        """Resume from a snapshot; partitions that are new since then begin at their first message.

        Raises:
            BrokerError: the broker cannot be reached, or refuses us.
            ConfigurationError: the topic is not there, or the snapshot is of another version.
        """
        known = SideInputPosition.restore(resume_state, self._name).offsets if resume_state else {}
        consumer = Consumer(self._settings)
        topic = topic_name(self._topic)
        ends = ends_of(consumer, topic, self._connection)
        begins = {number: known.get(number, 0) for number in ends}
        consumer.assign([TopicPartition(topic, n, offset or OFFSET_BEGINNING) for n, offset in begins.items()])
        return SideInputPartition(
            consumer,
            self._settings,
            self._topic,
            self._decoder,
            begins,
            ends if self._bounded else None,
            self._stop,
            self._connection,
        )


class SideInputPartition(StatefulSourcePartition[SideBatch[T], Snapshot], Generic[T]):
    """Engine partition of a side input.

    Args:
        consumer: assigned at ``begins``.
        settings: of the consumer.
        topic: contract name.
        decoder: of its messages.
        begins: first offset of each partition.
        ends: offset at which each partition ends; None of an input without an end.
        stop: whether to end early.
        connection: of the consumer.
    """

    def __init__(
        self,
        consumer: Consumer,
        settings: Config,
        topic: str,
        decoder: SideInputDecoder[T],
        begins: Offsets,
        ends: Offsets | None,
        stop: Callable[[], bool],
        connection: Connection,
    ) -> None:
        self._settings, self._connection = settings, connection
        self._consumer, self._topic, self._decoder, self._stop = consumer, topic, decoder, stop
        self._next, self._ends = dict(begins), ends
        self._left = {number for number, end in (ends or {}).items() if end > begins[number]}
        self._parts = [InputPartition(topic, number) for number in begins]

    def next_batch(self) -> list[SideBatch[T]]:
        """Return what has come.

        Raises:
            StopIteration: a bounded input ended, or the input is to stop.
            BrokerError: the broker refuses us.
        """
        if self._stop() or (self._ends is not None and not self._left):
            raise StopIteration
        batch: SideBatch[T] = SideBatch(self._parts, [], [])
        for event in self._consumer.consume(MAX_BATCH, 0):
            (topic, number), error = place_of(event), event.error()
            if error is None:
                self._add(event, batch)
                after = self._next[number] = offset_after(event)
            elif is_unreadable(error):
                after = self._next[number] = self._refuse_unreadable(event, error, batch)
            elif is_partition_end(error, topic):
                after = offset_after(event)
            else:
                continue
            if number in self._left and self._ends is not None and after >= self._ends[number]:
                self._left.discard(number)
            if error is not None and is_unreadable(error):  # the client would not go on after it
                self._consumer.assign([TopicPartition(topic, n, offset) for n, offset in self._next.items()])
                break
        return [batch] if batch.records or batch.rejects else []

    def next_awake(self) -> datetime | None:
        """Poll again soon."""
        return datetime.now(UTC) + POLL_INTERVAL

    def snapshot(self) -> Snapshot:
        """Return the progress as plain data."""
        return SideInputPosition(self._next).snapshot()

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def _refuse_unreadable(self, event: Message, error: KafkaError, batch: SideBatch[T]) -> int:
        """Refuse the messages of a batch that the client cannot read; return the offset after them."""
        topic, number = place_of(event)
        _, end = self._connection.watermarks(self._consumer, topic, number)
        offset = event.offset()
        first = max(self._next[number], offset if offset is not None and offset < end else 0)
        after = readable_from(self._settings, TopicPartition(topic, number, first), end, self._connection)
        part = self._parts.index(InputPartition(self._topic, number))
        batch.rejects += unreadable_rejects(part, first, after, error)
        return after

    def _add(self, message: Message, batch: SideBatch[T]) -> None:
        payload = message.value() or b""
        decoded = self._decoder.decode(payload)
        if not isinstance(decoded, Refusal):
            batch.records.append(decoded)
            return
        part = self._parts.index(InputPartition(self._topic, place_of(message)[1]))
        batch.rejects.append(Reject(part, offset_of(message), *decoded, payload, envelope_of(message)))
