"""Messages of topics to readings and rejects."""

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from confluent_kafka import Message
from numpy.typing import NDArray

from flows.arrays import I64
from flows.decode.batch import RawMessages, Readings
from flows.decode.decoder import Decoder
from schemas.rejected import MAX_MESSAGE_BYTES, Envelope, Reject

MILLISECOND = 1000
_LATTER = itemgetter(1)
NEVER = int(np.iinfo(np.int64).max) // 4
NEWLINE = ord("\n")


class Records(RawMessages):
    """What messages were: bytes, keys and headers; the client's own objects are let go while they are at hand.

    Args:
        texts: their bytes, row by row.
        keys, headers: of all messages.
        message: index of each row's message, shape (n,).
    """

    def __init__(self, texts: RawMessages, keys: Sequence[bytes], headers: Sequence[Any], message: I64) -> None:
        self._texts, self._keys, self._headers, self._message = texts, keys, headers, message

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        return self._texts.take(rows)

    def envelopes(self, rows: Sequence[int] | NDArray[np.integer]) -> list[Envelope]:
        """Return what each of ``rows`` came in."""
        return [_envelope(self._keys[at], self._headers[at]) for at in self._message[rows].tolist()]


class Run(NamedTuple):
    """Messages of one partition, at least one, in the order of their offsets.

    Attributes:
        messages: of the client.
        stamps: their time stamps in milliseconds since 1970, below zero where they have none, shape (n,).
    """

    messages: Sequence[Message]
    stamps: I64

    def first(self, n: int) -> "Run":
        """Return the first n of them."""
        return Run(self.messages[:n], self.stamps[:n]) if n < len(self.messages) else self


def alike(found: Sequence[Message], topics: int) -> Iterator[Run]:
    """Part what the client gave, of so many topics, into runs of one partition; each fault stands by itself.

    A fault has no time stamp: so but for those that have none, messages need not be asked whether they are one.
    """
    if not found:
        return
    stamps = np.fromiter(map(_LATTER, map(Message.timestamp, found)), np.int64, len(found))
    faults = bool((stamps < 0).any()) and any(map(Message.error, found))
    places: list[Any] = list(map(Message.partition, found))
    if topics > 1:
        places = list(zip(map(Message.topic, found), places, strict=True))
    if not faults and places.count(places[0]) == len(places):
        yield Run(found, stamps)
        return
    begin = 0
    for i in range(1, len(found) + 1):
        goes_on = i < len(found) and places[i] == places[begin]
        if not goes_on or (faults and (found[i].error() or found[i - 1].error())):
            yield Run(found[begin:i], stamps[begin:i])
            begin = i


def decode(runs: Sequence[tuple[int, Run]], decoder: Decoder, future: int) -> list[tuple[Readings, list[Reject]]]:
    """Decode messages of several partitions at once, and part them again: readings and rejects of each run.

    Args:
        runs: in the order of their arrival, each with the index of its partition.
        decoder: judges them.
        future: microseconds that a reading may be stamped past its message's time stamp.

    Raises:
        RuntimeError: a message is missing or is there twice, which would be a bug of ours.
    """
    if not runs:
        return []
    messages = [*chain.from_iterable(run.messages for _, run in runs)]
    stamps = np.concatenate([run.stamps for _, run in runs])
    n = len(messages)
    readings, rejects = _decode(list(map(Message.value, messages)), decoder)
    row = readings.offset
    sizes = [len(run.messages) for _, run in runs]
    readings.part = np.repeat(np.array([part for part, _ in runs], np.int32), sizes)[row]
    readings.offset = np.concatenate([_offsets(run.messages) for _, run in runs])[row]
    keys, headers = list(map(Message.key, messages)), list(map(Message.headers, messages))
    readings.payloads = Records(readings.payloads, keys, headers, row)
    late = readings.observed > np.where(stamps < 0, NEVER, stamps * MILLISECOND)[row] + future
    if late.any():
        rejects += [
            _future(messages, *at) for at in zip(row[late].tolist(), readings.observed[late].tolist(), strict=True)
        ]
        rejects.sort(key=lambda reject: reject.offset)
        readings, row = readings.take(~late), row[~late]
    if len(readings) + len(rejects) != n:
        raise RuntimeError(f"{n} messages became {len(readings)} readings and {len(rejects)} rejects")
    whole = [(reject.offset, _whole(reject, messages)) for reject in rejects]
    return _parted([part for part, _ in runs], sizes, readings, row, whole)


def _parted(
    parts: Sequence[int], sizes: Sequence[int], readings: Readings, row: I64, rejects: Sequence[tuple[int, Reject]]
) -> list[tuple[Readings, list[Reject]]]:
    """Give each run what became of its messages, whose numbers among all are ``row`` and the rejects' own."""
    ends = np.cumsum(sizes)
    cuts = np.searchsorted(row, ends).tolist()
    parted = []
    for part, size, end, (low, high) in zip(parts, sizes, ends.tolist(), pairwise([0, *cuts]), strict=True):
        of_run = [reject._replace(part=part) for at, reject in rejects if end - size <= at < end]
        parted.append((readings if len(parts) == 1 else readings.slice(low, high), of_run))
    return parted


def _decode(values: list[Any], decoder: Decoder) -> tuple[Readings, list[Reject]]:
    """Decode all at once as lines, one by one where a message holds a line break; offsets are their numbers."""
    try:
        chunk = b"\n".join([*values, b""])
    except TypeError:  # a message without a value
        return _decode([value or b"" for value in values], decoder)
    lines = np.count_nonzero(np.frombuffer(chunk, np.uint8) == NEWLINE)
    if lines != len(values) or (len(chunk) > MAX_MESSAGE_BYTES < max(map(len, values))):
        return decoder.messages(0, np.arange(len(values)), values)
    readings, rejects, _ = decoder.lines(0, 0, chunk, len(values))
    return readings, rejects


def _offsets(messages: Sequence[Message]) -> I64:
    """Offset of each message of a run; where none is missing between the first and the last, these say all."""
    first, last = messages[0].offset(), messages[-1].offset()
    if last - first == len(messages) - 1:
        return np.arange(first, last + 1)
    return np.fromiter(map(Message.offset, messages), np.int64, len(messages))


def _whole(reject: Reject, messages: Sequence[Message]) -> Reject:
    message = messages[reject.offset]
    return reject._replace(offset=message.offset(), payload=message.value() or b"", envelope=envelope_of(message))


def _future(messages: Sequence[Message], row: int, observed: int) -> Reject:
    ahead = (observed - messages[row].timestamp()[1] * MILLISECOND) / 60e6
    detail = f"stamped {ahead:.1f} min past its message's time stamp - at `$.observed_at`"
    return Reject(0, row, "future", detail, b"")


def envelope_of(message: Message) -> Envelope:
    """What a message has beside its bytes."""
    return _envelope(message.key(), message.headers())


def _envelope(key: bytes | None, headers: Sequence[tuple[str, bytes | None]] | None) -> Envelope:
    return Envelope(key, tuple(headers or ()))
