"""Values of one second and of one minute: what is new, what repeats, what another value took before, and what weighs."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.analyses.hours import valid_hours
from schemas.measured import AIR
from tests.support.zones import HEAVY, HOUR, START, new_zone, play


def minute(number, value, station=0, second=0):
    return (station, START + 60 * number + second, {"pm10": value})


def verdicts(log):
    return [log.verdict[offset] for offset in sorted(log.verdict)]


def averaging(city):
    return msgspec.structs.replace(city, second_values="average")


def mean(log, ended=60, window="1h", station="a"):
    total, count, filled, *_ = log.rows[station, "pm10", window, START // 60 + ended]
    return total / filled / 1e9, count, filled


def test_a_minute_of_sixty_readings_weighs_as_a_minute_of_one(make_city, make_readings):
    rows = [minute(0, 500.0, second=second) for second in range(1, 61)]
    rows += [minute(number, 5.0) for number in range(2, 46)]
    log, _ = play(make_city(("1m",)), make_readings, [*rows, minute(60, 5.0)], [30, 61])
    assert mean(log) == pytest.approx(((500 + 45 * 5) / 46, 105, 46))


def test_the_mean_of_an_hour_one_minute_of_which_has_sixty_readings(make_city, make_readings):
    rows = [minute(0, 500.0, second=second) for second in range(1, 61)]
    rows += [minute(number, 5.0) for number in range(2, 46)]
    rows.append((0, START + HOUR, {"pm25": 1.0}))
    log, _ = play(make_city(("1m",)), make_readings, rows)
    assert mean(log) == (16.0, 104, 45)


def test_a_second_value_for_one_second(make_city, make_readings):
    """Provisional, then validated: the first stays, and the other is told as what it is."""
    rows = [minute(1, 40.0), minute(1, 40.0), minute(1, 42.0), (0, START + 60, {"pm10": 40.0, "pm25": 3.0})]
    rows.append((0, START + 60, {"pm10": 41.0, "pm25": 3.0}))
    for cuts in ((), range(1, 5)):
        log, _ = play(make_city(("1m",)), make_readings, [*rows, minute(10, 1.0)], cuts, crash=range(5))
        assert verdicts(log)[:5] == ["accepted", "duplicate", "superseded", "accepted", "superseded"]
        assert log.rows["a", "pm10", "10m", START // 60 + 10][:2] == (41 * 10**9, 2)


def test_what_is_not_known_is_a_duplicate(make_city, make_readings):
    """Two seconds of the slot are taken: which value took which is no longer known."""
    rows = [minute(0, 1.0, second=10), minute(0, 2.0, second=20), minute(0, 3.0, second=10)]
    log, _ = play(make_city(("10s",)), make_readings, rows, [1, 2])
    assert verdicts(log) == ["accepted", "accepted", "duplicate"]


def test_a_value_that_fails_and_one_of_weather_are_known_too(make_city, make_readings):
    rows = [(0, START + 60, {"pm10": -50.0}), (0, START + 60, {"pm10": 30.0})]
    rows += [(0, START + 120, {"humidity": 40.0}), (0, START + 120, {"humidity": 41.0})]
    log, _ = play(make_city(("1m",)), make_readings, rows, range(1, 4), crash=range(4))
    assert verdicts(log) == ["accepted", "superseded", "accepted", "superseded"]


@pytest.mark.parametrize("place", ["file", "late"])
def test_the_average_of_second_values(make_city, make_readings, place):
    city = make_city(("1m",))
    late = msgspec.structs.replace(city.late, second_values="average")
    city = averaging(city) if place == "file" else msgspec.structs.replace(city, late=late)
    rows = [minute(1, 40.0), minute(1, 42.0), minute(1, 40.0), minute(1, 42.0), minute(1, 47.0)]
    log, _ = play(city, make_readings, [*rows, minute(10, 1.0)], range(1, 6), crash=range(5))
    assert verdicts(log)[:5] == ["accepted", "accepted", "duplicate", "duplicate", "accepted"]
    assert log.rows["a", "pm10", "10m", START // 60 + 10][:4] == (44 * 10**9, 4, 2, 0)


@HEAVY
@given(st.permutations([10.0, 10.0, 12.0, 12.0, 17.0, 30.0]), st.sets(st.integers(1, 6)), st.sets(st.integers(0, 6)))
def test_no_order_changes_the_average(make_city, make_readings, values, cuts, crash):
    rows = [*(minute(1, value) for value in values), minute(10, 0.0)]
    log, _ = play(averaging(make_city(("1m",))), make_readings, rows, sorted(cuts), crash=crash)
    assert log.rows["a", "pm10", "10m", START // 60 + 10][:4] == (17_250_000_000, 5, 2, 0)


@HEAVY
@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from([1.0, 2.0, -50.0])), min_size=2, max_size=30), st.data())
def test_no_cut_and_no_crash_changes_a_verdict(make_city, make_readings, seconds, data):
    rows = [minute(0, value, second=20 * number) for number, value in seconds]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows)))))
    for city in (make_city(("10s",)), averaging(make_city(("10s",)))):
        one, _ = play(city, make_readings, rows)
        two, _ = play(city, make_readings, rows, cuts, crash=data.draw(st.sets(st.integers(0, len(cuts)))))
        assert one.verdict == two.verdict
        assert one.newest() == two.newest()


def test_a_station_that_comes_and_goes_keeps_what_it_knew(make_city, make_readings):
    _, zone = play(
        averaging(make_city(("1m", "1m"))), make_readings, [minute(1, 5.0, 1), minute(1, 6.0, 1)], last=False
    )
    kept = zone.snapshot()
    assert [entry[3] for entry in kept["second_values"]] == [[6 * 10**9]] or kept["second_values"] == []


def columns_of(result_rows):
    """Plain rows of window rows: key, valid and why."""
    found = {}
    for rows in result_rows:
        columns = rows.columns()
        if "why_invalid" not in columns:
            continue
        names, why = columns["window_length"], columns["why_invalid"]
        for i in range(len(columns["ended_at"])):
            key = (AIR.gridded[columns["parameter"].code[i]], names.names[names.code[i]], int(columns["ended_at"][i]))
            found[key] = (bool(columns["valid"][i]), None if why.missing[i] else why.names[why.code[i]])
    return found


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 0, (True, None)),
        (6, 0, (True, None)),
        (7, 0, (False, "failed_below")),
        (0, 7, (False, "failed_above")),
        (6, 6, (True, None)),
        (7, 7, (False, "failed_below,failed_above")),
        (20, 0, (False, "coverage,failed_below")),
    ],
)
def test_limits_that_cut_one_side(make_city, make_readings, low, high, expected):
    values = [-50.0] * low + [9000.0] * high + [20.0] * (60 - low - high)
    rows = [minute(i, value) for i, value in enumerate(values, 1)]
    zone = new_zone(make_city(("1m",)))
    found = columns_of(zone.take(make_readings(rows), end_of_input=True).results.rows)
    assert found["pm10", "1h", (START + HOUR) * 1_000_000] == expected


def test_an_hour_cut_on_one_side_is_in_no_index_and_no_light(make_city, make_readings):
    values = [-50.0] * 7 + [20.0] * 53
    zone = new_zone(make_city(("1m",)))
    zone.take(make_readings([minute(i, value) for i, value in enumerate(values, 1)]), end_of_input=True)
    ended = np.array([START // 60 + 60])
    assert np.isnan(valid_hours(zone.grid, np.array([0]), 1, ended)[0, 0, 0])


def test_a_late_value_that_fails_makes_a_window_invalid_again(make_city, make_readings):
    zone = new_zone(make_city(("1m",)))
    rows = [minute(i, -50.0 if i < 6 else 20.0) for i in range(1, 61) if i not in (30, 31)]
    first = columns_of(zone.take(make_readings([*rows, minute(70, 20.0)])).results.rows)
    again = columns_of(
        zone.take(make_readings([minute(30, -50.0), minute(31, -50.0), minute(81, 20.0)], 99)).results.rows
    )
    key = ("pm10", "1h", (START + HOUR) * 1_000_000)
    assert first[key] == (True, None)
    assert again[key] == (False, "failed_below")
