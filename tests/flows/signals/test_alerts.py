"""Alerts of a city file: their rules, the messages of their changes, and decisions from what was seen of the grid."""

import pickle
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given, settings

from flows.kernels.alerts import start
from flows.signals.alerts import Alerts, alert, rules
from schemas.alert import Alert
from schemas.city_rules import AlertSettings, OzoneLevels, Pm10Levels
from schemas.measured import AIR
from schemas.slots import end_of
from tests.support import grids
from tests.support.alert_hours import EXACT, NAN, RULES, evaluate, hours, slots, stages

SEOUL = ZoneInfo("Asia/Seoul")


@given(hours())
@settings(max_examples=100, deadline=None)
def test_ids_are_unique_and_the_same_again(air):
    parameter, values = air
    rule = RULES[parameter]

    def ids():
        _, changes = evaluate(rule, start(rule), slots(len(values)), values)
        names = [f"s{i}" for i in range(values.shape[1])]
        return [alert(change, "city", parameter, "official", names, SEOUL).alert_id for change in changes]

    assert ids() == ids()
    assert len(set(ids())) == len(ids())


def test_a_message_says_what_decided():
    began = int(datetime(2018, 11, 28, 9, tzinfo=SEOUL).timestamp()) // 60
    rule = RULES["pm10"]
    values = np.array([[151.0, 160.4], [337, 200.2], [90, 95], [80, NAN]])
    _, changes = evaluate(rule, start(rule), began + slots(4), values)
    sent = [alert(change, "city", "pm10", "official", ["a", "b"], SEOUL) for change in changes]
    assert sent[0] == Alert(
        alert_id="city-pm10-official-2018-11-28T01:00Z+0",
        zone="city",
        parameter="pm10",
        kind="official",
        stage="advisory",
        ended_at=datetime(2018, 11, 28, 10, tzinfo=SEOUL),
        value=269.0,
        stations=["a", "b"],
    )
    assert sent[0].ended_at.utcoffset() == timedelta(hours=9)
    assert (sent[1].alert_id, sent[1].stage, sent[1].value) == ("city-pm10-official-2018-11-28T01:00Z+1", "none", 93.0)
    assert len(sent) == 2
    early = alert(changes[0], "city", "pm10", "early_sign", ["a", "b"], SEOUL)
    assert (early.alert_id, early.kind) == ("city-pm10-early_sign-2018-11-28T01:00Z+0", "early_sign")


def test_levels_come_from_the_city_file():
    assert RULES["pm10"] == ("pm10", (150, 300), (100, 150), 2, False, 0)
    assert RULES["pm25"] == ("pm25", (75, 150), (35, 75), 2, False, 0)
    assert RULES["o3"] == ("o3", (0.12, 0.3, 0.5), (0.12, 0.3, 0.5), 1, True, 3)
    assert [rule.decimals for rule in EXACT.values()] == [None] * 3
    strict = rules(AlertSettings(o3=OzoneLevels(issue=(0.1, 0.2), clear=(0.08, 0.2), hours=2)))
    assert stages("o3", [0.1, 0.1, 0.08, 0.079], strict["o3"]) == "non adv adv non"


class Stage:
    """Alerts of a zone over a small grid, whose stations report by the hour or as given."""

    def __init__(self, kinds, every=(), settings=None):
        self.grid = grids.new_grid(len(kinds))
        every = every or (3600,) * len(kinds)
        of = {each: [i for i, e in enumerate(every) if e == each] for each in sorted(set(every))}
        self.cadences = [grids.cadence_of(each, columns) for each, columns in of.items()]
        self.alerts = Alerts(settings or AlertSettings(), "city", kinds, self.grid, self.cadences, SEOUL)

    def put(self, column, *values, parameter="pm10", first=1):
        """Hourly values of a station from an hour on; None where there is none."""
        rows = [(column, 60 * h, {parameter: v}) for h, v in enumerate(values, first) if v is not None]
        grids.put(self.grid, rows)

    def look(self, *minutes):
        self.alerts.look(grids.START + np.array(minutes), grids.START)

    def decide(self, *minutes, faults_at=None):
        """Stages that begin or end, by kind, pollutant and hour."""
        changes = self.alerts.decide(grids.START + np.array(minutes), self.grid.reach, faults_at)
        return {
            (a.kind, a.parameter, (a.ended_at - end_of(grids.START)) // timedelta(hours=1)): a.stage for a in changes
        }


def test_an_hour_is_judged_by_what_was_seen_when_it_fired():
    stage = Stage(["reference"])
    stage.put(0, 160.0, 170.0)
    stage.look(120)
    grids.put(stage.grid, [(0, minute, {"pm10": 0.0}) for minute in range(1, 120)])
    assert stage.decide(120) == {("official", "pm10", 2): "advisory"}
    stage.look(120)
    assert stage.decide(120) == {}, "once"


def test_a_decision_sees_no_hour_beyond_what_has_fired_for_it():
    stage = Stage(["reference"])
    stage.put(0, 160.0, 170.0, 90.0)
    stage.look(180)
    assert stage.decide(119) == {}
    assert stage.alerts.stages["pm10"] == "none"
    assert stage.decide(120) == {("official", "pm10", 2): "advisory"}
    assert stage.alerts.stages["pm10"] == "advisory"
    assert stage.decide(180) == {("official", "pm10", 3): "none"}


def test_an_hour_waits_for_all_the_stations_that_drive_an_alert():
    stage = Stage(["reference", "reference", "low_cost"], every=(60, 3600, 60))
    grids.put(stage.grid, [(s, minute, {"pm10": 200.0}) for minute in range(1, 121) for s in (0, 2)])
    stage.put(1, 100.0, 102.0)
    stage.look(120, 60)
    assert stage.decide(120, 60) == {("early_sign", "pm10", 2): "advisory"}, "that of the low-cost station does not"
    stage.look(120, 120)
    assert stage.decide(120, 120) == {("official", "pm10", 2): "advisory"}


def test_a_station_labelled_a_fault_counts_for_nothing():
    stage = Stage(["reference", "reference"])
    stage.put(0, 500.0, 500.0, 500.0)
    stage.put(1, 90.0, 90.0, 160.0)
    stage.look(180)
    pm10 = AIR.gridded.index("pm10")

    def faults_at(slot):
        faults = np.zeros((2, len(AIR.gridded)), bool)
        faults[0, pm10] = slot > grids.START + 60
        return faults

    assert stage.decide(180, faults_at=faults_at) == {}, "one hour of 295, then 90 and 160 of the other"
    again = Stage(["reference", "reference"])
    again.put(0, 500.0, 500.0)
    again.put(1, 90.0, 90.0)
    again.look(120)
    assert again.decide(120) == {("official", "pm10", 2): "advisory"}


def test_a_zone_with_no_station_of_a_kind_has_no_alert_of_it():
    stage = Stage(["low_cost"])
    assert stage.alerts.stages == {}, "early signs are none for the public"
    assert {kind for kind, _ in stage.alerts.snapshot()} == {"early_sign"}


def test_stages_outlive_a_restart_and_begin_anew_under_other_rules():
    stage = Stage(["reference"])
    stage.put(0, 160.0, 170.0)
    stage.look(120)
    stage.decide(120)
    kept = pickle.loads(pickle.dumps(stage.alerts.snapshot()))
    again = Stage(["reference"])
    again.alerts.restore(kept)
    assert again.alerts.stages == stage.alerts.stages
    again.put(0, 90.0, first=3)
    again.look(180)
    assert again.decide(180) == {("official", "pm10", 3): "none"}
    single = Stage(["reference"], settings=AlertSettings(pm10=Pm10Levels(issue=(150.0,), clear=(100.0,))))
    single.alerts.restore(kept)
    assert single.alerts.stages["pm10"] == "none"


def test_beyond_the_grid_nothing_is_known_and_nothing_ends():
    """A leap of days: the hours that the grid never held break the row, and end no stage."""
    stage = Stage(["reference"])
    stage.put(0, 160.0, 170.0)
    stage.look(120)
    assert stage.decide(120) == {("official", "pm10", 2): "advisory"}
    beyond = stage.grid.reach - grids.START + 6000
    stage.look(beyond)
    assert stage.decide(beyond) == {}
    assert stage.alerts.stages["pm10"] == "advisory"
