"""States of a city's lights as they were published: out of a lake, or off the compacted topic as they come."""

import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

from confluent_kafka import Consumer, KafkaError, TopicPartition

from flows.broker.connection import ClientErrors, Connection, topic_name
from flows.broker.read_back import ends_of, followed, messages_between, parsed
from schemas.city import City
from schemas.errors import BrokerError
from schemas.light import SEQ_END, LightState, WildState, check_state, parse_state
from sinks.catalog import Catalog, catalog

STATE_TOPIC = "env.light.state.v1"
LIGHT_GROUP = "light-cityair"
"""What a light's rights on the broker allow; nothing is ever committed."""
LAKE_REFRESH_S = 5.0
"""A lake is not written more often than once an epoch."""
LONGEST_DELAY = timedelta(days=1)
"""No state is in force for longer, and none is published so long after its air."""
RECOVERED_S = 3.0
"""Seconds without an error after which a client counts as connected again."""
SPARE_STATES = 10
"""Rows of a light that are read, should the newest break the contract."""
STATE_COLUMNS = ", ".join(LightState.__struct_fields__)
STATES_BETWEEN = f"""
SELECT told_at, {STATE_COLUMNS} FROM (
    SELECT *, max(as_of) OVER (PARTITION BY light_id ORDER BY seq) AS told_at
    FROM light_states WHERE as_of > $begin AND as_of <= $end AND seq BETWEEN 0 AND {SEQ_END - 1}
) WHERE told_at <= $upto ORDER BY light_id, seq
"""
NEWEST_STATES = f"""
SELECT {STATE_COLUMNS} FROM light_states WHERE seq BETWEEN 0 AND {SEQ_END - 1}
QUALIFY row_number() OVER (PARTITION BY light_id ORDER BY seq DESC) <= {SPARE_STATES} ORDER BY light_id, seq
"""

log = logging.getLogger("cityair")


class PublishedState(NamedTuple):
    """A state, and when its light had it at the earliest."""

    at: datetime
    """The newest ``as_of`` of the light's states up to this one. The time of publication is not stored, and a light
    that falls back to an hourly station gets a state of older air."""
    state: LightState | WildState


class StateSource(Protocol):
    """Where states come from: a lake or a topic."""

    @property
    def city(self) -> City:
        """Its lights are shown."""

    @property
    def trouble(self) -> str:
        """What keeps new states from coming; empty while nothing does."""

    def read_all(self, at: datetime | None = None) -> list[LightState | WildState]:
        """Every state that a light could know at a time; None: now."""

    def poll(self, seconds: float) -> list[LightState | WildState]:
        """Wait, and return the states that came."""


def states_between(con: Catalog, begin: datetime, end: datetime) -> list[PublishedState]:
    """Read states that a lake's lights had from ``begin`` to ``end``, and the one before; by light, in their order."""
    names = {"begin": begin - LONGEST_DELAY, "end": end + LONGEST_DELAY, "upto": end}
    rows = con.execute(STATES_BETWEEN, names).fetchall()
    return [PublishedState(at, state) for at, *row in rows if (state := _state(*row)) is not None]


def _state(*row: Any) -> LightState | WildState | None:
    """A row's state; none where it breaks the contract."""
    fields = dict(zip(LightState.__struct_fields__, row, strict=True))
    try:
        return _noted(check_state(fields), "light_states")
    except ValueError as err:
        log.warning("light_states: state %s of %s is left out: %s", fields["seq"], fields["light_id"], err)
        return None


def _noted(state: LightState | WildState, where: str) -> LightState | WildState:
    """Log what is wrong with a state that is not to be shown."""
    if isinstance(state, WildState):
        log.warning("%s: state %d of %s is not shown: %s", where, state.seq, state.light_id, state.fault)
    return state


class LakeStates:
    """States of the table ``light_states``.

    Args:
        path: folder of the lake.
        refresh_s: seconds between two looks at its files.

    Raises:
        ConfigurationError: there is no lake.
    """

    trouble = ""

    def __init__(self, path: Path, refresh_s: float = LAKE_REFRESH_S) -> None:
        self._con, self._refresh_s = catalog.connect(path), refresh_s
        self._refreshed = time.monotonic()
        self.city: City = self._con.snapshot.city

    def read_all(self, at: datetime | None = None) -> list[LightState | WildState]:
        """Every state that a light could know at a time; None: the newest of each light."""
        if at is not None:
            return [published.state for published in states_between(self._con, at, at)]
        rows = self._con.execute(NEWEST_STATES).fetchall()
        newest = {state.light_id: state for row in rows if (state := _state(*row)) is not None}
        return [*newest.values()]

    def poll(self, seconds: float) -> list[LightState | WildState]:
        """Wait, and return the newest states if the lake was read again."""
        time.sleep(seconds)
        if time.monotonic() - self._refreshed < self._refresh_s:
            return []
        self._refreshed = time.monotonic()
        self._con.refresh()
        return self.read_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._con.close()


class _DatedErrors(ClientErrors):
    """Last error of a client, and when it was."""

    at = -RECOVERED_S

    def __call__(self, error: Any) -> None:
        super().__call__(error)
        self.at = time.monotonic()


class TopicStates:
    """States off a compacted topic, from its beginning on.

    Args:
        city: its lights are shown.
        topic: contract name; ``CITYAIR_KAFKA_PREFIX`` stands before it on the broker.

    Raises:
        BrokerError: the broker cannot be reached, or refuses us.
        ConfigurationError: the topic is not there.
    """

    def __init__(self, city: City, topic: str = STATE_TOPIC) -> None:
        self.city = city
        self._name = topic_name(topic)
        self._errors = _DatedErrors()
        self._connection = Connection(errors=self._errors)
        self._consumer = Consumer(self._connection.consumer_settings(LIGHT_GROUP))
        self._ends = ends_of(self._consumer, self._name, self._connection)

    @property
    def trouble(self) -> str:
        """Last error of the client; empty while the broker answers."""
        return self._errors.last if time.monotonic() - self._errors.at < RECOVERED_S else ""

    def read_all(self, at: datetime | None = None) -> list[LightState | WildState]:
        """Read to where the topic ends now; with ``at``, leave out states of later air.

        Raises:
            BrokerError: the broker stops answering, or refuses us.
        """
        messages = messages_between(self._consumer, self._name, None, self._ends, self._connection)
        states = self._states(messages)
        self._consumer.assign([TopicPartition(self._name, number, end) for number, end in self._ends.items()])
        return [state for state in states if at is None or (isinstance(state, LightState) and state.as_of <= at)]

    def poll(self, seconds: float) -> list[LightState | WildState]:
        """Wait for states, at most so long; return with the first message.

        Raises:
            BrokerError: the broker refuses us.
        """
        event = self._consumer.poll(seconds)
        events = [] if event is None else [event, *self._consumer.consume(10_000, 0)]
        events = followed(self._consumer, events, self._name, self._connection)
        return self._states(event for event in events if not self._is_error(event))

    def _is_error(self, event: Any) -> bool:
        error = event.error()
        if error is not None and (
            error.fatal() or error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.UNKNOWN_TOPIC_OR_PART)
        ):
            raise BrokerError(f"{self._name}: {error.name()}: {error.str()}")
        return error is not None

    def _states(self, messages: Iterable[Any]) -> list[LightState | WildState]:
        return [_noted(state, self._name) for state in parsed(messages, parse_state, self._name)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._consumer.close()


def now() -> datetime:
    """The time by which lights are shown: this machine's."""
    return datetime.now(UTC)
