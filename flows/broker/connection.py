"""Where the broker is, and as whom we speak to it: ``CITYAIR_KAFKA*`` variables.

Secrets come from the environment or a file of their own. They are handed to the client and to nothing else: no message
of ours names one.
"""

import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import BrokerError, ConfigurationError

DEFAULT_SERVERS = "localhost:9092"
PATIENCE_S = 30.0
"""Seconds that a command waits for a broker when it starts."""
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
"""What a broker that comes back, or another in its place, mends by itself. (``retriable()`` is for transactions.)"""
PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")

Config = dict[str, Any]
_silent = logging.getLogger("cityair.librdkafka")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


@dataclass(slots=True)
class ClientErrors:
    """Remembers what a client last complained of: TLS and passwords show nowhere else.

    Attributes:
        last: the newest complaint, empty where there was none.
    """

    last: str = ""
    _names: dict[str, None] = field(default_factory=dict)

    def __call__(self, error: Any) -> None:
        """Take a complaint; ``error_cb`` of a client."""
        if error.name() != "_ALL_BROKERS_DOWN" or not self.last:
            self.last = f"{error.name()}: {error.str()}"


def servers() -> str:
    """Name the brokers to begin with: ``CITYAIR_KAFKA``, ``localhost:9092`` where it is not set."""
    return os.environ.get("CITYAIR_KAFKA", "").strip() or DEFAULT_SERVERS


def topic_name(name: str) -> str:
    """Name a topic as the broker knows it: behind ``CITYAIR_KAFKA_PREFIX``, where several cities share a broker.

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


def config(errors: ClientErrors, **more: Any) -> Config:
    """Make the settings of a librdkafka client: where, as whom, and ``more`` (``_`` stands for ``.``).

    Raises:
        ConfigurationError: variables contradict each other, or a file they name cannot be read.

    >>> config(ClientErrors(), group_id="g")["group.id"]
    'g'
    """
    settings: Config = {
        "bootstrap.servers": servers(),
        "client.id": "cityair",
        "error_cb": errors,
        "log_level": 0,  # what matters comes through error_cb
        "logger": _silent,  # a client without one writes to stderr at this level, too
        "reconnect.backoff.max.ms": 1000,
        "topic.metadata.refresh.interval.ms": 30_000,
        "allow.auto.create.topics": False,
    }
    settings |= _identity()
    return settings | {name.replace("_", "."): value for name, value in more.items()}


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


def retry(ask: Callable[[float], Any], errors: ClientErrors, patience: float = PATIENCE_S) -> Any:
    """Ask a broker until it answers; ``ask`` takes a time limit in seconds.

    Raises:
        BrokerError: it does not, or refuses us.
    """
    from confluent_kafka import KafkaException  # noqa: PLC0415, a run without a broker needs none of it

    end = time.monotonic() + patience
    while True:
        try:
            return ask(min(2.0, patience))
        except KafkaException as err:
            error = err.args[0]
            if "AUTHORIZATION" in error.name():
                raise BrokerError(
                    f"broker {servers()}: {error.name()}: {error.str()}; the user lacks a right: cityair topics acls"
                ) from err
            if error.name() not in RETRIABLE:
                raise BrokerError(f"broker {servers()}: {error.name()}: {error.str()}") from err
            if time.monotonic() > end:
                said = f" ({errors.last})" if errors.last else ""
                raise BrokerError(
                    f"no broker answered at {servers()} within {patience:.0f} s{said}; "
                    "set CITYAIR_KAFKA=host:port, and see docs/operations.md for users and TLS"
                ) from err
            time.sleep(0.1)


def partitions(client: Any, name: str, errors: ClientErrors) -> list[int]:
    """List the partitions of a topic, by its name on the broker.

    Raises:
        BrokerError: the broker cannot be reached, or refuses us.
        ConfigurationError: the topic is not there.
    """
    found = retry(lambda limit: client.list_topics(name, timeout=limit), errors).topics[name]
    if found.error is None:
        return sorted(found.partitions)
    said = f"topic {name} on {servers()}: {found.error.str()}"
    if "AUTHORIZATION" in found.error.name():
        raise BrokerError(f"{said}; the user needs the right to describe it: cityair topics acls")
    raise ConfigurationError(f"{said}; make it with: cityair topics create")
