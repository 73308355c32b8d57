"""Messages of a topic partition to a block of readings and rejects."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.arrivals import I64, Payloads
from flows.decode import Decoder
from flows.sources.readers import Block
from schemas.rejected import MAX_MESSAGE_BYTES, Envelope, Reject

MILLISECOND = 1000
NO_STAMP = int(np.iinfo(np.int64).max) // 4


class Records(Payloads):
    """What messages were: bytes, keys and headers.

    Args:
        messages: of the client.
        rows: index of each row's message, shape (n,).
    """

    def __init__(self, messages: Sequence[Any], rows: NDArray[np.integer]) -> None:
        self._messages, self._rows = messages, rows

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> list[bytes]:
        """Return the bytes of each of ``rows``."""
        return [self._messages[self._rows[row]].value() or b"" for row in rows]

    def envelopes(self, rows: Sequence[int] | NDArray[np.integer]) -> list[Envelope]:
        """Return what each of ``rows`` came in."""
        return [envelope_of(self._messages[self._rows[row]]) for row in rows]


def block_of(part: int, first: int, messages: Sequence[Any], decoder: Decoder, future: int) -> Block:
    """Decode messages of one partition, in the order of their offsets.

    Args:
        part: index of their partition.
        first: offset after the last message before them; what is missing between is the broker's.
        messages: of the client, at least one.
        decoder: judges them.
        future: microseconds that a reading may be stamped past its message's time stamp.

    Raises:
        RuntimeError: a message is missing or is there twice, which would be a bug of ours.
    """
    koff = np.array([message.offset() for message in messages], np.int64)
    values = [message.value() or b"" for message in messages]
    readings, rejects = _decode(part, koff, values, decoder)
    row = np.searchsorted(koff, readings.koff)
    readings.payloads = Records(messages, row)
    late = readings.observed > _stamps(messages)[row] + future
    refused = [_whole(reject, messages, koff) for reject in rejects]
    if late.any():
        refused += _future(part, messages, row[late], readings.observed[late], koff)
        refused.sort(key=lambda reject: reject.koff)
        readings = readings.take(~late)
    if len(readings) + len(refused) != len(messages) or koff[0] < first:
        raise RuntimeError(f"{len(messages)} messages became {len(readings)} readings and {len(refused)} rejects")
    end = int(koff[-1]) + 1
    return Block(readings, refused, first, end, {"koff": first})


def _decode(part: int, koff: I64, values: list[bytes], decoder: Decoder) -> Any:
    """Decode all at once as lines; one by one where a message holds a line break, or may be too large."""
    chunk = b"\n".join([*values, b""])
    if chunk.count(b"\n") != len(values) or (len(chunk) > MAX_MESSAGE_BYTES < max(map(len, values))):
        return decoder.messages(part, koff, values)
    readings, rejects, _ = decoder.lines(part, 0, chunk)
    readings.koff = koff[readings.koff]
    return readings, [reject._replace(koff=int(koff[reject.koff])) for reject in rejects]


def _stamps(messages: Sequence[Any]) -> I64:
    """Time stamp of each message in microseconds, far in the future where it has none."""
    stamps = [message.timestamp() for message in messages]
    return np.array([at * MILLISECOND if kind else NO_STAMP for kind, at in stamps], np.int64)


def _whole(reject: Reject, messages: Sequence[Any], koff: I64) -> Reject:
    message = messages[int(np.searchsorted(koff, reject.koff))]
    return reject._replace(payload=message.value() or b"", envelope=envelope_of(message))


def _future(part: int, messages: Sequence[Any], rows: I64, observed: I64, koff: I64) -> list[Reject]:
    rejects = []
    for row, at in zip(rows.tolist(), observed.tolist(), strict=True):
        message = messages[row]
        ahead = (at - message.timestamp()[1] * MILLISECOND) / 60e6
        detail = f"stamped {ahead:.1f} min past its message's time stamp - at `$.observed_at`"
        rejects.append(Reject(part, int(koff[row]), "future", detail, message.value() or b"", envelope_of(message)))
    return rejects


def envelope_of(message: Any) -> Envelope:
    """What a message has beside its bytes."""
    return Envelope(message.key(), tuple(message.headers() or ()))
