"""Why a message was refused: the closed list, and one refusal."""

from typing import Final, Literal, NamedTuple, get_args

Reason = Literal[
    "undecodable", "contract", "unknown_station", "future", "duplicate", "superseded", "too_late", "too_large"
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


NO_ENVELOPE = Envelope(None, ())


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
