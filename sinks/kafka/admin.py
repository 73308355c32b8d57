"""Topics on the broker compared with those that a city needs: missing ones are created, no topic is changed.

A difference is reported with its consequence and its remedy; whoever keeps the broker decides.
"""

import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import msgspec
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from flows.broker.connection import DEFAULT_RETRY, Connection, RetryPolicy, servers
from schemas.errors import BrokerError, ConfigurationError
from schemas.slots import DAY_S
from schemas.topics import TopicSpec

DEFAULT_REPLICATION = 3
"""Copies of each topic where there are brokers enough: one may fail while another is being serviced."""
ANSWER_TIMEOUT_S = 30.0
"""Seconds that the broker may take for an order."""
UNLIMITED = -1
"""In settings of the broker: no limit."""

RULES: dict[str, tuple[str, str]] = {
    # setting: it must be equal to the one needed, no less or no more; else this happens
    "cleanup.policy": ("equal", "the broker would drop what must stay, or keep what must go"),
    "retention.ms": ("no less", "a flow that stands still for long would lose input that it has not read"),
    "retention.bytes": ("no less", "the broker would delete by size what nobody has read yet"),
    "message.timestamp.type": ("equal", ""),  # judged together with retention
    "max.message.bytes": ("no less", "messages that the city allows would be refused"),
    "compression.type": (
        "equal",
        "the broker would not measure what a packed batch unpacks to, which may be gigabytes",
    ),
    "min.insync.replicas": ("no less", "a write would count while a single broker has it, and be lost with its disk"),
    "segment.ms": ("no more", "the newest segment is never compacted, and readers would read everything in it"),
    "max.compaction.lag.ms": ("no more", "readers of the whole topic would read far more than its newest states"),
    "min.cleanable.dirty.ratio": ("no more", "compaction would begin late, and readers read more"),
}


class TopicState(msgspec.Struct, frozen=True):
    """How the broker keeps a topic: ``settings`` are its own, by their names."""

    partitions: int
    replication: int
    settings: dict[str, str]


class Difference(
    msgspec.Struct,
    frozen=True,
    rename={"actual": "found", "needed": "wanted", "consequence": "why", "remedy": "cure"},
):
    """A setting of a topic that is not as needed. In JSON its fields keep the names that scripts know.

    Attributes:
        topic: name on the broker.
        setting: the broker's name of it; also ``topic``, ``partitions``, ``replication``.
        actual: as the broker has it.
        needed: as the city needs it.
        consequence: what follows from it.
        remedy: what an operator may do about it.
    """

    topic: str
    setting: str
    actual: str
    needed: str
    consequence: str
    remedy: str


class PlanReport(msgspec.Struct):
    """Topics that a city needs, those created just now, and what is not as needed."""

    servers: str
    brokers: int
    topics: list[TopicSpec]
    created: list[str] = []
    differences: list[Difference] = []
    warnings: list[str] = []

    def require(self) -> None:
        """Make sure that nothing differs.

        Raises:
            ConfigurationError: something does.
        """
        if self.differences:
            topics = len({difference.topic for difference in self.differences})
            raise ConfigurationError(
                f"{topics} of {len(self.topics)} topics at {self.servers} are not as needed; the cures stand above"
            )


class BrokerAdmin:
    """Administration client: lists, describes and creates topics, and waits until the broker has done so.

    Args:
        policy: how long the broker is waited for.

    Attributes:
        client: of confluent-kafka.
        brokers: how many there are.

    Raises:
        BrokerError: no broker answers, or it refuses us.
    """

    def __init__(self, policy: RetryPolicy = DEFAULT_RETRY) -> None:
        self._connection = Connection(policy)
        self.client = AdminClient(self._connection.settings())
        self.brokers = len(self.metadata().brokers)

    def metadata(self) -> Any:
        """Ask for brokers, topics and their partitions.

        Raises:
            BrokerError: no broker answers, or it refuses us.
        """

        def ask(timeout_s: float) -> Any:
            try:
                return self.client.list_topics(timeout=timeout_s)
            finally:
                self.client.poll(0)  # errors of TLS and passwords wait until they are asked for

        return self._connection.retry(ask)

    def states(self, names: list[str]) -> dict[str, TopicState]:
        """Describe those of these topics that exist.

        Raises:
            BrokerError: their settings cannot be read.
        """
        topics = self.metadata().topics
        asked = [
            ConfigResource(ResourceType.TOPIC, name) for name in names if name in topics and topics[name].error is None
        ]
        answers = self.client.describe_configs(asked, request_timeout=ANSWER_TIMEOUT_S) if asked else {}
        described = {}
        for resource, future in answers.items():
            settings = self.result(
                future, f"topic {resource.name}: its settings cannot be read", "DESCRIBE_CONFIGS on the topic"
            )
            partitions = topics[resource.name].partitions.values()
            described[resource.name] = TopicState(
                len(partitions),
                min(len(partition.replicas) for partition in partitions),
                {name: entry.value for name, entry in settings.items()},
            )
        return described

    def create(self, specs: list[TopicSpec]) -> None:
        """Create topics, and wait until every partition has a leader.

        Raises:
            BrokerError: the broker refuses, or takes too long.
        """
        orders = [
            NewTopic(
                spec.name, num_partitions=spec.partitions, replication_factor=spec.replication, config=spec.settings
            )
            for spec in specs
        ]
        answers = self.client.create_topics(orders, request_timeout=ANSWER_TIMEOUT_S) if orders else {}
        for name, future in answers.items():
            self.result(future, f"topic {name} cannot be made", "CREATE on the topic", ignored="TOPIC_ALREADY_EXISTS")
        self.until(lambda: self._have_leaders(specs), f"{len(specs)} topics were made, but not all have a leader")

    def _have_leaders(self, specs: list[TopicSpec]) -> bool:
        topics = self.metadata().topics
        leaders = {name: [p.leader >= 0 for p in topic.partitions.values()] for name, topic in topics.items()}
        return all(leaders.get(spec.name) and all(leaders[spec.name]) for spec in specs)

    def auto_creates_topics(self) -> bool:
        """Whether the broker creates any topic that a client names; false, too, where we may not know."""
        broker = ConfigResource(ResourceType.BROKER, str(next(iter(self.metadata().brokers))))
        [future] = self.client.describe_configs([broker], request_timeout=ANSWER_TIMEOUT_S).values()
        try:
            return bool(future.result(ANSWER_TIMEOUT_S)["auto.create.topics.enable"].value == "true")
        except (KafkaException, KeyError):
            return False

    def result(self, future: Any, what: str, right: str, ignored: str = "") -> Any:
        """Wait for the broker's answer to an order.

        Args:
            future: of the answer.
            what: begins the message of an error.
            right: which right the order needs.
            ignored: name of an error that is none; the result is None then.

        Raises:
            BrokerError: the broker refuses, or gives no answer.
        """
        try:
            return future.result(ANSWER_TIMEOUT_S)
        except FutureTimeoutError as err:
            raise BrokerError(f"{what}: broker {servers()} gave no answer within {ANSWER_TIMEOUT_S:.0f} s") from err
        except KafkaException as err:
            error = err.args[0]
            if error.name() == ignored:
                return None
            why = f"{error.name()}: {error.str()}"
            if "AUTHORIZATION" in error.name():  # with it the broker sends its own insides, which help nobody
                why = f"{error.name()}: it needs the right {right}; see cityair topics acls"
            if error.name() == "SECURITY_DISABLED":
                why += " Set authorizer.class.name in server.properties; see docs/operations.md"
            raise BrokerError(f"broker {servers()}: {what}: {why}") from err

    def until(self, ready: Callable[[], bool], what: str) -> None:
        """Wait until something is so: what one broker has taken, the others know a moment later.

        Raises:
            BrokerError: it takes too long; the message begins with ``what``.
        """
        policy = self._connection.policy
        end = time.monotonic() + policy.timeout_s
        while not ready():
            if time.monotonic() > end:
                raise BrokerError(f"{what} within {policy.timeout_s:.0f} s; see whether all brokers are up")
            time.sleep(policy.pause_s)


def replication_factor(requested: int | None, brokers: int) -> int:
    """Copies of each topic: as requested, else three where there are so many brokers.

    Raises:
        ConfigurationError: more are requested than there are brokers.

    >>> replication_factor(None, brokers=1), replication_factor(None, brokers=5)
    (1, 3)
    """
    if requested is not None and requested > brokers:
        raise ConfigurationError(
            f"--replication {requested} needs {requested} brokers, {brokers} answer at {servers()}; "
            f"start the others, or give --replication {brokers}"
        )
    return requested or min(DEFAULT_REPLICATION, brokers)


def create(admin: BrokerAdmin, specs: list[TopicSpec]) -> PlanReport:
    """Create the topics that are missing, then compare all of them with what is needed.

    Raises:
        BrokerError: the broker refuses, or takes too long.
    """
    existing = admin.states([spec.name for spec in specs])
    missing = [spec for spec in specs if spec.name not in existing]
    admin.create(missing)
    report = check(admin, specs)
    report.created = [spec.name for spec in missing]
    return report


def check(admin: BrokerAdmin, specs: list[TopicSpec]) -> PlanReport:
    """Compare the broker's topics with those needed, and change nothing.

    Raises:
        BrokerError: the broker refuses, or takes too long.
    """
    states = admin.states([spec.name for spec in specs])
    report = PlanReport(servers(), admin.brokers, specs)
    report.differences = [difference for spec in specs for difference in differences(spec, states.get(spec.name))]
    if admin.auto_creates_topics():
        report.warnings.append(
            "auto.create.topics.enable is true: a misspelt topic would be made, and its messages missed by nobody; "
            "set it to false in server.properties"
        )
    return report


def differences(spec: TopicSpec, state: TopicState | None) -> list[Difference]:
    """Compare a topic with what is needed: more partitions, copies or time than that are no difference.

    >>> [differs.setting for differs in differences(TopicSpec("t", 4, 1, {}), TopicState(1, 1, {}))]
    ['partitions']
    """
    if state is None:
        why = "nothing can be written to it or read from it"
        return [Difference(spec.name, "topic", "missing", "there", why, "cityair topics create")]
    differing = []
    if state.partitions < spec.partitions:
        why = "less can be read at once"
        remedy = f"{_tool('topics', spec)} --partitions {spec.partitions} (from then on keys go to other partitions)"
        counts = str(state.partitions), str(spec.partitions)
        differing.append(Difference(spec.name, "partitions", *counts, why, remedy))
    if state.replication < spec.replication:
        why = "it is lost with the disk of a broker"
        remedy = f"kafka-reassign-partitions.sh, or: cityair topics check --replication {state.replication}"
        counts = str(state.replication), str(spec.replication)
        differing.append(Difference(spec.name, "replication", *counts, why, remedy))
    for setting, needed in spec.settings.items():
        actual = state.settings.get(setting, "")
        if why := _consequence(setting, actual, needed, state):
            differing.append(Difference(spec.name, setting, actual, needed, why, _alter(spec, setting)))
    return differing


def _consequence(setting: str, actual: str, needed: str, state: TopicState) -> str:
    """What follows from a setting that is not as needed; empty where it is."""
    comparison, why = RULES[setting]
    if setting == "message.timestamp.type":
        return _deleted_replay(state.settings) if actual != needed else ""
    if setting == "min.insync.replicas" and actual.isdigit() and int(actual) > state.replication:
        return f"nothing can be written: there are only {state.replication} copies"
    if comparison == "equal":
        return why if actual != needed else ""
    have, need = _number(actual), _number(needed)
    return why if (have < need if comparison == "no less" else have > need) else ""


def _deleted_replay(settings: dict[str, str]) -> str:
    """Say that replayed years would be deleted, where they would.

    Retention counts from a message's own time stamp: that of its arrival, or the one that its producer wrote.
    """
    age_ms = _number(settings.get("retention.ms", ""))
    if "delete" not in settings.get("cleanup.policy", "") or age_ms == float("inf"):
        return ""
    days = age_ms / (1000 * DAY_S)
    return (
        f"retention would eat replayed years: it counts from the time stamp that the producer wrote, so readings "
        f"stamped more than {days:g} days ago are deleted within minutes, and readers wait in silence"
    )


def _number(text: str) -> float:
    """Value of a setting: -1 is without limit, and a missing one is below everything."""
    try:
        number = float(text)
    except ValueError:
        return float("-inf")
    return float("inf") if number == UNLIMITED else number


def _tool(kind: str, spec: TopicSpec) -> str:
    name = "--topic" if kind == "topics" else "--entity-type topics --entity-name"
    return f"kafka-{kind}.sh --bootstrap-server {servers()} --alter {name} {spec.name}"


def _alter(spec: TopicSpec, setting: str) -> str:
    return f"{_tool('configs', spec)} --add-config {setting}={spec.settings[setting]}"
