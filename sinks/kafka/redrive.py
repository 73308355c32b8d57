"""Dead letters to their topic again, exactly once: what is sent and how far was read are one transaction of Kafka's.

Letters that are not sent, but lie before one that is, move to the end of the dead letters in the same transaction; all
others stay where they are. How far a dead-letter topic was dealt with stands in a consumer group, so that Kafka's own
tools show it, and in a mark among the letters themselves: a broker forgets a group that rests, after a week by default.
"""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from flows.broker import connection
from flows.outputs.events import DEAD_LETTER, DEAD_LETTER_ID, without_ours
from schemas.errors import BrokerError
from schemas.topics import dead_letters
from sinks.failpoints import failpoint

GROUP = "cityair-redrive"
REASON, CUT, MARK = f"{DEAD_LETTER}reason", f"{DEAD_LETTER}cut", f"{DEAD_LETTER}redriven"
MOST_LETTERS, MOST_BYTES = 1_000, 4 << 20
"""A transaction holds no more: while it is open, readers of the topic wait."""
OPEN = 10.0
"""Seconds that a transaction may be open; that of a process that was killed ends then."""
LARGEST = 4 << 20
"""Bytes of a message that the client lets pass; what a topic takes is the broker's to say."""

Offsets = dict[int, int]


class Asked(msgspec.Struct, frozen=True):
    """Which letters are to be sent again: those of these reasons (none: of any), and how many at most."""

    reasons: frozenset[str] = frozenset()
    limit: int | None = None


class Redriven(msgspec.Struct):
    """What became of the dead letters of a topic.

    Attributes:
        topic: they are sent to, by its contract name.
        sent: letters sent again, by the reason for which they had been refused.
        kept: letters that were not asked for, by reason.
        cut: letters that cannot be sent again, because only the beginning of a message too large was kept.
        put_back: so many of those kept and cut are at the end of the dead letters now.
    """

    topic: str
    sent: dict[str, int] = {}
    kept: dict[str, int] = {}
    cut: int = 0
    put_back: int = 0


class DeadLetters:
    """The dead letters of one topic.

    Args:
        topic: contract name of the topic that they are sent to.

    Raises:
        BrokerError: the broker cannot be reached, or refuses us.
        ConfigurationError: a topic is not there.
    """

    def __init__(self, topic: str) -> None:
        self._topic, self._target, self._name = (
            topic,
            connection.topic_name(topic),
            connection.topic_name(dead_letters(topic)),
        )
        self._errors = connection.ClientErrors()
        self._refused: KafkaError | None = None
        self._consumer = Consumer(
            connection.config(
                self._errors,
                group_id=GROUP,
                enable_auto_commit=False,
                enable_partition_eof=True,
                fetch_wait_max_ms=100,  # the end of a short topic is heard of sooner
                auto_offset_reset="earliest",
                isolation_level="read_committed",
            )
        )
        for name in (self._target, self._name):
            self._partitions = connection.partitions(self._consumer, name, self._errors)

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()

    def survey(self, asked: Asked) -> Redriven:
        """Count what would become of the letters, and change nothing."""
        return self._survey(self._begins(), asked)[0]

    def redrive(self, asked: Asked) -> Redriven:
        """Send letters again. One that is interrupted has sent each of them or not, and the next goes on there.

        Raises:
            BrokerError: the broker went away or refused a message; the transaction was not made, start again.
        """
        producer = Producer(
            connection.config(
                self._errors,
                transactional_id=f"{GROUP}-{self._target}",
                transaction_timeout_ms=int(OPEN * 1000),
                compression_type="lz4",
                partitioner="murmur2_random",  # as Kafka's Java clients
                message_max_bytes=LARGEST,
            )
        )
        connection.retry(producer.init_transactions, self._errors)  # ends the transaction of one that was killed
        begins = self._begins()
        report, untils = self._survey(begins, asked)
        for letters in in_chunks(self._read(begins, untils)):
            begins |= {letter.partition(): letter.offset() + 1 for letter in letters}
            report.put_back += self._transact(producer, letters, begins, asked)
        return report

    def _survey(self, begins: Offsets, asked: Asked) -> tuple[Redriven, Offsets]:
        """Count what is to become of the letters; and for each partition the offset after the last one to be sent."""
        sent: Counter[str] = Counter()
        kept: Counter[str] = Counter()
        cut, untils = 0, dict(begins)
        for letter in self._read(begins, self._ends()):
            headers = dict(letter.headers() or ())
            if MARK in headers:
                continue
            if CUT in headers:
                cut += 1
            elif wanted(headers, asked) and (asked.limit is None or sent.total() < asked.limit):
                sent[reason_of(headers)] += 1
                untils[letter.partition()] = letter.offset() + 1
            else:
                kept[reason_of(headers)] += 1
        return Redriven(self._topic, dict(sent), dict(kept), cut), untils

    def _transact(self, producer: Any, letters: list[Any], begins: Offsets, asked: Asked) -> int:
        """Send letters again or put them back, and note that it was done, all or nothing; how many were put back."""
        put_back = 0
        producer.begin_transaction()
        try:
            for letter in letters:
                headers = letter.headers() or []
                found = dict(headers)
                if MARK in found:
                    continue
                if CUT not in found and wanted(found, asked):
                    self._produce(producer, self._target, letter, without_ours(headers))
                else:  # without its id, by which the flow would take it for one of its own
                    put_back += 1
                    self._produce(producer, self._name, letter, [h for h in headers if h[0] != DEAD_LETTER_ID])
            mark = json.dumps({str(number): offset for number, offset in begins.items()}).encode()
            producer.produce(self._name, None, partition=min(begins), headers=[(MARK, mark)])
            offsets = [TopicPartition(self._name, number, offset) for number, offset in begins.items()]
            group = self._consumer.consumer_group_metadata()
            connection.retry(lambda limit: producer.send_offsets_to_transaction(offsets, group, limit), self._errors)
            producer.flush(OPEN)
            failpoint("redrive.before_commit")
            connection.retry(producer.commit_transaction, self._errors)
            failpoint("redrive.after_commit")
        except BaseException as err:
            with contextlib.suppress(KafkaException):
                producer.abort_transaction(OPEN / 2)  # else readers of the topic wait until it times out
            if isinstance(err, BrokerError | KafkaException):
                said = f"{self._refused.name()}: {self._refused.str()}" if self._refused else str(err)
                raise BrokerError(f"{self._target}: {said}; these letters were not sent, start again") from err
            raise
        return put_back

    def _produce(self, producer: Any, name: str, letter: Any, headers: Iterable[tuple[str, bytes | None]]) -> None:
        producer.produce(name, letter.value(), letter.key(), headers=list(headers), on_delivery=self._delivered)

    def _delivered(self, error: KafkaError | None, _: Any) -> None:
        self._refused = self._refused or error

    def _watermarks(self, number: int) -> tuple[int, int]:
        asked = TopicPartition(self._name, number)
        low, end = connection.retry(
            lambda limit: self._consumer.get_watermark_offsets(asked, timeout=limit), self._errors
        )
        return low, end

    def _ends(self) -> Offsets:
        return {number: self._watermarks(number)[1] for number in self._partitions}

    def _begins(self) -> Offsets:
        """Find where the letters begin that nobody has dealt with yet."""
        asked = ConsumerGroupTopicPartitions(GROUP, [TopicPartition(self._name, number) for number in self._partitions])
        admin = AdminClient(connection.config(self._errors))  # a consumer would not say that it lacks the right to ask

        def ask(limit: float) -> Any:
            found = admin.list_consumer_group_offsets([asked], require_stable=True, request_timeout=limit)
            return found[GROUP].result().topic_partitions

        known = {one.partition: one.offset for one in connection.retry(ask, self._errors) if one.offset >= 0}
        there = {number: self._watermarks(number) for number in self._partitions}
        if len(known) < len(there):  # the first time, or the group was forgotten
            known = self._marked() | known
        return {n: known[n] if low <= known.get(n, -1) <= end else low for n, (low, end) in there.items()}

    def _marked(self) -> Offsets:
        """Read in the newest marks how far the letters were dealt with."""
        known: Offsets = {}
        lows = {number: self._watermarks(number)[0] for number in self._partitions}
        for letter in self._read(lows, self._ends()):
            if mark := dict(letter.headers() or ()).get(MARK):
                for number, offset in json.loads(mark).items():
                    known[int(number)] = max(offset, known.get(int(number), 0))
        return known

    def _read(self, begins: Offsets, ends: Offsets) -> Iterator[Any]:
        """Yield the letters from ``begins`` to before ``ends``."""
        left = {number: end for number, end in ends.items() if end > begins[number]}
        self._consumer.assign([TopicPartition(self._name, number, begins[number]) for number in left])
        heard = time.monotonic()
        while left:
            for letter in self._consumer.consume(1000, 0.2):
                heard = time.monotonic()
                error, number = letter.error(), letter.partition()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise BrokerError(f"{self._name}: {error.name()}: {error.str()}")
                if number not in left:
                    continue
                if error is None and letter.offset() < left[number]:
                    yield letter
                if letter.offset() + (error is None) >= left[number]:
                    del left[number]
            if time.monotonic() - heard > connection.PATIENCE_S:
                raise BrokerError(f"{self._name}: no answer from {connection.servers()} ({self._errors.last})")


def reason_of(headers: dict[str, bytes | None]) -> str:
    """Read why a letter was refused; somebody else's letter may not say.

    >>> reason_of({"cityair_reason": b"contract"})
    'contract'
    """
    return (headers.get(REASON) or b"unknown").decode("utf-8", "replace")


def wanted(headers: dict[str, bytes | None], asked: Asked) -> bool:
    """Whether a letter is of the reasons asked for.

    >>> wanted({"cityair_reason": b"contract"}, Asked(frozenset({"future"})))
    False
    """
    return not asked.reasons or reason_of(headers) in asked.reasons


def in_chunks(letters: Iterable[Any]) -> Iterator[list[Any]]:
    """Cut letters into what one transaction holds."""
    chunk, size = [], 0
    for letter in letters:
        chunk.append(letter)
        size += len(letter.value() or b"")
        if len(chunk) == MOST_LETTERS or size >= MOST_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
