"""Roles of the broker's users, as they ship, and the rules that they become."""

import pytest

from schemas.errors import ConfigurationError, UsageError
from schemas.topics import TOPICS, dead_letter_topic
from sinks.kafka.acls import AccessRole, AccessRule, roles, rules, select_roles

INPUTS = [name for name, topic in TOPICS.items() if topic.direction == "in"]
LETTERS = [dead_letter_topic(name) for name in INPUTS]
OUTPUTS = [name for name in TOPICS if name not in INPUTS]
ALL = [*INPUTS, *LETTERS, *OUTPUTS]
READINGS, STATES = "env.air.reading.v1", "env.light.state.v1"
ROLES = roles()


def test_the_roles_are_the_least_that_each_needs():
    def who(may, *names):
        return {name for name, role in ROLES.items() if set(names) & set(getattr(role, may))}

    assert who("write", READINGS, "env.odor.reading.v1") == {"gateway", "redrive"}
    assert who("write", *OUTPUTS) == who("write", STATES) == {"flows"}
    assert who("read", *INPUTS) == {"flows"}
    assert who("write", *LETTERS) == who("read", *LETTERS) == {"flows", "redrive"}
    assert (ROLES["light"].read, ROLES["light"].write) == ([STATES], [])
    assert ROLES["gateway"].read == ROLES["gateway"].groups == []
    assert {name for name, role in ROLES.items() if role.create} == {"topics"}
    assert set(ROLES["flows"].read) == set(ALL)
    assert set(ROLES["flows"].write) == {*LETTERS, *OUTPUTS}
    assert set(ROLES["analyst"].read) == set(OUTPUTS)
    for role in ROLES.values():
        assert {*role.read, *role.write} <= set(ALL), "no such topic"


def test_a_role_becomes_a_rule_for_each_operation(monkeypatch):
    monkeypatch.setenv("CITYAIR_KAFKA_PREFIX", "gimhae.")
    role = AccessRole("a light", read=[STATES], groups=["light-*"], transactions=["mine"])
    assert rules(role, "light-07") == [
        AccessRule("light-07", "READ", "topic", f"gimhae.{STATES}", prefixed=False),
        AccessRule("light-07", "READ", "group", "light-", prefixed=True),
        AccessRule("light-07", "WRITE", "transactional_id", "mine", prefixed=False),
        AccessRule("light-07", "DESCRIBE", "transactional_id", "mine", prefixed=False),
    ]


def test_a_role_is_selected_by_its_name():
    assert list(select_roles(ROLES, "light")) == ["light"]
    assert select_roles(ROLES, None) == ROLES
    with pytest.raises(UsageError, match="--role nobody: unknown; known are gateway"):
        select_roles(ROLES, "nobody")


def test_a_file_of_roles_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        roles(tmp_path / "none.toml")
    odd = tmp_path / "odd.toml"
    odd.write_text('[light]\nabout = "x"\nreed = []\n')
    with pytest.raises(ConfigurationError, match="the keys of a role are about, read, write"):
        roles(odd)
