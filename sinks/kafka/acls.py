"""Access rules of the broker: the roles of ``config/kafka/acls.toml``, and what each user may do."""

from pathlib import Path

import msgspec
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from flows.broker.connection import topic_name
from flows.resources import shipped
from schemas.errors import ConfigurationError, UsageError
from sinks.kafka.admin import BrokerAdmin

FILE = "kafka/acls.toml"
ANY_HOST = "*"
ALTER_RIGHT = "ALTER on the cluster, which a super user has"


class AccessRole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a kind of user may do: names of topics, groups and transactional ids.

    A ``*`` at the end of a name stands for all that begin so.
    """

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


class AccessRule(msgspec.Struct, frozen=True):
    """Permission of a user for one operation on a thing, or on all whose names begin so."""

    user: str
    operation: str
    kind: str
    name: str
    prefixed: bool

    def binding(self) -> AclBinding:
        """The rule as the broker's client writes it."""
        return AclBinding(
            ResourceType[self.kind.upper()],
            self.name,
            ResourcePatternType.PREFIXED if self.prefixed else ResourcePatternType.LITERAL,
            f"User:{self.user}",
            ANY_HOST,
            AclOperation[self.operation],
            AclPermissionType.ALLOW,
        )


def roles(path: Path | None = None) -> dict[str, AccessRole]:
    """Read the roles of a file, or those that ship.

    Raises:
        ConfigurationError: the file cannot be read, or does not hold together.
    """
    path = path or shipped(FILE)
    try:
        return msgspec.toml.decode(path.read_bytes(), type=dict[str, AccessRole])
    except OSError as err:
        raise ConfigurationError(f"roles {path} cannot be read: {err.strerror or err}") from err
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise ConfigurationError(f"{path}: {err}; the keys of a role are {', '.join(['about', *GRANTS])}") from err


def select_roles(known: dict[str, AccessRole], name: str | None) -> dict[str, AccessRole]:
    """Select one role by its name, or all.

    Raises:
        UsageError: there is no such role.
    """
    if name is None:
        return known
    if name not in known:
        raise UsageError(f"--role {name}: unknown; known are {', '.join(known)}")
    return {name: known[name]}


def rules(role: AccessRole, user: str) -> list[AccessRule]:
    """Rules that give a user a role; topics have the city's prefix.

    >>> [rule.name for rule in rules(AccessRole("a light", groups=["light-*"]), "light-07")]
    ['light-']
    """
    return [
        AccessRule(user, operation, kind, topic_name(bare) if kind == "topic" else bare, bare != name)
        for grant, (kind, operations) in GRANTS.items()
        for name in getattr(role, grant)
        for bare in (name.removesuffix("*"),)
        for operation in operations
    ]


def apply(admin: BrokerAdmin, needed: list[AccessRule]) -> list[AccessRule]:
    """Give the broker the rules that it lacks, and wait until it has them; none is taken away.

    Returns:
        The rules that it lacked.

    Raises:
        BrokerError: it refuses them, or has no authorizer.
    """
    existing = _bindings(admin)
    missing = [rule for rule in needed if rule.binding() not in existing]
    answers = admin.client.create_acls([rule.binding() for rule in missing]) if missing else {}
    for future in answers.values():
        admin.result(future, "rules cannot be given", ALTER_RIGHT)
    bindings = {rule.binding() for rule in needed}
    admin.until(lambda: bindings <= _bindings(admin), "the broker took the rules, but not all")
    return missing


def _bindings(admin: BrokerAdmin) -> set[AclBinding]:
    """All rules that the broker has."""
    everything = AclBindingFilter(  # the client's types forget that None stands for any
        ResourceType.ANY,
        None,  # type: ignore[arg-type]
        ResourcePatternType.ANY,
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    return set(admin.result(admin.client.describe_acls(everything), "rules cannot be read", ALTER_RIGHT))
