"""What a zone is made of, as the air flow and a city file say."""

import dataclasses

import numpy as np
import pytest

from flows.air import FLOW
from flows.zone.plan import Lateness, ZoneSettings
from schemas.slots import DAY_SLOTS


def test_instruments_of_a_zone_stand_in_the_order_of_the_flow(make_city):
    city = make_city(("1m", "1h", "1m", "10m"), zones="yxyx")
    assert FLOW.zones(city) == ["x", "y"]
    assert [FLOW.plan(city, zone).stations.tolist() for zone in ("x", "y", "z")] == [[1, 3], [0, 2], []]
    assert FLOW.plan(city, "x").stations.dtype == np.int32
    assert [instrument.every for instrument in FLOW.plan(city, "x").instruments] == [60, 3600, 60, 600], (
        "of the whole flow"
    )


def test_lengths_are_slots(make_city):
    plan = FLOW.plan(make_city(horizon="3h", step="5m", room=7), "city")
    assert plan.lateness == Lateness(horizon=180, max_wait=60, early_capacity=7, snap=0.05)
    assert plan.step == 5


def test_spans_are_those_of_the_gridded_values(make_city):
    city = make_city()
    fail, suspect = FLOW.plan(city, "city").spans()
    assert fail.shape == suspect.shape == (len(FLOW.measured.gridded), 2)
    for i, limit in enumerate(city.limits()):
        assert (tuple(fail[i]), tuple(suspect[i])) == (limit.fail, limit.suspect)


def test_each_zone_has_analyses_of_its_own(make_city):
    plan = FLOW.plan(make_city(), "city")
    once, again = plan.analyses(), plan.analyses()
    assert [analysis.name for analysis in once] == ["quality", "indices", "rolling_means"]
    assert not {id(analysis) for analysis in once} & {id(analysis) for analysis in again}


def test_signals_are_those_of_the_flow(make_city):
    zone = FLOW.zone(make_city(), "city")
    assert FLOW.plan(make_city(), "city").signals(zone.grid, zone.cadences).lengths == [{60}]
    silent = dataclasses.replace(FLOW, signals=None)
    assert silent.plan(make_city(), "city").signals is None
    assert silent.zone(make_city(), "city").signals.lengths == [set()]


def test_sizes_are_a_day_unless_they_are_given():
    assert (ZoneSettings().spare_slots, ZoneSettings().evaluate_slots) == (DAY_SLOTS, DAY_SLOTS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        ZoneSettings().spare_slots = 60
