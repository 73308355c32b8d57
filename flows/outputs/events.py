"""What goes out: messages of the out-topics, and dead letters; each with an id that a replay gives again."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from importlib.metadata import version
from itertools import groupby
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from flows.analyses.windows import Means
from flows.decode.batch import InputPartition
from flows.kernels.cells import SECONDS
from flows.outputs.means_json import newest_means
from flows.signals.lights import Said
from schemas.city import City
from schemas.rejected import MAX_KEPT_BYTES, MAX_MESSAGE_BYTES, Reject
from schemas.topics import dead_letter_topic

ROLLING_TOPIC = "env.air.rolling.v1"
LIGHT_TOPIC = "env.light.state.v1"
ALERT_TOPIC = "env.air.alert.v1"
DEAD_LETTER = "cityair_"
"""What headers of ours begin with on a dead letter, beside those that it came with."""
DEAD_LETTER_ID = f"{DEAD_LETTER}id"
EVENT_ID = "ce_id"
SEQUENCE = "ce_sequence"
KEPT_OUT = frozenset({"duplicate"})
"""Refused, but no dead letters: their values stand in the lake already."""

Header = tuple[str, bytes | None]
Headers = tuple[Header, ...]
VERSION_1: Header = ("ce_specversion", b"1.0")
IS_JSON: Header = ("content-type", b"application/json")


class Message(NamedTuple):
    """A message for a topic."""

    id: str
    """Names it among all of its topic; also its header ``ce_id``, or ``cityair_id`` on a dead letter."""
    key: bytes | None
    value: bytes
    headers: Headers
    sequence: int | None = None
    """On a compacted topic: rises with each message of its key."""


class Outgoing(NamedTuple):
    """Messages of one topic, in their order."""

    topic: str
    messages: list[Message]


class Events:
    """Makes the events of one city's flow: JSON, with CloudEvents headers in binary mode."""

    def __init__(self, city: City, flow: str) -> None:
        self._timezone = ZoneInfo(city.city.timezone)
        self._ids = [station.id for station in city.stations]
        self._source = ("ce_source", f"/cityair/{city.city.id}/{flow}".encode())
        self._encode = msgspec.json.Encoder().encode

    def event(self, topic: str, key: str, at: str, name: str, data: object, sequence: int | None = None) -> Message:
        """Make one event.

        Args:
            topic: its type too.
            key: of the message.
            at: what time it speaks of, as RFC 3339.
            name: tells it from all others of the topic.
            data: the message's fields.
            sequence: of its key, on a compacted topic.
        """
        headers: Headers = (
            VERSION_1,
            (EVENT_ID, name.encode()),
            self._source,
            _type(topic),
            ("ce_time", at.encode()),
            IS_JSON,
        )
        if sequence is not None:
            headers += ((SEQUENCE, str(sequence).encode()),)
        return Message(name, key.encode(), self._encode(data), headers, sequence)

    def rolling(self, means: Iterable[Means], columns: NDArray[np.int32]) -> Outgoing:
        """Make the messages of ``env.air.rolling.v1``; ``columns`` are the city's indices of the zone's stations."""
        messages = []
        for ended, steps in groupby(newest_means(means), key=lambda step: step.ended):
            at = datetime.fromtimestamp(ended * SECONDS, self._timezone).isoformat()
            for step in steps:
                station = self._ids[columns[step.station]]
                data = {"station_id": station, "ended_at": at, "means": step.means}
                messages.append(self.event(ROLLING_TOPIC, station, at, f"{station}:{ended * SECONDS}", data))
        return Outgoing(ROLLING_TOPIC, messages)

    def told(self, said: Said) -> list[Outgoing]:
        """Make the messages of ``env.light.state.v1`` and ``env.air.alert.v1``."""
        states = [
            self.event(
                LIGHT_TOPIC, state.light_id, state.as_of.isoformat(), f"{state.light_id}:{state.seq}", state, state.seq
            )
            for state in said.states
        ]
        alerts = [
            self.event(ALERT_TOPIC, alert.zone, alert.ended_at.isoformat(), alert.alert_id, alert)
            for alert in said.alerts
        ]
        return [Outgoing(topic, made) for topic, made in ((LIGHT_TOPIC, states), (ALERT_TOPIC, alerts)) if made]


@cache
def _type(topic: str) -> Header:
    return "ce_type", topic.encode()


def letters(rejects: Iterable[Reject], parts: Sequence[InputPartition]) -> list[Outgoing]:
    """Make dead letters of what was refused: the original bytes, key and headers, and why, by topic.

    A message that was too large for the contract may be so for a topic as well: of it the first 64 KiB go, and the
    header ``cityair_cut`` tells its size. A key and headers of more than 64 KiB are left out. Duplicates are no dead
    letters: their values are in the lake.
    """
    by_topic: dict[str, list[Message]] = {}
    for reject in rejects:
        if reject.reason not in KEPT_OUT:
            part = parts[reject.part]
            by_topic.setdefault(dead_letter_topic(part.topic), []).append(_letter(reject, part))
    return [Outgoing(topic, messages) for topic, messages in by_topic.items()]


def _letter(reject: Reject, part: InputPartition) -> Message:
    name = f"{part.topic}:{part.number}:{reject.offset}"
    about: dict[str, str] = {
        "id": name,
        "topic": part.topic,
        "partition": str(part.number),
        "offset": str(reject.offset),
        "reason": reject.reason,
        "detail": reject.detail,
        "version": _version(),
    }
    payload = reject.payload
    if len(payload) > MAX_MESSAGE_BYTES:
        about["cut"], payload = str(len(payload)), payload[:MAX_KEPT_BYTES]
    key, headers = reject.envelope.key, without_ours(reject.envelope.headers)
    if len(key or b"") + sum(len(name) + len(value or b"") for name, value in headers) > MAX_KEPT_BYTES:
        about["bare"], key, headers = "key and headers were too large", None, ()
    ours = tuple((DEAD_LETTER + header, text.encode("utf-8", "replace")) for header, text in about.items())
    return Message(name, key, payload, (*headers, *ours))


@cache
def _version() -> str:
    """Name this code; asked for each letter, it would cost a hundred times what the letter does."""
    return version("cityair")


def without_ours(headers: Iterable[tuple[str, bytes | None]]) -> Headers:
    """Leave out what an earlier dead letter of the same message added."""
    return tuple((name, value) for name, value in headers if not name.startswith(DEAD_LETTER))
