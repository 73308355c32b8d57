"""What lights were told: states out of a lake, or off the compacted topic as they come."""

import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
from confluent_kafka import Consumer, KafkaError, TopicPartition

from flows.broker.connection import ClientErrors, Connection, topic_name
from flows.broker.read_back import ends_of, messages_between
from schemas.city import City
from schemas.errors import BrokerError
from schemas.light import LightState
from sinks.catalog import catalog

TOPIC = "env.light.state.v1"
GROUP = "light-cityair"
"""What a light's rights on the broker allow; nothing is ever committed."""
LOOKED_EVERY = 5.0
"""Seconds between two looks at a lake: it is not written more often than once an epoch."""
REACH = timedelta(days=1)
"""No state is in force for longer, and none is told so long after its air."""
AWAY_FOR = 3.0
"""Seconds after which a client that found its broker again no longer complains."""
COLUMNS = ", ".join(LightState.__struct_fields__)
OF_A_TIME = f"""
SELECT told_at, {COLUMNS} FROM (
    SELECT *, max(as_of) OVER (PARTITION BY light_id ORDER BY seq) AS told_at
    FROM light_states WHERE as_of > $begin AND as_of <= $end
) WHERE told_at <= $upto ORDER BY light_id, seq
"""
NEWEST = f"SELECT {COLUMNS} FROM light_states QUALIFY row_number() OVER (PARTITION BY light_id ORDER BY seq DESC) = 1"


class Told(NamedTuple):
    """A state, and when the light had it at the earliest."""

    at: datetime
    """The newest ``as_of`` up to it: when it was told is not kept, and a light that fell back to an hourly station was
    told of older air."""
    state: LightState


def told(con: Any, begin: datetime, end: datetime) -> list[Told]:
    """States that a lake's lights had from ``begin`` to ``end``, by light and in their order; the one before, too."""
    names = {"begin": begin - REACH, "end": end + REACH, "upto": end}
    rows = con.execute(OF_A_TIME, names).fetchall()
    return [Told(at, _state(*row)) for at, *row in rows]


def _state(*row: Any) -> LightState:
    return LightState(**dict(zip(LightState.__struct_fields__, row, strict=True)))


class Lake:
    """States of the table ``light_states``."""

    trouble = ""

    def __init__(self, path: Path) -> None:
        self._con = catalog.connect(path)
        self._looked = time.monotonic()
        self.city: City = self._con.snapshot.city

    def whole(self, at: datetime | None = None) -> list[LightState]:
        """All that lights could know at a time; none: the newest of each."""
        if at is not None:
            return [one.state for one in told(self._con, at, at)]
        return [_state(*row) for row in self._con.execute(NEWEST).fetchall()]

    def take(self, seconds: float) -> list[LightState]:
        """Wait, and return what came."""
        time.sleep(seconds)
        if time.monotonic() - self._looked < LOOKED_EVERY:
            return []
        self._looked = time.monotonic()
        self._con.refresh()
        return self.whole()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._con.close()


class _Complaints(ClientErrors):
    """Remembers when the client last complained, too."""

    at = -AWAY_FOR

    def __call__(self, error: Any) -> None:
        super().__call__(error)
        self.at = time.monotonic()


class Topic:
    """States off ``env.light.state.v1``, from its beginning on.

    Args:
        city: whose lights they are.
        topic: contract name of the topic.

    Raises:
        BrokerError: the broker cannot be reached, or refuses us.
        ConfigurationError: the topic is not there.
    """

    def __init__(self, city: City, topic: str = TOPIC) -> None:
        self.city = city
        self._name = topic_name(topic)
        self._complaints = _Complaints()
        self._connection = Connection(errors=self._complaints)
        self._decode = msgspec.json.Decoder(LightState).decode
        self._consumer: Any = Consumer(self._connection.consumer_settings(GROUP))
        self._ends = ends_of(self._consumer, self._name, self._connection)

    @property
    def trouble(self) -> str:
        """What the client complains of now; empty while the broker answers."""
        return self._complaints.last if time.monotonic() - self._complaints.at < AWAY_FOR else ""

    def whole(self, at: datetime | None = None) -> list[LightState]:
        """Read to where the topic ends now; leave out air of after ``at``, if that is given.

        Raises:
            BrokerError: the broker stops answering, or refuses us.
        """
        messages = messages_between(self._consumer, self._name, None, self._ends, self._connection)
        states = list(self._states(messages))
        self._consumer.assign([TopicPartition(self._name, number, end) for number, end in self._ends.items()])
        return [state for state in states if at is None or state.as_of <= at]

    def take(self, seconds: float) -> list[LightState]:
        """Wait for what comes after that, at most so long; return with the first message.

        Raises:
            BrokerError: the broker refuses us.
        """
        event = self._consumer.poll(seconds)
        events = [] if event is None else [event, *self._consumer.consume(10_000, 0)]
        return list(self._states(event for event in events if not self._is_error(event)))

    def _is_error(self, event: Any) -> bool:
        error = event.error()
        if error is not None and (
            error.fatal() or error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART)
        ):
            raise BrokerError(f"{self._name}: {error.name()}: {error.str()}")
        return error is not None

    def _states(self, messages: Iterable[Any]) -> Iterator[LightState]:
        for message in messages:
            if (value := message.value()) is None:
                continue
            try:
                yield self._decode(value)
            except (msgspec.MsgspecError, ValueError) as err:
                where = f"{self._name} [{message.partition()}] at offset {message.offset()}"
                print(f"cityair: {where} is no state of a light, and is left out: {err}", file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._consumer.close()


def now() -> datetime:
    """The clock of the lights that a command shows: this machine's."""
    return datetime.now(UTC)
