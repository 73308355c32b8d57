"""A recovery store that is seeded: it holds the states it was given, and the flow's own steps find them."""

import pickle
import sqlite3

import pytest
from bytewax.recovery import RecoveryConfig
from bytewax.run import cli_main

from flows.engine.seeds import seeds
from sinks import recovery_store
from sinks.maintenance.audit import audit
from tests.support.runs import CITY, lines, means, run, run_stopped

SOURCE, LAKE = {"v": 1, "files": ["of the source"]}, {"v": 1, "pending": ["of the lake"]}


@pytest.fixture
def store(tmp_path):
    recovery_store.open_recovery(tmp_path / "store")
    return tmp_path / "store"


def seed(store, source, zones, lake):
    cli_main(seeds("air", source, zones, lake), recovery_config=RecoveryConfig(store))


def held(store):
    """The newest snapshot of each step and key."""
    query = "SELECT step_id, state_key, ser_change FROM snaps ORDER BY snap_epoch"
    with sqlite3.connect(store / "part-0.sqlite3") as con:
        return {(step, key): pickle.loads(change) for step, key, change in con.execute(query)}


def test_the_store_holds_what_it_was_given(store):
    zones = {name: {"v": 1, "zone": name, "state": {"n": i}} for i, name in enumerate(("east", "west"))}
    seed(store, SOURCE, zones, LAKE)
    assert held(store) == {
        ("air.input", "input"): SOURCE,
        ("air.grid", "east"): zones["east"],
        ("air.grid", "west"): zones["west"],
        ("air.lake", "lake"): LAKE,
    }


def test_a_flow_without_zones_is_seeded_too(store):
    seed(store, SOURCE, {}, LAKE)
    assert held(store).keys() == {("air.input", "input"), ("air.lake", "lake")}


def test_the_flow_goes_on_from_seeds_as_from_its_own_store(tmp_path):
    """The states of a run that was stopped, put into a new store, are as good as its own."""
    (tmp_path / "city.toml").write_text(CITY)
    (tmp_path / "in.ndjson").write_text(lines(1, 200))
    run_stopped(tmp_path, "seeded")
    own = held(tmp_path / "seeded-store" / "air")
    new = tmp_path / "new-store" / "air"
    recovery_store.open_recovery(new)
    zones = {key: state for (step, key), state in own.items() if step == "air.grid"}
    seed(new, own["air.input", "input"], zones, own["air.lake", "lake"])
    (tmp_path / "seeded-store").rename(tmp_path / "old-store")
    (tmp_path / "new-store").rename(tmp_path / "seeded-store")
    assert run(tmp_path, "seeded") is False
    run(tmp_path, "calm")
    assert means(tmp_path / "seeded") == means(tmp_path / "calm")
    audit(tmp_path / "seeded").require()
