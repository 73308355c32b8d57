"""The topics that a city needs beside those that the broker has: ``create`` makes what is missing, changes nothing.

What differs is told with its reason and its cure; whoever keeps the broker decides.
"""

import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as TookTooLong
from typing import Any

import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from flows.broker import connection
from schemas.errors import BrokerError, ConfigurationError
from schemas.topics import Wanted

COPIES = 3
"""Copies of each topic where there are brokers enough: one may fail while another is being serviced."""
ANSWER = 30.0
"""Seconds that the broker may take for an order."""
FOREVER = -1

RULES: dict[str, tuple[str, str]] = {
    # setting: it must be equal to the wanted, no less or no more; else this happens
    "cleanup.policy": ("equal", "the broker would drop what must stay, or keep what must go"),
    "retention.ms": ("no less", "a flow that stands still for long would lose input that it has not read"),
    "retention.bytes": ("no less", "the broker would delete by size what nobody has read yet"),
    "message.timestamp.type": ("equal", ""),  # judged together with retention
    "max.message.bytes": ("no less", "messages that the city allows would be refused"),
    "min.insync.replicas": ("no less", "a write would count while a single broker has it, and be lost with its disk"),
    "segment.ms": ("no more", "the newest segment is never compacted, and readers would read everything in it"),
    "max.compaction.lag.ms": ("no more", "readers of the whole topic would read far more than its newest states"),
    "min.cleanable.dirty.ratio": ("no more", "compaction would begin late, and readers read more"),
}


class Found(msgspec.Struct, frozen=True):
    """How a topic is kept by the broker."""

    partitions: int
    replication: int
    settings: dict[str, str]


class Difference(msgspec.Struct, frozen=True):
    """What is not as needed, what follows from it, and what an operator may do about it."""

    topic: str
    setting: str
    found: str
    wanted: str
    why: str
    cure: str


class PlanReport(msgspec.Struct):
    """The topics needed, those made just now, and what is not as needed."""

    servers: str
    brokers: int
    topics: list[Wanted]
    created: list[str] = []
    differences: list[Difference] = []
    warnings: list[str] = []

    def require(self) -> None:
        """Raise where something is not as needed.

        Raises:
            ConfigurationError: the exit status is 3.
        """
        if self.differences:
            topics = len({difference.topic for difference in self.differences})
            raise ConfigurationError(
                f"{topics} of {len(self.topics)} topics at {self.servers} are not as needed; the cures stand above"
            )


class Broker:
    """What an operator asks of a broker: which topics it has, and to make more.

    Raises:
        BrokerError: no broker answers, or it refuses us.
    """

    def __init__(self, patience: float = connection.PATIENCE_S) -> None:
        self.trouble = connection.ClientErrors()
        self.client = AdminClient(connection.config(self.trouble))
        self.patience = patience
        self.brokers = len(self.metadata().brokers)

    def metadata(self) -> Any:
        """Ask for brokers, topics and their partitions."""

        def ask(limit: float) -> Any:
            try:
                return self.client.list_topics(timeout=limit)
            finally:
                self.client.poll(0)  # complaints about TLS and passwords wait until they are asked for

        return connection.retry(ask, self.trouble, self.patience)

    def found(self, names: list[str]) -> dict[str, Found]:
        """Describe those of these topics that there are."""
        topics = self.metadata().topics
        there = [name for name in names if name in topics and topics[name].error is None]
        asked = [ConfigResource(ResourceType.TOPIC, name) for name in there]
        answers = self.client.describe_configs(asked, request_timeout=ANSWER) if asked else {}
        described = {}
        for resource, future in answers.items():
            settings = self.result(
                future, f"topic {resource.name}: its settings cannot be read", "DESCRIBE_CONFIGS on the topic"
            )
            partitions = topics[resource.name].partitions.values()
            described[resource.name] = Found(
                len(partitions),
                min(len(partition.replicas) for partition in partitions),
                {name: entry.value for name, entry in settings.items()},
            )
        return described

    def create(self, topics: list[Wanted]) -> None:
        """Make topics, and wait until every partition has a leader."""
        orders = [
            NewTopic(
                topic.name, num_partitions=topic.partitions, replication_factor=topic.replication, config=topic.settings
            )
            for topic in topics
        ]
        for name, future in self.client.create_topics(orders, request_timeout=ANSWER).items() if orders else ():
            self.result(future, f"topic {name} cannot be made", "CREATE on the topic", fine="TOPIC_ALREADY_EXISTS")
        self.until(lambda: self._led(topics), f"{len(topics)} topics were made, but not all have a leader")

    def _led(self, topics: list[Wanted]) -> bool:
        found = self.metadata().topics
        leaders = {name: [p.leader >= 0 for p in topic.partitions.values()] for name, topic in found.items()}
        return all(leaders.get(topic.name) and all(leaders[topic.name]) for topic in topics)

    def makes_topics_unasked(self) -> bool:
        """Whether the broker makes any topic that is named; false, too, where we may not know."""
        one = ConfigResource(ResourceType.BROKER, str(next(iter(self.metadata().brokers))))
        [future] = self.client.describe_configs([one], request_timeout=ANSWER).values()
        try:
            return bool(future.result(ANSWER)["auto.create.topics.enable"].value == "true")
        except (KafkaException, KeyError):
            return False

    def result(self, future: Any, what: str, right: str, fine: str = "") -> Any:
        """Wait for an answer to an order; ``right`` is what the order needs, ``fine`` an error that is none."""
        try:
            return future.result(ANSWER)
        except TookTooLong as err:
            raise BrokerError(f"{what}: broker {connection.servers()} gave no answer within {ANSWER:.0f} s") from err
        except KafkaException as err:
            error = err.args[0]
            if error.name() == fine:
                return None
            said = f"{error.name()}: {error.str()}"
            if "AUTHORIZATION" in error.name():  # with it the broker sends its own insides, which help nobody
                said = f"{error.name()}: it needs the right {right}; see cityair topics acls"
            if error.name() == "SECURITY_DISABLED":
                said += " Set authorizer.class.name in server.properties; see docs/operations.md"
            raise BrokerError(f"broker {connection.servers()}: {what}: {said}") from err

    def until(self, ready: Callable[[], bool], what: str) -> None:
        """Wait: what the broker has taken, it knows everywhere a moment later."""
        end = time.monotonic() + self.patience
        while not ready():
            if time.monotonic() > end:
                raise BrokerError(f"{what} within {self.patience:.0f} s; see whether all brokers are up")
            time.sleep(0.1)


def copies(asked: int | None, brokers: int) -> int:
    """Decide how many copies each topic has: as asked, else three where there are so many brokers.

    Raises:
        ConfigurationError: more than there are brokers.
    """
    if asked is not None and asked > brokers:
        raise ConfigurationError(
            f"--replication {asked} needs {asked} brokers, {brokers} answer at {connection.servers()}; "
            f"start the others, or give --replication {brokers}"
        )
    return asked or min(COPIES, brokers)


def create(target: Broker, topics: list[Wanted]) -> PlanReport:
    """Make the topics that are missing, then compare all of them with what is needed."""
    there = target.found([topic.name for topic in topics])
    missing = [topic for topic in topics if topic.name not in there]
    target.create(missing)
    report = check(target, topics)
    report.created = [topic.name for topic in missing]
    return report


def check(target: Broker, topics: list[Wanted]) -> PlanReport:
    """Compare the topics there are with those needed; nothing is changed."""
    found = target.found([topic.name for topic in topics])
    report = PlanReport(connection.servers(), target.brokers, topics)
    report.differences = [d for topic in topics for d in differences(topic, found.get(topic.name))]
    if target.makes_topics_unasked():
        report.warnings.append(
            "auto.create.topics.enable is true: a misspelt topic would be made, and its messages missed by nobody; "
            "set it to false in server.properties"
        )
    return report


def differences(topic: Wanted, found: Found | None) -> list[Difference]:
    """Compare a topic with what is needed: more partitions, copies or time than that are no fault."""
    if found is None:
        why = "nothing can be written to it or read from it"
        return [Difference(topic.name, "topic", "missing", "there", why, "cityair topics create")]
    told = []
    if found.partitions < topic.partitions:
        why = "less can be read at once"
        cure = f"{_tool('topics', topic)} --partitions {topic.partitions} (from then on keys go to other partitions)"
        told.append(Difference(topic.name, "partitions", str(found.partitions), str(topic.partitions), why, cure))
    if found.replication < topic.replication:
        why = "it is lost with the disk of a broker"
        cure = f"kafka-reassign-partitions.sh, or: cityair topics check --replication {found.replication}"
        told.append(Difference(topic.name, "replication", str(found.replication), str(topic.replication), why, cure))
    for setting, wanted in topic.settings.items():
        is_ = found.settings.get(setting, "")
        if why := _fault(setting, is_, wanted, found):
            told.append(Difference(topic.name, setting, is_, wanted, why, _alter(topic, setting)))
    return told


def _fault(setting: str, is_: str, wanted: str, found: Found) -> str:
    """Say what follows from a setting that is not as needed; nothing where it is."""
    must, why = RULES[setting]
    if setting == "message.timestamp.type":
        return _eaten(found.settings) if is_ != wanted else ""
    if setting == "min.insync.replicas" and is_.isdigit() and int(is_) > found.replication:
        return f"nothing can be written: there are only {found.replication} copies"
    if must == "equal":
        return why if is_ != wanted else ""
    have, need = _number(is_), _number(wanted)
    return why if (have < need if must == "no less" else have > need) else ""


def _eaten(settings: dict[str, str]) -> str:
    """Say that replayed years would be deleted, where they would.

    Retention counts from a message's own time stamp: that of its arrival, or the one that its producer wrote.
    """
    age = _number(settings.get("retention.ms", ""))
    if "delete" not in settings.get("cleanup.policy", "") or age == float("inf"):
        return ""
    return (
        f"retention would eat replayed years: it counts from the time stamp that the producer wrote, so readings "
        f"stamped more than {age / 86_400_000:g} days ago are deleted within minutes, and readers wait in silence"
    )


def _number(text: str) -> float:
    """Read a setting; -1 is without limit, and what is not there is below everything."""
    try:
        number = float(text)
    except ValueError:
        return float("-inf")
    return float("inf") if number == FOREVER else number


def _tool(kind: str, topic: Wanted) -> str:
    name = "--topic" if kind == "topics" else "--entity-type topics --entity-name"
    return f"kafka-{kind}.sh --bootstrap-server {connection.servers()} --alter {name} {topic.name}"


def _alter(topic: Wanted, setting: str) -> str:
    return f"{_tool('configs', topic)} --add-config {setting}={topic.settings[setting]}"
