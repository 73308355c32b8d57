"""A day of the lights of a lake."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from schemas.errors import UsageError
from sinks.catalog import catalog
from sinks.lights import history
from sinks.lights.history import color_runs, lights_of_day
from sinks.lights.states import PublishedState
from tests.support.lights import DAY, MINUTE, NOON, alert_row, state, state_row


def of_day(lake, day=DAY):
    with catalog.connect(lake.root) as con:
        return lights_of_day(con, day)


def spelled(light):
    return [(f"{run.begin:%H:%M}", f"{run.end:%H:%M}", run.color, run.why) for run in light.runs]


def test_a_day_is_what_the_light_showed_minute_by_minute(lake):
    yesterday = state_row(1, 1, -725, life=10)  # 23:55, in force past midnight
    rows = [
        state_row(2, 2, 0),
        state_row(3, 3, 10),
        state_row(4, 0, 20),
        *(state_row(5 + i, 4, 30 + 170 * i, life=180) for i in range(5)),
    ]
    lake.epoch(light_states=[yesterday, *rows])
    [light] = of_day(lake).lights
    assert spelled(light) == [
        ("00:00", "00:05", "blue", "told"),
        ("00:05", "12:00", "gray", "over"),
        ("12:00", "12:10", "green", "told"),
        ("12:10", "12:20", "yellow", "told"),
        ("12:20", "12:30", "gray", "told"),
        ("12:30", "00:00", "red", "told"),
    ]
    grades = light.quarter_grades()
    assert len(grades) == 96
    assert grades[46:52] == [0, 0, 2, 0, 4, 4], "the color that was there longest; of two the later"
    assert light.changes() == 5
    assert [run.why for run in light.gray()] == ["over", "told"]


def test_what_is_not_known_yet_stays_empty(lake, monkeypatch):
    monkeypatch.setattr(history, "now", lambda: NOON + 5 * MINUTE)
    lake.epoch(light_states=[state_row(1, 2, 0, life=60)])
    [light] = of_day(lake).lights
    assert light.runs[-1].end == NOON + 60 * MINUTE, "in force so long, though the clock is behind"
    assert light.quarter_grades()[51:53] == [2, None]


def test_lights_stand_in_the_order_of_the_city_then_by_id(lake):
    lake.epoch(light_states=[state_row(1, 2, 0, light=light) for light in ("x", "light-1", "b")])
    assert [light.light_id for light in of_day(lake).lights] == ["light-1", "b", "x"]


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)])
def test_days_of_summer_time_have_their_hours(day, hours):
    berlin = ZoneInfo("Europe/Berlin")
    begin, end = (datetime.combine(day + timedelta(days=i), time(), berlin) for i in (0, 1))
    first = (begin - NOON) / MINUTE + 360
    green = [state(i, 2, first + 100 * i, life=100) for i in range(10)]
    runs = list(color_runs("light-1", [PublishedState(each.as_of, each) for each in green], begin, end))
    lasts = [run.end.astimezone(UTC) - run.begin.astimezone(UTC) for run in runs]
    assert [run.color for run in runs] == ["gray", "green", "gray"]
    assert (lasts[1], sum(lasts, timedelta())) == (1000 * MINUTE, timedelta(hours=hours))


def test_alerts_in_force(lake):
    lake.epoch(
        light_states=[state_row(1, 2, 0, life=60)],
        alerts=[
            alert_row(-1440, "pm10", "warning", value=310.0),
            alert_row(-600, "pm10", "none"),
            alert_row(60, "pm25", "advisory", value=80.4),
            alert_row(120, "pm25", "none"),
            alert_row(90, "o3", "advisory", value=0.121, kind="early_sign"),
        ],
    )
    assert [(s.parameter, s.kind, f"{s.begin:%H:%M}", f"{s.end:%H:%M}") for s in of_day(lake).alerts] == [
        ("pm10", "official", "00:00", "02:00"),
        ("pm25", "official", "13:00", "14:00"),
        ("o3", "early_sign", "13:30", "00:00"),
    ]


def test_a_day_without_states_is_refused(lake):
    with pytest.raises(UsageError, match="holds no states of lights"):
        of_day(lake)
    lake.epoch(light_states=[state_row(1, 2, 0)])
    with pytest.raises(UsageError, match=r"no light was told anything for 2026-03-05; .* from 2026-03-02 to 2026-03-0"):
        of_day(lake, date(2026, 3, 5))
