"""States of lights out of a lake; the topic is in ``tests/kafka``."""

import pytest

from schemas.errors import ConfigurationError
from sinks.catalog import catalog
from sinks.lights.states import LakeStates, states_between
from tests.support.lights import MINUTE, NOON, state, state_row


def test_the_newest_state_of_each_light(lake):
    lake.epoch(light_states=[state_row(1, 1, 0), state_row(3, 1, 10), state_row(2, 1, 5)])
    lake.epoch(light_states=[state_row(1, 4, 0, light="light-2")])
    with LakeStates(lake.root) as states:
        assert [light.id for light in states.city.lights] == ["light-1"]
        newest = {each.light_id: each for each in states.read_all()}
    assert newest == {"light-1": state(3, 1, 10), "light-2": state(1, 4, 0, light="light-2")}


def test_a_state_of_older_air_came_no_earlier_than_the_one_before(lake):
    lake.epoch(light_states=[state_row(1, 2, 30), state_row(2, 3, 0, life=120)])
    with catalog.connect(lake.root) as con:
        published = states_between(con, NOON, NOON + 60 * MINUTE)
    assert [(each.at, each.state.seq) for each in published] == [(NOON + 30 * MINUTE, 1), (NOON + 30 * MINUTE, 2)]


def test_a_poll_reads_the_lake_again_once_that_is_due(lake):
    lake.epoch(light_states=[state_row(1, 2, 0)])
    with LakeStates(lake.root, refresh_s=0) as states:
        lake.epoch(light_states=[state_row(2, 2, 1), state_row(3, 2, 2, text="new")])
        assert [each.text for each in states.poll(0)] == ["new"]
    with LakeStates(lake.root, refresh_s=60) as states:
        assert states.poll(0) == []


def test_no_lake(tmp_path):
    with pytest.raises(ConfigurationError, match="no lake"):
        LakeStates(tmp_path / "nowhere")
