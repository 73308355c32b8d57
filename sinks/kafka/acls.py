"""Who may do what on the broker: roles of ``config/kafka/acls.toml`` as rules that a broker takes."""

from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from flows.broker import connection
from flows.resources import shipped
from schemas.errors import ConfigurationError, UsageError
from sinks.kafka.admin import Broker

FILE = "kafka/acls.toml"
ANYWHERE = "*"


class Role(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody may do; the names of each list, ``*`` at the end for all that begin so."""

    about: str
    read: list[str] = []
    write: list[str] = []
    describe: list[str] = []
    create: list[str] = []
    groups: list[str] = []
    lag: list[str] = []
    transactions: list[str] = []


GRANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    # list of a role: kind of thing, operations on it
    "read": ("topic", ("READ",)),
    "write": ("topic", ("WRITE",)),
    "describe": ("topic", ("DESCRIBE",)),
    "create": ("topic", ("CREATE", "DESCRIBE", "DESCRIBE_CONFIGS")),
    "groups": ("group", ("READ",)),
    "lag": ("group", ("DESCRIBE",)),
    "transactions": ("transactional_id", ("WRITE", "DESCRIBE")),
}


class Rule(msgspec.Struct, frozen=True):
    """One rule: a user may do this with a thing, or with all whose names begin so."""

    user: str
    operation: str
    kind: str
    name: str
    prefixed: bool

    def binding(self) -> AclBinding:
        """Write it as the broker's client does."""
        return AclBinding(
            ResourceType[self.kind.upper()],
            self.name,
            ResourcePatternType.PREFIXED if self.prefixed else ResourcePatternType.LITERAL,
            f"User:{self.user}",
            ANYWHERE,
            AclOperation[self.operation],
            AclPermissionType.ALLOW,
        )


def roles(path: Path | None = None) -> dict[str, Role]:
    """Read the roles; those that ship where no file is given.

    Raises:
        ConfigurationError: the file cannot be read, or does not hold together.
    """
    path = path or shipped(FILE)
    try:
        return msgspec.toml.decode(path.read_bytes(), type=dict[str, Role])
    except OSError as err:
        raise ConfigurationError(f"roles {path} cannot be read: {err.strerror or err}") from err
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise ConfigurationError(f"{path}: {err}; the keys of a role are {', '.join(['about', *GRANTS])}") from err


def chosen(known: dict[str, Role], name: str | None) -> dict[str, Role]:
    """Take one role by its name, or all.

    Raises:
        UsageError: there is no such role.
    """
    if name is None:
        return known
    if name not in known:
        raise UsageError(f"--role {name}: unknown; known are {', '.join(known)}")
    return {name: known[name]}


def rules(role: Role, user: str) -> list[Rule]:
    """Write a role as rules for a user; topics have the city's prefix."""
    return [
        Rule(user, operation, kind, connection.topic_name(bare) if kind == "topic" else bare, bare != name)
        for grant, (kind, operations) in GRANTS.items()
        for name in getattr(role, grant)
        for bare in (name.removesuffix("*"),)
        for operation in operations
    ]


def apply(target: Broker, wanted: list[Rule]) -> list[Rule]:
    """Give the broker the rules it lacks, and wait until it has them; none is taken away.

    Returns:
        The rules that it lacked.

    Raises:
        BrokerError: it refuses them, or has no authorizer.
    """
    right = "ALTER on the cluster, which a super user has"
    had = _given(target, right)
    new = [rule for rule in wanted if rule.binding() not in had]
    for future in target.client.create_acls([rule.binding() for rule in new]).values() if new else ():
        target.result(future, "rules cannot be given", right)
    target.until(
        lambda: {rule.binding() for rule in wanted} <= _given(target, right), "the broker took the rules, but not all"
    )
    return new


def _given(target: Broker, right: str) -> set[Any]:
    everything = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
    )
    return set(target.result(target.client.describe_acls(everything), "rules cannot be read", right))
