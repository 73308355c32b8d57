"""Identities of topics: the broker's own ids, by which a topic that was deleted and made again is another one."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from flows.broker.connection import Connection, servers, topic_name
from schemas.errors import BrokerError, ConfigurationError

CHECK_INTERVAL_S = 5.0
"""Seconds between two checks of topics that are being read."""


class TopicIdentities:
    """Ids of the topics that a source reads, compared with those that it began with.

    Args:
        topics: contract names.
        connection: to the broker.
        interval_s: seconds between two checks.

    Attributes:
        ids: by contract name; empty until the broker was asked.

    Raises:
        ConfigurationError: the broker's settings do not fit together.
    """

    def __init__(self, topics: Sequence[str], connection: Connection, *, interval_s: float = CHECK_INTERVAL_S) -> None:
        self.ids: dict[str, str] = {}
        self._names = {name: topic_name(name) for name in topics}
        self._connection, self._interval_s = connection, interval_s
        self._admin = AdminClient(connection.settings())
        self._answers: dict[str, Future[Any]] = {}
        self._next_check = time.monotonic() + interval_s

    def require(self, known: Mapping[str, str]) -> dict[str, str]:
        """Ask for the id of each topic, and keep them.

        Args:
            known: ids that a snapshot has, by contract name.

        Raises:
            BrokerError: the broker cannot be reached, or refuses us.
            ConfigurationError: a topic is not there, or is another than the one ``known``.
        """
        ids = {name: self._describe(on_broker) for name, on_broker in self._names.items()}
        self._compare(known, ids)
        self.ids = ids
        return ids

    def check(self) -> None:
        """Compare again, every few seconds and without waiting for the broker's answer.

        New offsets can have passed the old ones before the consumer asks for more, and then nothing else shows it.

        Raises:
            ConfigurationError: a topic was deleted and made again.
        """
        if self._answers:
            if all(answer.done() for answer in self._answers.values()):
                answers, self._answers = self._answers, {}
                ids = {name: _id(answers[on_broker]) for name, on_broker in self._names.items()}
                self._compare(self.ids, {name: id_ for name, id_ in ids.items() if id_})
        elif time.monotonic() >= self._next_check:
            self._next_check = time.monotonic() + self._interval_s
            self._answers = self._admin.describe_topics(
                TopicCollection(list(self._names.values())), request_timeout=self._connection.policy.timeout_s
            )

    def _describe(self, topic: str) -> str:
        def describe(timeout_s: float) -> Any:
            answers = self._admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_s)
            return answers[topic].result()  # a failed answer stays failed, so a retry has to ask anew

        try:
            return str(self._connection.retry(describe).topic_id)
        except BrokerError as err:
            if "UNKNOWN_TOPIC" in str(err):
                raise ConfigurationError(
                    f"topic {topic} is not on {servers()}; make it with: cityair topics create"
                ) from err
            raise

    def _compare(self, known: Mapping[str, str], ids: Mapping[str, str]) -> None:
        for name, id_ in ids.items():
            if known.get(name, id_) != id_:
                raise ConfigurationError(
                    f"topic {self._names[name]} was deleted and made again since this recovery store read it: its "
                    "offsets went back, and what it holds is not what comes next; start a new lake and store"
                )


def _id(answer: Future[Any]) -> str:
    """Id in an answer; empty where the broker is away, or the topic gone, which the consumer reports itself."""
    try:
        return str(answer.result().topic_id)
    except KafkaException:
        return ""
