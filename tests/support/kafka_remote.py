"""A Kafka broker that is there already: a client of it that makes and removes topics."""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.kafka_server import Server
from tests.support.until import TIMEOUT_S, until


class Remote:
    """A broker that somebody runs: topics can be made and removed.

    Attributes:
        servers: ``host:port``, several with commas; what ``CITYAIR_KAFKA`` takes.
    """

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self._admin: AdminClient | None = None

    def client(self, **more: object) -> dict[str, Any]:
        """Settings of a confluent-kafka client, quiet and quick to come back; ``_`` in a name stands for ``.``."""
        quiet = {"log_level": 0, "error_cb": lambda _: None}
        back = {"reconnect.backoff.ms": 50, "reconnect.backoff.max.ms": 100}
        return {"bootstrap.servers": self.servers} | quiet | back | dotted(more)

    def environment(self) -> dict[str, str]:
        """The variables by which ``cityair`` finds this broker."""
        return {"CITYAIR_KAFKA": self.servers}

    @property
    def admin(self) -> AdminClient:
        """A client that makes, describes and removes."""
        if self._admin is None:
            self._admin = AdminClient(self.client())
        return self._admin

    def topics(self) -> set[str]:
        """Names of the topics there are."""
        return set(self.admin.list_topics(timeout=10).topics)

    def create(self, *topics: str, partitions: int = 1, **config: object) -> None:
        """Make topics alike and wait until they can be written; ``retention_ms=-1`` sets retention.ms."""
        config = {name: str(value) for name, value in dotted(config).items()}
        self.create_all([NewTopic(topic, partitions, config=config) for topic in topics])

    def create_all(self, topics: list[NewTopic]) -> None:
        """Make these topics at once and wait until all their partitions can be written."""
        self._done(self.admin.create_topics(topics))

        def there() -> bool:
            found = self.admin.list_topics(timeout=10).topics
            parts = {name: [part.leader >= 0 for part in topic.partitions.values()] for name, topic in found.items()}
            return all(parts.get(topic.topic) == [True] * topic.num_partitions for topic in topics)

        until(there, lambda: f"created, but without leaders: {', '.join(topic.topic for topic in topics)}")

    def delete(self, *topics: str) -> None:
        """Remove topics and wait until they are gone."""
        if topics:
            self._done(self.admin.delete_topics(list(topics)))
            until(lambda: not self.topics() & set(topics), lambda: f"still there: {self.topics() & set(topics)}")

    @staticmethod
    def _done(futures: Mapping[str, Any]) -> None:
        for future in futures.values():
            future.result(timeout=TIMEOUT_S)

    def wait(self, servers: Iterable[Server] = (), count: int = 1) -> None:
        """Wait until ``count`` brokers answer.

        Raises:
            TimeoutError: they do not; says the end of the logs of ``servers``.
            RuntimeError: one of ``servers`` ended.
        """
        servers = list(servers)

        def logs() -> str:
            return "".join(f"\n{server.log}:\n{server.tail()}" for server in servers)

        def ready() -> bool:
            if any(not server.running for server in servers):
                raise RuntimeError(f"Kafka ended at its start:{logs()}")
            with contextlib.suppress(KafkaException):
                return len(self.admin.list_topics(timeout=1).brokers) >= count
            return False

        until(ready, lambda: f"no broker answers at {self.servers}{logs()}")


def dotted(names: Mapping[str, object]) -> dict[str, object]:
    """Settings by their names in Kafka: ``_`` stands for ``.``."""
    return {name.replace("_", "."): value for name, value in names.items()}
