"""Why a message was refused: the closed list, and one refusal."""

from typing import Final, Literal, NamedTuple, get_args

Reason = Literal[
    "undecodable",  # not to be read as JSON, or not to be read at all: the client gave no bytes
    "contract",  # readable, but not what the contract says
    "unknown_station",  # the city file names no such instrument
    "future",  # stamped past its message, or ahead of the watermark for as long as readings may wait
    "duplicate",  # all that it says was taken before
    "superseded",  # says something else of a time whose value was taken before
    "too_late",  # older than the horizon
    "too_large",  # over `MAX_MESSAGE_BYTES`
    "forbidden",  # its sender may not say so
    "misplaced",  # its place is none of the city
]
REASONS: tuple[str, ...] = get_args(Reason)
OTHER: Final = "other"
"""In place of a reason: the message is of another flow's kind. It is counted, and refused by nobody."""

MAX_MESSAGE_BYTES = 1 << 20
"""A message over 1 MiB is ``too_large``: the broker's own default limit."""
MAX_KEPT_BYTES = 64 << 10
"""So much of a refused payload is kept in ``rejects``."""


class Envelope(NamedTuple):
    """What a message of a topic has beside its bytes."""

    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    cut: int = 0
    """How many bytes the message had, where fewer were kept; 0 where it is whole."""
    bare: bool = False
    """It had a key and headers that were not kept, because they were too large."""

    @property
    def size(self) -> int:
        """Bytes of key and headers."""
        return len(self.key or b"") + sum(len(name) + len(value or b"") for name, value in self.headers)


NO_ENVELOPE = Envelope(None, ())


def kept_part(payload: bytes, envelope: Envelope) -> tuple[bytes, Envelope]:
    """As much of a message as is kept while it is not decided whether it is refused.

    >>> payload, envelope = kept_part(bytes(100_000), Envelope(b"k", ()))
    >>> len(payload), envelope
    (65536, Envelope(key=b'k', headers=(), cut=100000, bare=False))
    """
    if len(payload) > MAX_KEPT_BYTES:
        payload, envelope = payload[:MAX_KEPT_BYTES], envelope._replace(cut=envelope.cut or len(payload))
    if envelope.size > MAX_KEPT_BYTES:
        envelope = envelope._replace(key=None, headers=(), bare=True)
    return payload, envelope


class Reject(NamedTuple):
    """A message refused, or passed over: where it stood, why, and what it was."""

    part: int
    """Index of its input partition in the batch that carried it."""
    offset: int
    reason: Reason | Literal["other"]
    detail: str
    payload: bytes
    """The original bytes."""
    envelope: Envelope = NO_ENVELOPE
