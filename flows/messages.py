"""What goes out: messages of the out-topics, and dead letters; each with an id that a replay gives again."""

from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from importlib.metadata import version
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from flows.arrivals import Partition
from flows.evaluate import Means
from flows.grid import SECONDS
from flows.kernels import rolling
from flows.rows import VALID, coverage
from flows.watch import Said
from schemas.city import City
from schemas.reading import PARAMETERS
from schemas.rejected import MAX_KEPT_BYTES, MAX_MESSAGE_BYTES, Reject
from schemas.topics import dead_letters

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

Headers = tuple[tuple[str, bytes | None], ...]


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
        self._source = f"/cityair/{city.city.id}/{flow}".encode()
        self._encode = msgspec.json.Encoder().encode

    def event(
        self, topic: str, key: str, at: datetime, name: str, data: object, sequence: int | None = None
    ) -> Message:
        """Make one event.

        Args:
            topic: its type too.
            key: of the message.
            at: what it speaks of.
            name: tells it from all others of the topic.
            data: the message's fields.
            sequence: of its key, on a compacted topic.
        """
        headers: Headers = (
            ("ce_specversion", b"1.0"),
            (EVENT_ID, name.encode()),
            ("ce_source", self._source),
            ("ce_type", topic.encode()),
            ("ce_time", at.isoformat().encode()),
            ("content-type", b"application/json"),
        )
        if sequence is not None:
            headers += ((SEQUENCE, str(sequence).encode()),)
        return Message(name, key.encode(), self._encode(data), headers, sequence)

    def rolling(self, means: Iterable[Means], columns: NDArray[np.int32]) -> Outgoing:
        """Make the messages of ``env.air.rolling.v1``; ``columns`` are the city's indices of the zone's stations."""
        return Outgoing(
            ROLLING_TOPIC,
            [
                self.event(
                    ROLLING_TOPIC,
                    station,
                    ended,
                    f"{station}:{int(ended.timestamp())}",
                    {"station_id": station, "ended_at": ended, "means": of_station},
                )
                for station, ended, of_station in newest_means(means, self._ids, columns, self._timezone)
            ],
        )

    def told(self, said: Said) -> list[Outgoing]:
        """Make the messages of ``env.light.state.v1`` and ``env.air.alert.v1``."""
        states = [
            self.event(LIGHT_TOPIC, state.light_id, state.as_of, f"{state.light_id}:{state.seq}", state, state.seq)
            for state in said.states
        ]
        alerts = [self.event(ALERT_TOPIC, alert.zone, alert.ended_at, alert.alert_id, alert) for alert in said.alerts]
        return [Outgoing(topic, made) for topic, made in ((LIGHT_TOPIC, states), (ALERT_TOPIC, alerts)) if made]


def newest_means(
    means: Iterable[Means], stations: Sequence[str], columns: NDArray[np.int32], zone: tzinfo
) -> list[tuple[str, datetime, dict[str, dict[str, dict[str, object]]]]]:
    """At each step the newest means of a station, as the steps closed: station, end, and means by pollutant and window.

    Only windows that close for the first time are sent; what late readings change is in the lake.
    """
    out: dict[tuple[int, int, int], dict[str, dict[str, dict[str, object]]]] = {}
    for one in means:
        if one.closing is None:
            continue
        covered = coverage(one)
        rows = zip(
            one.closing.tolist(),
            one.ended.tolist(),
            columns[one.station].tolist(),
            one.parameter.tolist(),
            one.window.tolist(),
            rolling.mean(one.total, one.count).tolist(),
            covered.tolist(),
            strict=True,
        )
        for closing, ended, station, parameter, window, mean, share in rows:
            of_station = out.setdefault((closing, ended, station), {})
            of_parameter = of_station.setdefault(PARAMETERS[parameter], {})
            of_parameter[one.group.names[window]] = {"mean": mean, "coverage": share, "valid": share >= VALID}
    return [
        (stations[station], datetime.fromtimestamp(ended * SECONDS, zone), out[closing, ended, station])
        for closing, ended, station in sorted(out)
    ]


def letters(rejects: Iterable[Reject], parts: Sequence[Partition]) -> list[Outgoing]:
    """Make dead letters of what was refused: the original bytes, key and headers, and why, by topic.

    A message that was too large for the contract may be so for a topic as well: of it the first 64 KiB go, and the
    header ``cityair_cut`` tells its size. A key and headers of more than 64 KiB are left out. Duplicates are no dead
    letters: their values are in the lake.
    """
    by_topic: dict[str, list[Message]] = {}
    for reject in rejects:
        if reject.reason not in KEPT_OUT:
            part = parts[reject.part]
            by_topic.setdefault(dead_letters(part.topic), []).append(_letter(reject, part))
    return [Outgoing(topic, messages) for topic, messages in by_topic.items()]


def _letter(reject: Reject, part: Partition) -> Message:
    name = f"{part.topic}:{part.kpart}:{reject.koff}"
    about: dict[str, str] = {
        "id": name,
        "topic": part.topic,
        "partition": str(part.kpart),
        "offset": str(reject.koff),
        "reason": reject.reason,
        "detail": reject.detail,
        "version": version("cityair"),
    }
    payload = reject.payload
    if len(payload) > MAX_MESSAGE_BYTES:
        about["cut"], payload = str(len(payload)), payload[:MAX_KEPT_BYTES]
    key, headers = reject.envelope.key, without_ours(reject.envelope.headers)
    if len(key or b"") + sum(len(name) + len(value or b"") for name, value in headers) > MAX_KEPT_BYTES:
        about["bare"], key, headers = "key and headers were too large", None, ()
    ours = tuple((DEAD_LETTER + header, text.encode("utf-8", "replace")) for header, text in about.items())
    return Message(name, key, payload, (*headers, *ours))


def without_ours(headers: Iterable[tuple[str, bytes | None]]) -> Headers:
    """Leave out what an earlier dead letter of the same message added."""
    return tuple((name, value) for name, value in headers if not name.startswith(DEAD_LETTER))
