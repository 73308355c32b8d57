"""What topics are by the broker's own ids: one that was deleted and made again under its name is another."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient

from flows.broker import connection
from schemas.errors import BrokerError, ConfigurationError

EVERY = 5.0
"""Seconds between two looks at a topic that is being read."""


class Identities:
    """Asks the broker what some topics are.

    Args:
        topics: contract names.
        errors: what the client complained of.
    """

    def __init__(self, topics: Sequence[str], errors: connection.ClientErrors) -> None:
        self._names = {name: connection.topic_name(name) for name in topics}
        self._errors = errors
        self._admin = AdminClient(connection.config(errors))
        self._asked: dict[str, Future[Any]] = {}
        self._next = time.monotonic() + EVERY

    def ask(self, known: Mapping[str, str]) -> dict[str, str]:
        """Return the id of each topic.

        Raises:
            BrokerError: the broker cannot be reached, or refuses us.
            ConfigurationError: a topic is not there, or is another than the one ``known``.
        """
        ids = {}
        for name, asked in self._names.items():

            def describe(limit: float, asked: str = asked) -> Any:
                found = self._admin.describe_topics(TopicCollection([asked]), request_timeout=limit)
                return found[asked].result()  # an answer that failed stays so: what is tried again is the question

            try:
                ids[name] = str(connection.retry(describe, self._errors).topic_id)
            except BrokerError as err:
                if "UNKNOWN_TOPIC" in str(err):
                    raise ConfigurationError(
                        f"topic {asked} is not on {connection.servers()}; make it with: cityair topics create"
                    ) from err
                raise
        self._compare(known, ids)
        return ids

    def watch(self, known: Mapping[str, str]) -> None:
        """See now and then, without waiting for the answer, that the topics are still those that are read.

        New offsets can have passed the old ones before the client asks for more, and then nothing else tells.

        Raises:
            ConfigurationError: one was deleted and made again.
        """
        if self._asked:
            if all(answer.done() for answer in self._asked.values()):
                answers, self._asked = self._asked, {}
                self._compare(known, {name: found for name in known if (found := _id(answers[self._names[name]]))})
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY
            self._asked = self._admin.describe_topics(
                TopicCollection(list(self._names.values())), request_timeout=connection.PATIENCE_S
            )

    def _compare(self, known: Mapping[str, str], ids: Mapping[str, str]) -> None:
        for name, found in ids.items():
            if known.get(name, found) != found:
                raise ConfigurationError(
                    f"topic {self._names[name]} was deleted and made again since this recovery store read it: its "
                    "offsets went back, and what it holds is not what comes next; start a new lake and store"
                )


def _id(answer: Future[Any]) -> str:
    """Id in an answer; empty where the broker is away or the topic is gone, of which the consumer hears itself."""
    try:
        return str(answer.result().topic_id)
    except KafkaException:
        return ""
