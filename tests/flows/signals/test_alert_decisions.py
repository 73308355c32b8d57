"""Alerts of a zone: those of its mean, hour by hour, from the stations that count."""

from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from tests.support.signals import HEAVY, play, when
from tests.support.zones import HOUR, START, handling


def hourly(values, *, parameter="pm25", stations=1, start=START):
    """Hourly readings of reference stations: each hour a figure, None where it is missing, or one for each station."""
    rows = []
    for h, value in enumerate(values, 1):
        of = value if isinstance(value, (list, tuple)) else [value] * stations
        for station, own in enumerate(of):
            rows.append((station, start + h * HOUR, {parameter: own} if own is not None else {"humidity": 50.0}))
    return rows


def stages(log, parameter, kind="official"):
    """Stage by hour, as it was said."""
    return {
        (alert.ended_at - when(START)) // timedelta(hours=1): alert.stage
        for alert in log.alerts
        if (alert.parameter, alert.kind) == (parameter, kind)
    }


VECTORS = [
    ("pm25", [80, 90, 40, 34], {2: "advisory", 4: "none"}),
    ("pm10", [310, 320, 140, 99], {2: "warning", 3: "advisory", 4: "none"}),
    ("o3", [0.119, 0.120, 0.301, 0.20, 0.119], {2: "advisory", 3: "warning", 4: "advisory", 5: "none"}),
    # 2018-11-28: two hours in a row above 150 at Dongsang-dong; 2023-04-21: an hour at 305 alone is no warning.
    ("pm10", [120, 180, 337], {3: "advisory"}),
    ("pm10", [200, 305, 280], {2: "advisory"}),
    ("pm25", [80, None, 90, 80], {4: "advisory"}),
    ("pm25", [80, 90, None, 40, 34], {2: "advisory", 5: "none"}),
    ("pm25", [149, 151, 151, 60, 60, 30], {2: "advisory", 3: "warning", 4: "advisory", 6: "none"}),
    ("o3", [0.02, 0.6, None, 0.1, 0.1, 0.1], {2: "serious", 4: "warning", 5: "advisory", 6: "none"}),
]


@pytest.mark.parametrize(("parameter", "values", "expected"), VECTORS)
@pytest.mark.parametrize("stations", [1, 3])
def test_the_worked_vectors_as_hourly_readings(watched, make_readings, parameter, values, expected, stations):
    rows = hourly(values, parameter=parameter, stations=stations)
    city = watched(("1h",) * stations)
    ozone = structs.replace(city.parameters["o3"], fail=(-0.01, 1.0))  # the default fails what is serious
    city = structs.replace(city, parameters={**city.parameters, "o3": ozone})
    for cuts in ((), range(1, len(rows))):
        log = play(city, make_readings, rows, cuts, crash=range(0, len(rows), 2))
        assert stages(log, parameter) == expected
        assert {alert.kind for alert in log.alerts} == {"official"}
        for alert in log.alerts:
            hour = (alert.ended_at - when(START)) // timedelta(hours=1)
            assert alert.value == values[hour - 1]
            if not (parameter == "o3" and alert.stage == "none"):
                assert alert.stations == ["a", "b", "c"][:stations]
        assert len({alert.alert_id for alert in log.alerts}) == len(log.alerts)


def test_an_hour_that_nobody_sent_breaks_the_row(watched, make_readings):
    """Other stations carry the clock; the reference station is silent for one hour, and then there is no figure."""
    every = ("1m", "1m", "1m", "1h")
    clean = [(s, START + 60 * m, {"humidity": 40.0}) for m in range(1, 421) for s in range(3)]
    known = {1: 80.0, 3: 80.0, 4: 80.0, 5: 20.0}
    rows = sorted([*clean, *((3, START + h * HOUR, {"pm25": v}) for h, v in known.items())], key=lambda row: row[1])
    log = play(watched(every), make_readings, rows)
    assert stages(log, "pm25") == {4: "advisory", 5: "none"}


@pytest.mark.parametrize(("minutes_there", "expected"), [(44, {}), (45, {2: "advisory"})])
def test_an_hour_counts_from_three_quarters_on(watched, make_readings, minutes_there, expected):
    rows = [
        (s, START + 60 * m, {"pm25": 100.0} if (m - 1) % 60 < minutes_there else {"humidity": 1.0})
        for m in range(1, 181)
        for s in range(3)
    ]
    assert stages(play(watched(("1m",) * 3), make_readings, rows), "pm25", "early_sign") == expected


def test_official_alerts_come_from_reference_stations_only(watched, make_readings):
    every = ("1m", "1m", "1m", "1h")
    rows = [(s, START + 60 * m, {"pm25": 200.0, "pm10": 20.0}) for m in range(1, 301) for s in range(3)]
    rows += [(3, START + h * HOUR, {"pm25": 20.0, "pm10": 400.0}) for h in range(1, 6)]
    rows.sort(key=lambda row: row[1])
    log = play(watched(every), make_readings, rows)
    assert stages(log, "pm25") == {}
    assert stages(log, "pm25", "early_sign") == {2: "warning"}
    assert stages(log, "pm10") == {2: "warning"}
    assert stages(log, "pm10", "early_sign") == {}
    assert {(alert.kind, *alert.stations) for alert in log.alerts} == {
        ("official", "d"),
        ("early_sign", "a", "b", "c"),
    }
    texts = {state.text for state in log.of("light-0") if state.as_of > when(START + 3 * HOUR)}
    assert texts == {"미세먼지 경보"}, "an early sign is no alert for the public"


@HEAVY
@given(
    st.lists(
        st.lists(st.sampled_from([None, 30.0, 80.0, 149.4, 149.5, 160.0, 310.0]), min_size=3, max_size=3),
        min_size=1,
        max_size=40,
    ),
    st.data(),
)
def test_alerts_are_those_of_the_zones_mean_hour_by_hour(watched, make_readings, hours, data):
    hours = [[30.0] * 3, *hours]  # what sets the clock of a city waits, and comes after the decisions of its hour
    rows = hourly(hours, parameter="pm10", stations=3)
    log = play(watched(("1h",) * 3), make_readings, rows, **data.draw(handling(len(rows))))
    assert stages(log, "pm10") == replay(hours)


def replay(hours):
    """PM10 stages of a zone in plain Python, from the province's table."""
    stage, run, said = 0, [0, 0], {}
    for h, values in enumerate(hours, 1):
        known = [value for value in values if value is not None]
        mean = int(sum(known) / len(known) + 0.5) if known else None
        run = [n + 1 if mean is not None and mean >= level else 0 for n, level in zip(run, (150, 300), strict=True)]
        reached = sum(n >= 2 for n in run)
        if reached > stage:
            stage = reached
        elif stage and mean is not None and mean < (100, 150)[stage - 1]:
            stage -= 1
        else:
            continue
        said[h] = ("none", "advisory", "warning")[stage]
    return said


def test_a_late_reading_revises_no_alert(watched, make_readings):
    rows = [row for row in hourly([[80, 80, 80]] * 2 + [[30, 30, 30]] * 4) if row[1] != START + 2 * HOUR]
    missing = [(s, START + 2 * HOUR, {"pm25": 80.0}) for s in range(3)]
    late = play(watched(("1h",) * 3), make_readings, [*rows, *missing])
    assert late.alerts == []
    in_time = play(watched(("1h",) * 3), make_readings, sorted([*rows, *missing], key=lambda row: row[1]))
    assert stages(in_time, "pm25") == {2: "advisory", 3: "none"}


@example([1, 2, 3])
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6, unique=True))
@settings(HEAVY, max_examples=6)
def test_hours_before_a_gap_are_judged_however_long_it_was(watched, make_readings, days):
    """The second hour of an alert waits for a silent station when the gap begins."""
    every = ("1h",) * 3
    rows, start = [], START
    for gap in days:
        rows += [(s, start + h * HOUR, {"pm25": 90.0}) for h in (1, 2) for s in range(3) if (h, s) != (2, 2)]
        start += 2 * HOUR + gap * 7 * HOUR
        rows += [(s, start + h * HOUR, {"pm25": 20.0}) for h in (1, 2) for s in range(3)]
        start += 3 * HOUR
    log = play(watched(every), make_readings, rows)
    assert [alert.stage for alert in log.alerts] == ["advisory", "none"] * len(days)
    assert play(watched(every), make_readings, rows, range(1, len(rows))).signals() == log.signals()
