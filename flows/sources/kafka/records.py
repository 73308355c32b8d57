"""Decoding of a topic's messages to readings and rejects, thousands at once."""

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from confluent_kafka import KafkaError, Message
from numpy.typing import NDArray

from flows.arrays import I64
from flows.broker.read_back import headers_of, offset_of
from flows.decode.batch import RawMessages, Readings
from flows.decode.decoder import Decoder
from schemas.rejected import MAX_MESSAGE_BYTES, Envelope, Reject
from schemas.slots import MILLISECOND_US, SLOT_US

UNSTAMPED_US = int(np.iinfo(np.int64).max) // 4
"""Time stamp, in microseconds, of a message that has none: no reading is stamped past it."""
NEWLINE = ord("\n")
_LATTER = itemgetter(1)


class RecordPayloads(RawMessages):
    """Bytes, keys and headers of messages. Headers are asked for only of those that are refused.

    Args:
        messages: of the client.
        message: index of each row's message, shape (n,).
    """

    def __init__(self, messages: Sequence[Message], message: I64) -> None:
        self._messages, self._message = messages, message

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        return [self._messages[at].value() or b"" for at in self._message[rows].tolist()]

    def envelopes(self, rows: Sequence[int] | NDArray[np.integer]) -> list[Envelope]:
        """Return key and headers of each of ``rows``."""
        return [envelope_of(self._messages[at]) for at in self._message[rows].tolist()]


class MessageRun(NamedTuple):
    """Messages of one partition, at least one, in the order of their offsets; or a single error event.

    Attributes:
        messages: of the client.
        stamps: time stamps in milliseconds since 1970, below zero where there is none, shape (n,).
    """

    messages: Sequence[Message]
    stamps: I64

    def first(self, n: int) -> "MessageRun":
        """Return the first n of them."""
        return MessageRun(self.messages[:n], self.stamps[:n]) if n < len(self.messages) else self


def runs_of(events: Sequence[Message], topics: int) -> Iterator[MessageRun]:
    """Cut what the client gave into runs of one partition; each error event is a run of its own.

    An error event has no time stamp: messages that all have one need not be asked whether they are errors.

    Args:
        events: messages and error events, in the order in which they came.
        topics: how many topics they may be of.
    """
    if not events:
        return
    stamps = np.fromiter(map(_LATTER, map(Message.timestamp, events)), np.int64, len(events))
    errors = bool((stamps < 0).any()) and any(map(Message.error, events))
    places: list[object] = list(map(Message.partition, events))
    if topics > 1:
        places = list(zip(map(Message.topic, events), places, strict=True))
    if not errors and places.count(places[0]) == len(places):
        yield MessageRun(events, stamps)
        return
    begin = 0
    for i in range(1, len(events) + 1):
        goes_on = i < len(events) and places[i] == places[begin]
        if not goes_on or (errors and (events[i].error() or events[i - 1].error())):
            yield MessageRun(events[begin:i], stamps[begin:i])
            begin = i


class RecordDecoder:
    """Decoder of messages that also compares each reading with the time stamp of its message.

    Args:
        decoder: decodes and judges their bytes.
        future_us: microseconds that a reading may be stamped past its message's time stamp.
    """

    def __init__(self, decoder: Decoder, future_us: int) -> None:
        self._decoder, self._future_us = decoder, future_us

    def decode(self, runs: Sequence[tuple[int, MessageRun]]) -> list[tuple[Readings, list[Reject]]]:
        """Decode messages of several partitions at once, and part them again: readings and rejects of each run.

        Args:
            runs: in the order of their arrival, each with the index of its partition.

        Raises:
            RuntimeError: a message is missing or is there twice, which would be a bug of ours.
        """
        if not runs:
            return []
        messages = [*chain.from_iterable(run.messages for _, run in runs)]
        stamps = np.concatenate([run.stamps for _, run in runs])
        n = len(messages)
        readings, rejects = self._decode_values(list(map(Message.value, messages)))
        row = readings.offset
        sizes = [len(run.messages) for _, run in runs]
        readings.part = np.repeat(np.array([part for part, _ in runs], np.int32), sizes)[row]
        readings.offset = np.concatenate([_offsets(run.messages) for _, run in runs])[row]
        readings.payloads = RecordPayloads(messages, row)
        stamps_us = np.where(stamps < 0, UNSTAMPED_US, stamps * MILLISECOND_US)
        future = readings.observed > stamps_us[row] + self._future_us
        if future.any():
            at = zip(row[future].tolist(), readings.observed[future].tolist(), strict=True)
            rejects += [_future(messages[message], message, observed) for message, observed in at]
            rejects.sort(key=lambda reject: reject.offset)
            readings, row = readings.take(~future), row[~future]
        if len(readings) + len(rejects) != n:
            raise RuntimeError(f"{n} messages became {len(readings)} readings and {len(rejects)} rejects")
        ends = np.cumsum(sizes)
        row_cuts = pairwise([0, *np.searchsorted(row, ends).tolist()])
        reject_cuts = pairwise([0, *np.searchsorted([reject.offset for reject in rejects], ends).tolist()])
        rejects = [_as_received(reject, messages[reject.offset]) for reject in rejects]
        return [
            (
                readings if len(runs) == 1 else readings.slice(*rows),
                [reject._replace(part=part) for reject in rejects[slice(*refused)]],
            )
            for (part, _), rows, refused in zip(runs, row_cuts, reject_cuts, strict=True)
        ]

    def _decode_values(self, values: list[Any]) -> tuple[Readings, list[Reject]]:
        """Decode all at once as lines, one by one where a message holds a line break; offsets are their indices.

        A value is bytes, or None where a message has none.
        """
        try:
            chunk = b"\n".join([*values, b""])
        except TypeError:  # a message without a value
            return self._decode_values([value or b"" for value in values])
        lines = np.count_nonzero(np.frombuffer(chunk, np.uint8) == NEWLINE)
        if lines != len(values) or (len(chunk) > MAX_MESSAGE_BYTES < max(map(len, values))):
            return self._decoder.messages(0, np.arange(len(values)), values)
        readings, rejects, _ = self._decoder.lines(0, 0, chunk, len(values))
        return readings, rejects


def _offsets(messages: Sequence[Message]) -> I64:
    """Offset of each message of a run; where none is missing in between, the first and the last say all."""
    first, last = offset_of(messages[0]), offset_of(messages[-1])
    if last - first == len(messages) - 1:
        return np.arange(first, last + 1)
    return np.fromiter(map(Message.offset, messages), np.int64, len(messages))


def _future(message: Message, index: int, observed: int) -> Reject:
    ahead = (observed - message.timestamp()[1] * MILLISECOND_US) / SLOT_US
    detail = f"stamped {ahead:.1f} min past its message's time stamp - at `$.observed_at`"
    return Reject(0, index, "future", detail, b"")


def _as_received(reject: Reject, message: Message) -> Reject:
    """A reject at its message's offset, with the bytes, key and headers that came."""
    return reject._replace(offset=offset_of(message), payload=message.value() or b"", envelope=envelope_of(message))


def envelope_of(message: Message) -> Envelope:
    """Key and headers of a message; no headers where the client cannot read them."""
    return Envelope(message.key(), tuple(headers_of(message)))


def unreadable_rejects(part: int, first: int, end: int, error: KafkaError) -> list[Reject]:
    """Refuse the messages of a batch that the client cannot read; of their bytes nothing is known.

    Args:
        part: index of the input partition.
        first: offset of the first of them.
        end: offset after the last.
        error: of the client.
    """
    detail = f"cannot be read by Kafka's client: {error.str()}"
    return [Reject(part, offset, "undecodable", detail, b"") for offset in range(first, end)]
