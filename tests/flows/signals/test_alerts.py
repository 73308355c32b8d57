"""Alerts of a city file: their rules, and the messages of their changes."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given, settings

from flows.kernels.alerts import start
from flows.signals.alerts import alert, rules
from schemas.alert import Alert
from schemas.city_rules import Alerts, OzoneLevels
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
    strict = rules(Alerts(o3=OzoneLevels(issue=(0.1, 0.2), clear=(0.08, 0.2), hours=2)))
    assert stages("o3", [0.1, 0.1, 0.08, 0.079], strict["o3"]) == "non adv adv non"
