"""A value that an analysis calls a fault: lights leave it out from the slot after its step, alerts its hour."""

import dataclasses

import pytest
from msgspec import structs

from flows import air as air_flow
from flows.analyses.base import Analysis, Fault, Results
from schemas.measured import AIR
from tests.support import zones
from tests.support.signals import when
from tests.support.zones import HOUR, SMALL, START, steady

PM25 = AIR.gridded.index("pm25")
BEGINS, ENDS = 100, 130
"""Minutes since the start: ends of the steps at which station a is found at fault, and trusted again."""


class Naming(Analysis):
    """Names the fault of station a at its step, and lifts it."""

    name = "naming"

    def close(self, view, cadence, first, last, revision):
        steps = (self.steps(cadence, first, last) - START // 60).tolist()
        column = view.instruments.index("a")
        changes = [(BEGINS, True), (ENDS, False)] if column in cadence.columns else []
        return Results(faults=[Fault(START // 60 + at, column, PM25, faulty) for at, faulty in changes if at in steps])


FLOW = dataclasses.replace(air_flow.FLOW, analyses=lambda city: [*air_flow.analyses(city), Naming()])


def naming(city, settings=SMALL, name="city"):
    return FLOW.zone(city, name, settings)


@pytest.fixture(scope="module")
def play(make_readings):
    def play(city, rows, cuts=(), **how):
        return zones.play(city, make_readings, rows, cuts, make=naming, **how)[0]

    return play


def polluted(every, hours, pm25):
    return [(s, t, {"pm10": 40.0, "pm25": pm25}) for s, t, _ in steady(every, hours)]


def test_a_light_is_gray_from_the_slot_after_the_step_until_the_fault_is_lifted(watched, play):
    states = play(watched(("1m",) * 3), polluted(("1m",) * 3, 3, 20.0)).of("light-0")
    gray = [state for state in states if state.color == "gray" and state.as_of > when(START + 65 * 60)]
    assert gray[0].as_of == when(START + (BEGINS + 1) * 60)
    assert gray[-1].as_of <= when(START + ENDS * 60)
    assert {state.reason for state in gray} == {"a: labelled a fault"}
    after = [state for state in states if state.as_of > gray[-1].as_of]
    assert after[0].as_of == when(START + (ENDS + 1) * 60)
    assert {state.color for state in after} == {"green"}


def test_a_light_with_another_station_follows_that(watched, play):
    log = play(watched(("1m",) * 3), polluted(("1m",) * 3, 3, 20.0))
    last = [state for state in log.of("light-4") if when(START + 105 * 60) < state.as_of < when(START + ENDS * 60)]
    assert {(state.color, *state.stations) for state in last} == {("green", "b")}


def test_an_alert_leaves_the_station_out_of_the_hours_in_which_it_is_at_fault(watched, play, make_readings):
    """Of three hours at 100 the second is no figure of station a, which alone measures: its two in a row never come."""
    every = ("1m", "1m", "1m")
    rows = [(s, t, of if s == 0 else {"pm10": 40.0}) for s, t, of in polluted(every, 3, 100.0)]
    assert [a for a in play(watched(every), rows).alerts if a.parameter == "pm25"] == []
    honest, _ = zones.play(watched(every), make_readings, rows)
    assert [a.stage for a in honest.alerts if a.parameter == "pm25"] == ["advisory"]


@pytest.mark.parametrize("late", [0, 25])
def test_no_cut_and_no_crash_changes_what_is_said(watched, play, late):
    every = ("1m", "1m", "1m", "1h")
    rows = zones.shuffled(polluted(every, 4, 90.0), 3, late * 60, share=0.1)
    city = watched(every)
    one = play(city, rows)
    two = play(city, rows, range(11, len(rows), 11), crash=range(0, 99, 2))
    each = play(city, rows, range(280, 460))
    assert one.signals() == two.signals() == each.signals()
    assert any("labelled a fault" in state.reason for state in one.states)
    assert one.states[-1].as_of > when(START + 3 * HOUR)


def test_faults_outlive_a_restart_by_the_names_of_their_stations(watched, make_readings):
    """Station a is the second of the new city file."""
    city, rows = watched(("1m",) * 3), polluted(("1m",) * 3, 2, 20.0)
    cut = next(i for i, row in enumerate(rows) if row[1] > START + 115 * 60)
    zone = naming(city)
    zone.take(make_readings(rows[:cut]))
    kept = zone.snapshot()
    assert kept["watch"]["faults"] == {"in_force": [("a", PM25)], "ahead": []}
    stations = [city.stations[1], city.stations[0], city.stations[2]]
    again = naming(structs.replace(city, stations=stations))
    again.restore(kept)
    moved = [({0: 1, 1: 0, 2: 2}[s], t, of) for s, t, of in rows[cut:]]
    states = again.take(make_readings(moved, cut)).signals.states
    assert {s.color for s in states if s.light_id == "light-0"} == {"gray"}
    assert {s.color for s in states if s.light_id == "light-1"} == {"green"}
