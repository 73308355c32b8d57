"""What goes out: messages of the out-topics, and dead letters; each with an id that a replay gives again."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import version
from typing import NamedTuple

import msgspec

from flows.analyses.base import Event
from flows.decode.batch import InputPartition
from flows.zone.result import ZoneResult
from schemas.city import City
from schemas.headers import DEAD_LETTER, EVENT_ID, SEQUENCE
from schemas.rejected import MAX_KEPT_BYTES, MAX_MESSAGE_BYTES, OTHER, Reject
from schemas.topics import TOPICS, dead_letter_topic

NO_DEAD_LETTER = frozenset({"duplicate", OTHER})
"""No dead letters: their values stand in the lake already, or another flow takes them."""

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
    """Encoder of one flow's events: JSON, with CloudEvents headers in binary mode.

    Args:
        city: whose events they are.
        flow: name of the flow.
        instruments: ids, in the order of the flow's indices.
    """

    def __init__(self, city: City, flow: str, instruments: Sequence[str]) -> None:
        self._instruments = instruments
        self._source = ("ce_source", f"/cityair/{city.city.id}/{flow}".encode())
        self._encode = msgspec.json.Encoder().encode

    def message(self, topic: str, event: Event) -> Message:
        """Encode one event; the topic is its type too."""
        headers: Headers = (
            VERSION_1,
            (EVENT_ID, event.id.encode()),
            self._source,
            _type(topic),
            ("ce_time", event.at.encode()),
            IS_JSON,
        )
        if event.sequence is not None:
            headers += ((SEQUENCE, str(event.sequence).encode()),)
        return Message(event.id, event.key.encode(), self._encode(event.data), headers, event.sequence)

    def of_zone(self, stations: Iterable[int], result: ZoneResult) -> list[Outgoing]:
        """Encode what a zone decided, topic by topic; ``stations`` are the flow's indices of its instruments.

        Messages of a topic leave in the order of firings, so that it does not show how the input was cut.
        """
        ids = [self._instruments[i] for i in stations]
        by_topic: dict[str, list[Event]] = {}
        for messages in result.results.messages:
            by_topic.setdefault(messages.topic, []).extend(messages.events(ids))
        for events in by_topic.values():
            events.sort(key=_order)
        for topic, event in _signals(result):
            by_topic.setdefault(topic, []).append(event)
        return [
            Outgoing(topic, [self.message(topic, event) for event in events])
            for topic, events in by_topic.items()
            if events
        ]


def _order(event: Event) -> tuple[int, ...]:
    return event.order


def _signals(result: ZoneResult) -> Iterator[tuple[str, Event]]:
    """Events of lights and alerts, in the order they were decided."""
    for state in result.signals.states:
        name = f"{state.light_id}:{state.seq}"
        yield "env.light.state.v1", Event(state.light_id, name, state.as_of.isoformat(), state, state.seq)
    for alert in result.signals.alerts:
        yield "env.air.alert.v1", Event(alert.zone, alert.alert_id, alert.ended_at.isoformat(), alert)


@cache
def _type(topic: str) -> Header:
    assert topic in TOPICS, f"{topic} is no topic of ours"
    return "ce_type", topic.encode()


def dead_letters(rejects: Iterable[Reject], parts: Sequence[InputPartition]) -> list[Outgoing]:
    """Make dead letters of what was refused: the original bytes, key and headers, and why, by topic.

    A message that was too large for the contract may be so for a topic as well: of it the first 64 KiB go, and the
    header ``cityair_cut`` tells its size. A key and headers of more than 64 KiB are left out. Duplicates are no dead
    letters: their values are in the lake.
    """
    by_topic: dict[str, list[Message]] = {}
    for reject in rejects:
        if reject.reason not in NO_DEAD_LETTER:
            part = parts[reject.part]
            by_topic.setdefault(dead_letter_topic(part.topic), []).append(_dead_letter(reject, part))
    return [Outgoing(topic, messages) for topic, messages in by_topic.items()]


def _dead_letter(reject: Reject, part: InputPartition) -> Message:
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
    payload, envelope = reject.payload, reject.envelope._replace(headers=without_ours(reject.envelope.headers))
    if envelope.cut or len(payload) > MAX_MESSAGE_BYTES:
        about["cut"], payload = str(envelope.cut or len(payload)), payload[:MAX_KEPT_BYTES]
    key, headers = envelope.key, envelope.headers
    if envelope.bare or envelope.size > MAX_KEPT_BYTES:
        about["bare"], key, headers = "key and headers were too large", None, ()
    ours = tuple((DEAD_LETTER + header, text.encode("utf-8", "replace")) for header, text in about.items())
    return Message(name, key, payload, (*headers, *ours))


@cache
def _version() -> str:
    """Name this code; asked for each dead letter, it would cost a hundred times what the letter does."""
    return version("cityair")


def without_ours(headers: Iterable[tuple[str, bytes | None]]) -> Headers:
    """Leave out what an earlier dead letter of the same message added."""
    return tuple((name, value) for name, value in headers if not name.startswith(DEAD_LETTER))
