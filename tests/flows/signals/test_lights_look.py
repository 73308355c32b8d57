"""What the lights of a zone see of its grid, and what they go on with after a restart."""

import pickle
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from flows.analyses.hours import hourly
from flows.analyses.quality import limits_of
from flows.kernels.light_rules import PM
from flows.signals import light_rules
from flows.signals.lights import Lights, pm_only
from schemas.city import Light
from schemas.light import LightMessage
from schemas.measured import AIR
from schemas.slots import EPOCH, NEVER
from tests.support import grids
from tests.support.decisions import BANDS

START = grids.START


@pytest.fixture
def city(make_city):
    """Two stations by the minute and one by the hour, and a light for the first and for the last."""
    known = [Light(id=f"light-{name}", lat=35.2, lon=128.9, stations=[name]) for name in "ac"]
    return msgspec.structs.replace(make_city(("1m", "1m", "1h")), lights=known)


def lights_of(city, grid):
    cadences = [grids.cadence_of(60, (0, 1)), grids.cadence_of(3600, (2,))]
    rules = light_rules.rules(city, city.light_rules, BANDS, "city")
    return Lights(rules, grid, cadences, grids.SEOUL, lambda slots: limits_of(city, slots))


def aired(minutes=120):
    """A grid with PM at all stations."""
    grid = grids.new_grid(3)
    random = np.random.default_rng(5)
    rows = [
        (s, m, {"pm10": float(random.integers(10, 90)), "pm25": 10.0}) for m in range(1, minutes + 1) for s in (0, 1)
    ]
    grids.put(grid, [*rows, *((2, h, {"pm10": 40.0, "pm25": 20.0}) for h in range(60, minutes + 1, 60))])
    return grid


def texts_of(lights, n):
    return lights.text_sets.texts(np.array([lights.text_sets.at({}, lights.messages, START + 90)] * n))


def test_each_station_is_seen_in_its_newest_hour_that_has_fired(city):
    grid = aired()
    lights = lights_of(city, grid)
    slots, fired = START + np.array([100, 101, 120]), START + np.array([[100, 60], [101, 60], [119, 120]])
    airs = lights.look(slots, fired)
    assert (airs.as_of - START).tolist() == [[100, 100, 60], [101, 101, 60], [119, 119, 120]]
    columns = [AIR.gridded.index(name) for name in PM]
    for row, ends in enumerate(airs.as_of.tolist()):
        for column, slots_of in ((0, 1), (1, 1), (2, 60)):
            mean, coverage = hourly(grid, np.array([column]), slots_of, np.array([ends[column]]))
            assert airs.mean[row, column].tolist() == mean[0, 0, columns].tolist()
            assert airs.coverage[row, column].tolist() == coverage[0, 0, columns].tolist()
    assert not airs.fault.any(), "that is for the decision"


def test_of_an_hour_that_the_grid_does_not_hold_nothing_is_seen(city):
    grid = aired()
    fired = np.array([[grid.oldest + 59, NEVER], [grid.oldest + 60, grid.oldest + 60]])
    airs = lights_of(city, grid).look(START + np.array([1, 2]), fired)
    assert (airs.as_of > NEVER).tolist() == [[False] * 3, [True] * 3]
    assert np.isnan(airs.mean[0]).all()


def test_no_slots_no_decisions(city):
    lights = lights_of(city, aired())
    airs = lights.look(np.empty(0, np.int64), np.empty((0, 2), np.int64))
    assert lights.decide(airs, texts_of(lights, 0)) == []


def decided(lights, *minutes):
    """States at slots, at which everything before had fired."""
    slots = START + np.array(minutes)
    airs = lights.look(slots, np.stack([slots, slots // 60 * 60], axis=1))
    return lights.decide(airs, texts_of(lights, slots.size))


def test_slot_by_slot_says_what_one_pass_says(city):
    minutes = list(range(61, 121))
    one, many = lights_of(city, aired()), lights_of(city, aired())
    assert decided(one, *minutes) == [state for minute in minutes for state in decided(many, minute)]


def test_a_restart_goes_on_with_states_and_texts(city):
    lights = lights_of(city, aired())
    until = EPOCH + timedelta(minutes=START + 200)
    lights.set_messages([LightMessage(light_id="light-c", text="산불 조심", valid_until=until)])
    decided(lights, *range(61, 80))
    again = lights_of(city, aired())
    again.restore(pickle.loads(pickle.dumps(lights.snapshot())))
    assert again.messages == lights.messages == {"light-c": ("산불 조심", START + 200)}
    assert decided(again, *range(80, 121)) == decided(lights, *range(80, 121))


def test_texts_for_lights_of_other_zones_are_not_taken(city):
    lights = lights_of(city, aired())
    lights.set_messages([LightMessage(light_id="light-b", text="x", valid_until=datetime(2026, 3, 1, tzinfo=UTC))])
    assert lights.messages == {}


def test_faults_of_pm_are_the_first_columns_of_lights():
    faults = np.zeros((2, len(AIR.gridded)), bool)
    faults[1, AIR.gridded.index("pm25")] = faults[0, AIR.gridded.index("o3")] = True
    assert pm_only(faults).tolist() == [[False, False], [False, True]]
