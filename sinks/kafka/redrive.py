"""Redrive: dead letters to their topic again, exactly once. Sending and progress are one transaction of Kafka's.

Dead letters that are not sent, but lie before one that is, move to the end of their topic in the same transaction; all
others stay where they are. Progress stands in a consumer group, so that Kafka's own tools show it, and in a mark among
the dead letters themselves: a broker forgets a group that rests, after a week by default.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from flows.broker.connection import MAX_CLIENT_BYTES, Connection, topic_name
from flows.broker.read_back import Offsets, RecordHeaders, headers_of, messages_between
from flows.outputs.events import without_ours
from schemas.errors import BrokerError
from schemas.headers import DEAD_LETTER, DEAD_LETTER_ID
from schemas.topics import dead_letter_topic
from sinks.failpoints import failpoint

GROUP = "cityair-redrive"
REASON, CUT, MARK = f"{DEAD_LETTER}reason", f"{DEAD_LETTER}cut", f"{DEAD_LETTER}redriven"
MAX_TRANSACTION_MESSAGES = 1_000
MAX_TRANSACTION_BYTES = 4 << 20
"""Of one transaction: while it is open, readers of the topic wait."""
TRANSACTION_TIMEOUT_S = 10.0
"""Seconds that a transaction may be open; that of a process that was killed ends then."""
FETCH_WAIT_MS = 100
"""The broker answers sooner that a short topic has ended."""

Headers = Mapping[str, bytes | None]


class RedriveRequest(msgspec.Struct, frozen=True):
    """Which dead letters are to be sent again: those of these reasons (none: of any), and how many at most."""

    reasons: frozenset[str] = frozenset()
    limit: int | None = None

    def matches(self, headers: Headers) -> bool:
        """Whether a dead letter is of the reasons asked for.

        >>> RedriveRequest(frozenset({"future"})).matches({"cityair_reason": b"contract"})
        False
        """
        return not self.reasons or reason_of(headers) in self.reasons


class RedriveReport(msgspec.Struct):
    """What became of the dead letters of a topic.

    Attributes:
        topic: contract name of the topic that they are sent to.
        sent: dead letters sent again, by the reason for which they had been refused.
        kept: dead letters that were not asked for, by reason.
        cut: dead letters that cannot be sent again, because only the beginning of a message too large was kept.
        put_back: how many of those kept and cut were moved to the end of the dead letters.
    """

    topic: str
    sent: dict[str, int] = {}
    kept: dict[str, int] = {}
    cut: int = 0
    put_back: int = 0


class DeadLetterQueue:
    """The dead letters of one topic, and how far they were dealt with.

    Args:
        topic: contract name of the topic that they are sent to.
        connection: to the broker.

    Raises:
        BrokerError: the broker cannot be reached, or refuses us.
        ConfigurationError: a topic is not there.
    """

    def __init__(self, topic: str, connection: Connection | None = None) -> None:
        self._topic, self._target, self._name = topic, topic_name(topic), topic_name(dead_letter_topic(topic))
        self._connection = connection or Connection()
        self._refusal: KafkaError | None = None
        self._consumer = Consumer(
            self._connection.consumer_settings(GROUP, fetch_wait_max_ms=FETCH_WAIT_MS, isolation_level="read_committed")
        )
        self._connection.partitions(self._consumer, self._target)
        self._partitions = self._connection.partitions(self._consumer, self._name)

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def survey(self, request: RedriveRequest) -> RedriveReport:
        """Count what would become of the dead letters, and change nothing.

        Raises:
            BrokerError: the broker went away, or refuses us.
        """
        return self._survey(self._begins(), request)[0]

    def redrive(self, request: RedriveRequest) -> RedriveReport:
        """Send dead letters again. An interrupted call has sent each of them or not, and the next goes on there.

        Raises:
            BrokerError: the broker went away or refused a message; the transaction was not made, start again.
        """
        producer = Producer(
            self._connection.producer_settings(
                transactional_id=f"{GROUP}-{self._target}",
                transaction_timeout_ms=int(TRANSACTION_TIMEOUT_S * 1000),
                message_max_bytes=MAX_CLIENT_BYTES,
            )
        )
        self._connection.retry(producer.init_transactions)  # ends the transaction of a process that was killed
        begins = self._begins()
        report, ends = self._survey(begins, request)
        for letters in in_chunks(self._read(begins, ends)):
            begins |= {letter.partition(): letter.offset() + 1 for letter in letters}
            report.put_back += self._transact(producer, letters, begins, request)
        return report

    def _survey(self, begins: Offsets, request: RedriveRequest) -> tuple[RedriveReport, Offsets]:
        """Count what is to become of the dead letters, and find the offset after the last one to be sent."""
        sent: Counter[str] = Counter()
        kept: Counter[str] = Counter()
        cut, ends = 0, dict(begins)
        for letter in self._read(begins, self._ends()):
            headers = dict(headers_of(letter))
            if MARK in headers:
                continue
            if CUT in headers:
                cut += 1
            elif request.matches(headers) and (request.limit is None or sent.total() < request.limit):
                sent[reason_of(headers)] += 1
                ends[letter.partition()] = letter.offset() + 1
            else:
                kept[reason_of(headers)] += 1
        return RedriveReport(self._topic, dict(sent), dict(kept), cut), ends

    def _transact(self, producer: Producer, letters: list[Message], begins: Offsets, request: RedriveRequest) -> int:
        """Send dead letters again or put them back, and note the progress, all or nothing.

        Returns:
            How many were put back.
        """
        put_back = 0
        producer.begin_transaction()
        try:
            for letter in letters:
                headers = headers_of(letter)
                by_name = dict(headers)
                if MARK in by_name:
                    continue
                if CUT not in by_name and request.matches(by_name):
                    self._produce(producer, self._target, letter, list(without_ours(headers)))
                else:  # without its id, by which the flow would take it for one of its own
                    put_back += 1
                    self._produce(producer, self._name, letter, [h for h in headers if h[0] != DEAD_LETTER_ID])
            mark = json.dumps({str(number): offset for number, offset in begins.items()}).encode()
            producer.produce(self._name, None, partition=min(begins), headers=[(MARK, mark)])
            offsets = [TopicPartition(self._name, number, offset) for number, offset in begins.items()]
            group = self._consumer.consumer_group_metadata()
            self._connection.retry(lambda timeout_s: producer.send_offsets_to_transaction(offsets, group, timeout_s))
            producer.flush(TRANSACTION_TIMEOUT_S)
            failpoint("redrive.before_commit")
            self._connection.retry(producer.commit_transaction)
            failpoint("redrive.after_commit")
        except BaseException as err:
            with contextlib.suppress(KafkaException):
                producer.abort_transaction(TRANSACTION_TIMEOUT_S / 2)  # else readers wait until it times out
            if isinstance(err, BrokerError | KafkaException):
                why = f"{self._refusal.name()}: {self._refusal.str()}" if self._refusal else str(err)
                raise BrokerError(f"{self._target}: {why}; these letters were not sent, start again") from err
            raise
        return put_back

    def _produce(self, producer: Producer, topic: str, letter: Message, headers: RecordHeaders) -> None:
        producer.produce(topic, letter.value(), letter.key(), headers=[*headers], on_delivery=self._delivered)

    def _delivered(self, error: KafkaError | None, _: object) -> None:
        self._refusal = self._refusal or error

    def _watermarks(self, number: int) -> tuple[int, int]:
        return self._connection.watermarks(self._consumer, self._name, number)

    def _ends(self) -> Offsets:
        return {number: self._watermarks(number)[1] for number in self._partitions}

    def _begins(self) -> Offsets:
        """First offset of each partition that was not dealt with yet."""
        group = ConsumerGroupTopicPartitions(GROUP, [TopicPartition(self._name, number) for number in self._partitions])
        admin = AdminClient(self._connection.settings())  # a consumer would not say that it lacks the right to ask

        def committed(timeout_s: float) -> Any:
            answers = admin.list_consumer_group_offsets([group], require_stable=True, request_timeout=timeout_s)
            return answers[GROUP].result().topic_partitions

        known = {place.partition: place.offset for place in self._connection.retry(committed) if place.offset >= 0}
        bounds = {number: self._watermarks(number) for number in self._partitions}
        if len(known) < len(bounds):  # the first time, or the group was forgotten
            known = self._marked() | known
        return {n: known[n] if low <= known.get(n, -1) <= end else low for n, (low, end) in bounds.items()}

    def _marked(self) -> Offsets:
        """Progress by the newest marks among the dead letters."""
        known: Offsets = {}
        lows = {number: self._watermarks(number)[0] for number in self._partitions}
        for letter in self._read(lows, self._ends()):
            if mark := dict(headers_of(letter)).get(MARK):
                for number, offset in json.loads(mark).items():
                    known[int(number)] = max(offset, known.get(int(number), 0))
        return known

    def _read(self, begins: Offsets, ends: Offsets) -> Iterator[Any]:
        chunk = MAX_TRANSACTION_MESSAGES
        return messages_between(self._consumer, self._name, begins, ends, self._connection, chunk=chunk)


def reason_of(headers: Headers) -> str:
    """Reason for which a dead letter was refused; those of others may not have it.

    >>> reason_of({"cityair_reason": b"contract"})
    'contract'
    """
    return (headers.get(REASON) or b"unknown").decode("utf-8", "replace")


def in_chunks(letters: Iterable[Any]) -> Iterator[list[Any]]:
    """Cut dead letters into what one transaction holds."""
    chunk, size = [], 0
    for letter in letters:
        chunk.append(letter)
        size += len(letter.value() or b"")
        if len(chunk) == MAX_TRANSACTION_MESSAGES or size >= MAX_TRANSACTION_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
