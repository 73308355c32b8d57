"""Connection to the broker: address, identity and client settings by ``CITYAIR_KAFKA*`` variables, and retries.

Secrets come from the environment or a file of their own. They are handed to the client and to nothing else: no message
of ours names one.
"""

import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from schemas.errors import BrokerError, ConfigurationError

DEFAULT_SERVERS = "localhost:9092"
MAX_CLIENT_BYTES = 4 << 20
"""Bytes of a message that a producer lets pass; what a topic takes is the broker's to say."""
FILES = {
    "CITYAIR_KAFKA_CA": "ssl.ca.location",
    "CITYAIR_KAFKA_CERTIFICATE": "ssl.certificate.location",
    "CITYAIR_KAFKA_KEY": "ssl.key.location",
}
RETRIABLE = (
    *("_TRANSPORT", "_TIMED_OUT", "_TIMED_OUT_QUEUE", "_ALL_BROKERS_DOWN", "_RESOLVE", "REQUEST_TIMED_OUT"),
    *("LEADER_NOT_AVAILABLE", "NOT_LEADER_FOR_PARTITION", "REPLICA_NOT_AVAILABLE", "BROKER_NOT_AVAILABLE"),
    *("COORDINATOR_NOT_AVAILABLE", "COORDINATOR_LOAD_IN_PROGRESS", "NOT_COORDINATOR", "NOT_CONTROLLER"),
    *("OFFSET_NOT_AVAILABLE", "FENCED_LEADER_EPOCH", "UNKNOWN_LEADER_EPOCH", "KAFKA_STORAGE_ERROR"),
    "UNSTABLE_OFFSET_COMMIT",
)
"""Errors that end by themselves once the broker, or another in its place, is back. (``retriable()`` of the client
is for transactions only.)"""
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")

Config = dict[str, Any]
T = TypeVar("T")
_silent = logging.getLogger("cityair.librdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


@dataclass(slots=True)
class ClientErrors:
    """Last error of a client, as its ``error_cb``: failed TLS and passwords show nowhere else.

    Attributes:
        last: name and text of the newest error, empty where there was none.
    """

    last: str = ""

    def __call__(self, error: Any) -> None:
        """Note an error; that all brokers are down tells less than the one before it."""
        if error.name() != "_ALL_BROKERS_DOWN" or not self.last:
            self.last = f"{error.name()}: {error.str()}"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a broker that does not answer is asked again.

    Attributes:
        timeout_s: seconds after which it counts as unreachable.
        request_timeout_s: seconds that a single request may take.
        pause_s: seconds between two requests.
    """

    timeout_s: float = 30.0
    request_timeout_s: float = 2.0
    pause_s: float = 0.1


DEFAULT_RETRY = RetryPolicy()


def servers() -> str:
    """Bootstrap servers: ``CITYAIR_KAFKA``, or ``localhost:9092`` where it is not set."""
    return os.environ.get("CITYAIR_KAFKA", "").strip() or DEFAULT_SERVERS


def topic_name(name: str) -> str:
    """Name of a topic on the broker: ``CITYAIR_KAFKA_PREFIX``, so that cities can share one, and its contract name.

    Raises:
        ConfigurationError: the prefix has letters that no topic may have.

    >>> topic_name("env.air.reading.v1")
    'env.air.reading.v1'
    """
    prefix = os.environ.get("CITYAIR_KAFKA_PREFIX", "").strip()
    if not re.fullmatch(r"[\w.-]{0,100}", prefix, re.ASCII):
        raise ConfigurationError(
            f"CITYAIR_KAFKA_PREFIX = {prefix!r} cannot begin a topic's name; "
            "use at most 100 letters, digits, '.', '_' and '-', for instance 'gimhae.'"
        )
    return prefix + name


class Connection:
    """Clients' way to the broker: their settings, their last error, and how long an answer is waited for.

    One for all clients of a task. Requests that fail are repeated by `retry`; what a person can mend is raised as an
    error that names the broker and the cure.

    Args:
        policy: how long a broker that does not answer is asked again.
        errors: takes what the clients complain of.

    Attributes:
        policy: as given.
        errors: as given.

    >>> Connection().settings(linger_ms=5)["linger.ms"]
    5
    >>> Connection(RetryPolicy(timeout_s=1)).retry(lambda timeout_s: f"asked for {timeout_s} s")
    'asked for 1 s'
    """

    def __init__(self, policy: RetryPolicy = DEFAULT_RETRY, errors: ClientErrors | None = None) -> None:
        self.policy = policy
        self.errors = ClientErrors() if errors is None else errors

    def settings(self, **more: Any) -> Config:
        """Settings of any librdkafka client: address, identity, and ``more`` (``_`` stands for ``.``).

        Raises:
            ConfigurationError: variables contradict each other, or a file they name cannot be read.
        """
        common: Config = {
            "bootstrap.servers": servers(),
            "client.id": "cityair",
            "error_cb": self.errors,
            "log_level": 0,  # what matters comes through error_cb
            "logger": _silent,  # a client without one writes to stderr at this level, too
            "reconnect.backoff.max.ms": 1000,
            "topic.metadata.refresh.interval.ms": 30_000,
            "allow.auto.create.topics": False,
        }
        return common | _identity() | {name.replace("_", "."): value for name, value in more.items()}

    def consumer_settings(self, group: str, **more: Any) -> Config:
        """Settings of a consumer that is assigned its partitions, and hears of their ends.

        Args:
            group: consumer group; the client wants one even where it is never joined.
            more: as of `settings`.

        Raises:
            ConfigurationError: as of `settings`.
        """
        of_consumer = {"enable_auto_commit": False, "enable_partition_eof": True, "auto_offset_reset": "earliest"}
        check = {"check_crcs": True}  # the client by itself would take a digit that was flipped on the broker's disk
        return self.settings(**of_consumer | check | {"group_id": group} | more)

    def producer_settings(self, **more: Any) -> Config:
        """Settings of a producer that writes each message once as long as it lives.

        Args:
            more: as of `settings`.

        Raises:
            ConfigurationError: as of `settings`.
        """
        partitioner = "murmur2_random"  # as Kafka's Java clients
        return self.settings(
            **{"enable_idempotence": True, "compression_type": "lz4", "partitioner": partitioner} | more
        )

    def retry(self, request: Callable[[float], T]) -> T:
        """Repeat a request until the broker answers.

        Args:
            request: takes a time limit in seconds.

        Raises:
            BrokerError: the broker does not answer, or refuses us.
        """
        from confluent_kafka import KafkaException  # noqa: PLC0415, a run without a broker needs none of it

        policy = self.policy
        end = time.monotonic() + policy.timeout_s
        while True:
            try:
                return request(min(policy.request_timeout_s, policy.timeout_s))
            except KafkaException as err:
                error = err.args[0]
                refused = f"broker {servers()}: {error.name()}: {error.str()}"
                if "AUTHORIZATION" in error.name():
                    raise BrokerError(f"{refused}; the user lacks a right: cityair topics acls") from err
                if error.name() not in RETRIABLE:
                    raise BrokerError(refused) from err
                if time.monotonic() > end:
                    raise BrokerError(
                        f"no broker answered at {servers()} within {policy.timeout_s:.0f} s{self.complaint}; "
                        "set CITYAIR_KAFKA=host:port, and see docs/operations.md for users and TLS"
                    ) from err
                time.sleep(policy.pause_s)

    @property
    def complaint(self) -> str:
        """The clients' last error in parentheses, to end a message with; empty where there was none."""
        return f" ({self.errors.last})" if self.errors.last else ""

    def partitions(self, client: Any, topic: str) -> list[int]:
        """List the partitions of a topic, by its name on the broker.

        Raises:
            BrokerError: the broker cannot be reached, or refuses us.
            ConfigurationError: the topic is not there.
        """
        metadata = self.retry(lambda timeout_s: client.list_topics(topic, timeout=timeout_s)).topics[topic]
        if metadata.error is None:
            return sorted(metadata.partitions)
        message = f"topic {topic} on {servers()}: {metadata.error.str()}"
        if "AUTHORIZATION" in metadata.error.name():
            raise BrokerError(f"{message}; the user needs the right to describe it: cityair topics acls")
        raise ConfigurationError(f"{message}; make it with: cityair topics create")

    def watermarks(self, consumer: Any, topic: str, partition: int) -> tuple[int, int]:
        """First offset of a partition, and the one after its last, by the topic's name on the broker.

        Raises:
            BrokerError: the broker cannot be reached, or refuses us.
        """
        from confluent_kafka import TopicPartition  # noqa: PLC0415, as above

        where = TopicPartition(topic, partition)
        low, end = self.retry(lambda timeout_s: consumer.get_watermark_offsets(where, timeout=timeout_s))
        return low, end


def _identity() -> Config:
    user, password = os.environ.get("CITYAIR_KAFKA_USER"), _password()
    files = {key: _readable(name) for name, key in FILES.items() if os.environ.get(name)}
    protocol = os.environ.get("CITYAIR_KAFKA_SECURITY", "").upper()
    if not protocol:
        protocol = "SASL_SSL" if user else "SSL" if files else "PLAINTEXT"
    if protocol not in PROTOCOLS:
        raise ConfigurationError(f"CITYAIR_KAFKA_SECURITY = {protocol!r} is none of {', '.join(PROTOCOLS)}")
    config: Config = {"security.protocol": protocol} | files
    if not protocol.startswith("SASL"):
        if user:
            raise ConfigurationError(f"CITYAIR_KAFKA_USER is set, but {protocol} asks for no user; use SASL_SSL")
        return config
    if not user or password is None:
        raise ConfigurationError(
            f"{protocol} needs CITYAIR_KAFKA_USER, and CITYAIR_KAFKA_PASSWORD or CITYAIR_KAFKA_PASSWORD_FILE"
        )
    mechanism = os.environ.get("CITYAIR_KAFKA_MECHANISM", "SCRAM-SHA-512")
    return config | {"sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": password}


def _password() -> str | None:
    if path := os.environ.get("CITYAIR_KAFKA_PASSWORD_FILE"):
        _readable("CITYAIR_KAFKA_PASSWORD_FILE")
        return Path(path).read_text().rstrip("\n")
    return os.environ.get("CITYAIR_KAFKA_PASSWORD")


def _readable(variable: str) -> str:
    path = os.environ[variable]
    try:
        with Path(path).open("rb"):
            return path
    except OSError as err:
        raise ConfigurationError(f"{variable} = {path}: cannot be read: {err.strerror}") from err
