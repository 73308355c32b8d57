"""Settings of lights and alerts: limits that contradict one another are refused with the reason."""

import msgspec
import pytest

from schemas.city_rules import AlertSettings, LightSettings


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"coverage": 0.74}, "0.75"),
        ({"nearest_within_km": 0}, "> 0"),
        ({"needs": []}, "needs must name"),
        ({"needs": ["pm10", "pm10"]}, "each once"),
        ({"valid_for": "11m"}, "between 12m and 1h"),
        ({"valid_for": "61m"}, "between 12m and 1h"),
        ({"valid_for_slow": "105m"}, "between 106m and 3h"),
        ({"valid_for_slow": "181m"}, "between 106m and 3h"),
        ({"heartbeat": "8m"}, "one lost message grays a light"),
        ({"valid_for": "16m", "heartbeat": "8m"}, "less than half"),
        ({"dwell": "121m"}, "may not exceed 2h"),
        ({"dwel": "30m"}, "unknown field"),
    ],
)
def test_light_rules_refused(table, message):
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(table, LightSettings)


@pytest.mark.parametrize(
    "table",
    [
        {"valid_for": "12m"},
        {"valid_for": "1h"},
        {"valid_for_slow": "106m"},
        {"valid_for_slow": "3h"},
        {"heartbeat": "7m"},
        {"dwell": "2h"},
        {"needs": ["pm25"], "words": {"nearby": ""}},
    ],
)
def test_light_rules_accepted(table):
    assert msgspec.convert(table, LightSettings) != LightSettings()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"issue": [150.0]}, "a level for each stage"),
        ({"issue": [], "clear": []}, "a level for each stage"),
        ({"issue": [1.0, 2.0, 3.0, 4.0], "clear": [1.0, 2.0, 3.0, 4.0]}, "a level for each stage"),
        ({"issue": [300.0, 150.0]}, "must rise"),
        ({"clear": [100.0, 100.0]}, "must rise"),
        ({"clear": [151.0, 200.0]}, "may not end above"),
        ({"clear": [0.0, 150.0]}, "> 0"),
        ({"hours": 0}, ">= 1"),
    ],
)
def test_alert_levels_refused(table, message):
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert({"pm10": table}, AlertSettings)


def test_a_table_may_change_one_key():
    changed = msgspec.convert({"pm25": {"hours": 3}, "o3": {"clear": [0.1, 0.3, 0.5]}}, AlertSettings)
    assert changed.pm25.issue == (75.0, 150.0)
    assert changed.o3.issue == (0.12, 0.3, 0.5)
    assert changed.pm10 == AlertSettings().pm10
