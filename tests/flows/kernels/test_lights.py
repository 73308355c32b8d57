"""Decisions for lights: each rule by example, and all of them against one light written out in plain Python."""

import math
import time
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels import light_rules, light_words, lights
from flows.kernels.lights import NEVER, Air, State, decide
from schemas.city import City, Identity, Light, Station
from schemas.city_rules import Lights, Words
from schemas.light import LightState

BANDS = np.array([[30.0, 80.0, 150.0], [15.0, 35.0, 75.0]])
SEOUL = ZoneInfo("Asia/Seoul")
NAN = np.nan
HOUR_0 = int(datetime(2026, 3, 1, 9, tzinfo=SEOUL).timestamp()) // 60


def city(stations, light_list, zones=None):
    """Stations as (lat, lon, cadence) and lights as (lat, lon, names)."""
    return City(
        city=Identity(id="tiny", name="Tiny", timezone="Asia/Seoul"),
        stations=[
            Station(
                id="abcdefgh"[i],
                lat=lat,
                lon=lon,
                every=every,
                kind="reference" if every == "1h" else "low_cost",
                zone=(zones or "z" * 9)[i],
            )
            for i, (lat, lon, every) in enumerate(stations)
        ],
        lights=[
            Light(id=f"light-{i}", lat=lat, lon=lon, stations=list(names))
            for i, (lat, lon, names) in enumerate(light_list)
        ],
    )


def made(stations="1m 1m 1h", names=("abc",), **changes):
    """Rules of lights that name their stations."""
    places = [(35.2, 128.9, every) for every in stations.split()]
    whole = city(places, [(35.2, 128.9, chosen) for chosen in names])
    return light_rules.rules(whole, Lights(**changes), BANDS, "z")


def air(now, pm10, pm25, coverage=1.0, age=0, fault=False):
    """Air of stations, each given by PM10 and PM2.5; ``coverage``, ``age`` and ``fault`` for all or for each."""
    mean = np.column_stack([np.asarray(pm10, float), np.asarray(pm25, float)])
    n = len(mean)

    def both(x, kind):
        x = np.asarray(x, kind)
        return np.ascontiguousarray(np.broadcast_to(x[:, None] if x.ndim == 1 else x, (n, 2)))

    ages = np.broadcast_to(np.asarray(age), n)
    return Air(mean, both(coverage, float), np.where(ages >= 0, now - ages, NEVER), both(fault, bool))


def told(rules, state, now, a, people=None):
    state, sent = decide(rules, state, now, a, people or [""] * len(rules.lights))
    return state, light_words.messages(rules, sent, a, SEOUL)


def one(now, *args, rules=None, people=None, **kwargs):
    """What a new light is told."""
    rules = rules or made()
    _, [message] = told(rules, lights.start(rules), now, air(now, *args, **kwargs), people)
    return message


def minute(slot):
    return datetime.fromtimestamp(slot * 60, SEOUL)


def colors(values, every=1, pm10=None, **changes):
    """The color shown after each minute of PM2.5 at one station; 0 is gray, where there is no value."""
    rules = made("1m", "a", **changes)
    state, shown = lights.start(rules), []
    for i, value in enumerate(values):
        now = HOUR_0 + i * every
        state, _ = decide(rules, state, now, air(now, [0 if pm10 is None else pm10[i]], [value]), [""])
        shown.append(int(state.grade[0]))
    return shown


# ------------------------------------------------------------------------------------------ whom a light follows


def test_named_stations_stand_in_their_order_at_any_distance():
    whole = city([(35.2, 128.9, "1m"), (36.9, 128.9, "1m"), (35.2, 128.91, "1m")], [(35.2, 128.9, "bca")])
    chosen = light_rules.preference(whole, 10)
    assert [order.tolist() for order in chosen.stations] == [[1, 2, 0]]
    assert light_rules.rules(whole, Lights(), BANDS, "z").candidates.tolist() == [[1, 2, 0]]


def test_others_follow_the_nearest_first_up_to_the_limit():
    # One degree of latitude is 111.195 km on this sphere.
    north = [35.2 + km / 111.195 for km in (9.9, 0.5, 10.1, 3.0, 0.5)]
    whole = city([(lat, 128.9, "1m") for lat in north], [(35.2, 128.9, ""), (38.0, 128.9, "")])
    chosen = light_rules.preference(whole, 10)
    assert [order.tolist() for order in chosen.stations] == [[1, 4, 3, 0], []]
    rules = light_rules.rules(whole, Lights(), BANDS, "z")
    assert rules.candidates.tolist() == [[1, 4, 3, 0], [-1] * 4]
    wider = light_rules.rules(whole, Lights(nearest_within_km=10.2), BANDS, "z")
    assert wider.candidates[0].tolist() == [1, 4, 3, 0, 2]


def test_of_many_stations_as_near_the_files_first_comes_first():
    """So many that a sort which keeps no order would show."""
    places = [(35.2 + 0.01 * (i % 2), 128.9, "1m") for i in range(100)]
    stations = [Station(id=f"s{i}", lat=lat, lon=lon, every=every) for i, (lat, lon, every) in enumerate(places)]
    whole = msgspec.structs.replace(city([], [(35.2, 128.9, "")]), stations=stations)
    assert light_rules.preference(whole, 10).stations[0].tolist() == [*range(0, 100, 2), *range(1, 100, 2)]


def test_the_limit_itself_is_near_enough():
    whole = city([(35.3, 128.9, "1m")], [(35.2, 128.9, "")])
    apart = float(light_rules.distance_km(np.array([[35.3, 128.9]]), 35.2, 128.9)[0])
    assert light_rules.preference(whole, apart).stations[0].tolist() == [0]
    assert light_rules.preference(whole, math.nextafter(apart, 0)).stations[0].tolist() == []


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        ((35.236667, 128.883333), (35.202364, 128.807221), 7.898),  # by the spherical law of cosines
        ((0, 0), (0, 180), 20015.115),
        ((0, 0), (0, 1), 111.195),
        ((60, 0), (60, 1), 55.597),
        ((35.2, 128.9), (35.2, 128.9), 0),
        ((10, 20), (-10, -160), 20015.115),
    ],
)
def test_distances(a, b, km):
    assert light_rules.distance_km(np.array([a], float), *b)[0] == pytest.approx(km, abs=2e-3)
    assert light_rules.distance_km(np.array([b], float), *a)[0] == pytest.approx(km, abs=2e-3)


def test_a_light_keeps_to_the_zone_of_its_first_station():
    places = [(35.2, 128.9, "1m"), (35.21, 128.9, "1m"), (35.22, 128.9, "1h"), (35.23, 128.9, "1m")]
    whole = city(places, [(35.2, 128.9, ""), (35.23, 128.9, ""), (35.2, 128.9, "db")], zones="xyxy")
    chosen = light_rules.preference(whole, 10)
    assert chosen.zones == ["x", "y", "y"]
    assert [order.tolist() for order in chosen.stations] == [[0, 2], [3, 1], [3, 1]]
    x, y = (light_rules.rules(whole, Lights(), BANDS, zone) for zone in "xy")
    assert (x.lights, x.stations, x.candidates.tolist()) == (["light-0"], ["a", "c"], [[0, 1]])
    assert (y.lights, y.stations, y.candidates.tolist()) == (["light-1", "light-2"], ["b", "d"], [[1, 0], [1, 0]])
    assert (x.life.tolist(), x.low_cost.tolist()) == ([15, 120], [True, False])


def test_a_zone_without_lights_and_a_city_without_stations():
    none = light_rules.rules(city([(35.2, 128.9, "1m")], []), Lights(), BANDS, "z")
    state, sent = decide(none, lights.start(none), 5, air(5, [1], [1]), [])
    assert (state.grade.size, light_words.messages(none, sent, air(5, [1], [1]), SEOUL)) == (0, [])
    blind = light_rules.rules(city([], [(35.2, 128.9, "")]), Lights(), BANDS, "")
    _, [message] = told(blind, lights.start(blind), HOUR_0, air(HOUR_0, [], []))
    assert (message.color, message.reason) == ("gray", "no station is near enough")


@given(st.integers(0, 2**32), st.integers(1, 60), st.sampled_from([1, 2, 6, 130, 300]))
@settings(max_examples=60, deadline=None)
def test_the_first_usable_station_is_found(seed, stations, n):
    random = np.random.default_rng(seed)
    candidates = np.stack([random.permutation(stations) for _ in range(n)]).astype(np.int32)
    for row in candidates:
        row[random.integers(0, stations + 1) :] = -1
    usable = random.random(stations) < random.choice([0, 0.02, 0.5, 1])
    found = lights.first_usable(candidates, usable)
    for row, place in zip(candidates.tolist(), found.tolist(), strict=True):
        assert place == next((i for i, column in enumerate(row) if column >= 0 and usable[column]), -1)


@pytest.mark.parametrize("width", [0, 1, 7, 8, 9, 39, 40, 41, 168])
def test_a_light_none_of_whose_stations_is_usable_has_none(width):
    """Wherever looking ends: after a round of looks, or within one."""
    usable = np.arange(width + 1) == width
    nobody, last = np.arange(width, dtype=np.int32), np.append(np.arange(1, width, dtype=np.int32), np.int32(width))
    assert lights.first_usable(nobody[None], usable).tolist() == [-1]
    assert lights.first_usable(last[None], usable).tolist() == [max(0, width - 1)]


# ------------------------------------------------------------------------------------------ which air can be trusted


def test_a_light_is_told_the_worse_grade_and_whose_air_it_is():
    assert one(HOUR_0, [41, 9, 9], [22.4, 9, 9], coverage=[[0.97, 0.98], [1, 1], [1, 1]]) == LightState(
        light_id="light-0",
        seq=0,
        color="green",
        grade=2,
        parameter="pm25",
        pm10=41.0,
        pm25=22.0,
        as_of=minute(HOUR_0),
        valid_until=minute(HOUR_0 + 15),
        stations=["a"],
        coverage=0.97,
        reason="pm25 1 h mean 22 µg/m³, 간이측정기",
        text=None,
    )


@pytest.mark.parametrize(
    ("pm10", "pm25", "grade", "parameter"),
    [
        (0, 0, 1, "pm25"),
        (30, 15, 1, "pm25"),
        (31, 15, 2, "pm10"),
        (30, 16, 2, "pm25"),
        (80, 35, 2, "pm25"),
        (81, 35, 3, "pm10"),
        (80, 36, 3, "pm25"),
        (150, 75, 3, "pm25"),
        (151, 75, 4, "pm10"),
        (150, 76, 4, "pm25"),
        (30.49, 15.49, 1, "pm25"),  # grades are of the figure shown: halves up
        (30.5, 15.49, 2, "pm10"),
        (30.49, 15.5, 2, "pm25"),
        (-3.2, -0.4, 1, "pm25"),
    ],
)
def test_grades(pm10, pm25, grade, parameter):
    message = one(HOUR_0, [pm10] * 3, [pm25] * 3)
    assert (message.grade, message.parameter) == (grade, parameter)
    assert message.color == ("gray", "blue", "green", "yellow", "red")[grade]
    assert message.pm10 == max(0, math.floor(pm10 + 0.5))
    assert message.pm25 == max(0, math.floor(pm25 + 0.5))
    assert math.copysign(1, message.pm25) == 1
    assert message.reason.startswith(f"{parameter} 1 h mean {getattr(message, parameter):.0f} µg/m³")


@pytest.mark.parametrize(
    ("change", "station"),
    [
        ({}, "a"),
        ({"coverage": [0.75, 1, 1]}, "a"),
        ({"coverage": [0.7499, 1, 1]}, "b"),
        ({"coverage": [[1, 0.74], [1, 1], [1, 1]]}, "b"),
        ({"coverage": [[0.74, 1], [1, 1], [1, 1]]}, "b"),
        ({"coverage": [NAN, 1, 1]}, "b"),
        ({"fault": [True, False, False]}, "b"),
        ({"fault": [[False, True], [False, False], [False, False]]}, "b"),
        ({"age": [14, 0, 0]}, "a"),
        ({"age": [15, 14, 0]}, "b"),
        ({"age": [15, 15, 119]}, "c"),
        ({"age": [15, 15, 120]}, None),
        ({"age": [-1, -1, -1]}, None),
        ({"age": [-1, 0, 0]}, "b"),
        ({"coverage": 0.7}, None),
        ({"fault": True}, None),
    ],
)
def test_the_first_station_to_be_trusted_decides(change, station):
    message = one(HOUR_0, [10, 50, 100], [1, 1, 1], **change)
    assert message.stations == ([station] if station else [])
    assert message.pm10 == {"a": 10, "b": 50, "c": 100, None: None}[station]
    assert message.text == {"a": None, None: "점검중"}.get(station, "인근 측정소")
    assert ("인근 측정소" in message.reason) == (station in ("b", "c"))
    assert ("간이측정기" in message.reason) == (station in ("a", "b"))


def test_a_reason_names_a_station_nearby():
    rules = made("1m 1h", ("ab",))
    assert one(HOUR_0, [10, 50], [1, 1], age=[15, 0], rules=rules).reason == "pm10 1 h mean 50 µg/m³, 인근 측정소 b"
    both = "pm10 1 h mean 50 µg/m³, 인근 측정소 b, 간이측정기"
    assert one(HOUR_0, [10, 50, 9], [1, 1, 1], age=[15, 0, 0]).reason == both


def test_a_missing_mean_is_never_shown():
    assert one(HOUR_0, [NAN, 50, 100], [1, 1, 1]).stations == ["b"]
    assert one(HOUR_0, [10, 50, 100], [NAN, NAN, 1]).stations == ["c"]
    assert one(HOUR_0, [NAN, 50, NAN], [1, NAN, 1]).color == "gray"


def test_a_city_may_measure_one_of_the_two():
    rules = made(needs=("pm25",))
    message = one(HOUR_0, [NAN] * 3, [40, 1, 1], coverage=[[0, 0.8], [1, 1], [1, 1]], rules=rules)
    assert (message.color, message.pm10, message.pm25, message.coverage) == ("yellow", None, 40.0, 0.8)
    both = one(HOUR_0, [160] * 3, [40] * 3, rules=rules)
    assert (both.color, both.parameter) == ("red", "pm10")
    poor = one(HOUR_0, [160] * 3, [40] * 3, coverage=[[0.5, 0.8], [1, 1], [1, 1]], rules=rules)
    assert (poor.color, poor.parameter, poor.pm10, poor.coverage) == ("yellow", "pm25", None, 0.8)
    assert one(HOUR_0, [10] * 3, [NAN] * 3, rules=rules).color == "gray"
    coarse = one(HOUR_0, [90] * 3, [NAN] * 3, rules=made(needs=("pm10",)))
    assert (coarse.color, coarse.parameter, coarse.pm25) == ("yellow", "pm10", None)
    assert coarse.reason == "pm10 1 h mean 90 µg/m³, 간이측정기"
    good = one(HOUR_0, [10] * 3, [NAN] * 3, rules=made(needs=("pm10",)))
    assert (good.color, good.parameter, good.pm10) == ("blue", "pm10", 10.0)


def test_a_state_lasts_as_long_as_its_air():
    assert one(HOUR_0, [1] * 3, [1] * 3, age=[4, 0, 0]).as_of == minute(HOUR_0 - 4)
    assert one(HOUR_0, [1] * 3, [1] * 3, age=[4, 0, 0]).valid_until == minute(HOUR_0 + 11)
    hourly = one(HOUR_0, [1] * 3, [1] * 3, age=[20, 20, 50])
    assert (hourly.as_of, hourly.valid_until) == (minute(HOUR_0 - 50), minute(HOUR_0 + 70))
    gray = one(HOUR_0, [1] * 3, [1] * 3, age=200)
    assert (gray.as_of, gray.valid_until) == (minute(HOUR_0), minute(HOUR_0 + 15))
    rules = made("10m 11m", ("ab",), valid_for="20m", valid_for_slow="110m", coverage=0.9)
    assert (rules.life.tolist(), rules.gray_life, rules.coverage) == ([20, 110], 20, 0.9)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"age": -1}, "a: no closed hour yet; nor can any other of its stations be used"),
        ({"age": [15, 20, 120]}, "a: newest air is 15 min old; nor can any other of its stations be used"),
        ({"fault": True}, "a: labelled a fault; nor can any other of its stations be used"),
        (
            {"coverage": [[0.5, 1], [0, 0], [0, 0]]},
            "a: 50% of the hour covered; nor can any other of its stations be used",
        ),
    ],
)
def test_gray_says_why(change, reason):
    message = one(HOUR_0, [1] * 3, [1] * 3, **change)
    assert message.reason == reason
    assert (message.color, message.grade, message.parameter, message.pm10, message.pm25) == ("gray", *[None] * 4)
    assert (message.stations, message.coverage, message.text) == ([], None, "점검중")


def test_gray_of_one_fault_and_of_a_station_that_stands_first_in_the_city_file():
    rules = made("1m 1m", ("ba",))
    one_of_two = [[False, True], [True, False]]
    reason = "b: labelled a fault; nor can any other of its stations be used"
    assert one(HOUR_0, [1, 1], [1, 1], fault=one_of_two, rules=rules).reason == reason


def test_gray_of_a_missing_mean_and_of_a_light_with_one_station():
    padded = made("1m 1m", ("a", "ab"))
    assert (
        one(
            HOUR_0, [1, 1], [1, 1], fault=True, rules=replace(padded, lights=["x"], candidates=padded.candidates[:1])
        ).reason
        == "a: labelled a fault"
    )
    rules = made("1m", "a", needs=("pm25",))
    assert one(HOUR_0, [1], [NAN], rules=rules).reason == "a: 0% of the hour covered"
    fault = one(HOUR_0, [1], [NAN], fault=[[True, False]], rules=rules)
    assert fault.reason == "a: 0% of the hour covered"


# ------------------------------------------------------------------------------------------ when it changes


def test_worse_shows_at_once_and_better_after_the_dwell():
    values = [10, 40, *[20] * 31, 80, *[10] * 40]
    shown = colors(values)
    assert shown[:3] == [1, 3, 3]
    assert shown[2:32] == [3] * 30
    assert shown[32] == 2
    assert shown[33:64] == [4] * 31
    assert shown[64] == 1


def test_a_grade_that_got_worse_again_waits_anew():
    assert colors([40, *[20] * 29, 40, *[20] * 30, 20]) == [3] * 61 + [2]


def test_after_the_dwell_the_worst_of_it_is_shown():
    values = [80, *[20, 10] * 20]
    shown = colors(values)
    assert shown[:31] == [4] * 31
    assert set(shown[31:]) == {2}
    assert colors([80, *[10] * 10, *[20] * 5, *[10] * 40])[31:46] == [2] * 15
    assert colors([80, *[10] * 10, *[20] * 5, *[10] * 40])[46:] == [1] * 10


def test_dwell_comes_from_the_city_file():
    assert colors([40, *[20] * 11], dwell="10m") == [3] * 11 + [2]


def test_gray_comes_and_goes_at_once():
    assert colors([80, NAN, 10, 40, NAN, NAN, 20, 10]) == [4, 0, 1, 3, 0, 0, 2, 2]


def test_the_number_shown_is_of_the_air_now():
    rules = made("1m", "a")
    state, _ = told(rules, lights.start(rules), HOUR_0, air(HOUR_0, [1], [40]))
    for later in range(1, 5):
        state, none = told(rules, state, HOUR_0 + later, air(HOUR_0 + later, [1], [20]))
        assert none == []
    state, [waits] = told(rules, state, HOUR_0 + 5, air(HOUR_0 + 5, [1], [21]))
    assert (waits.color, waits.pm25, waits.seq) == ("yellow", 21.0, 1)
    assert waits.reason == "pm25 1 h mean 21 µg/m³, better than yellow for 4 of 30 min, 간이측정기"


def test_the_first_better_minute_waits_none_of_the_dwell():
    rules = made("1m", "a")
    state, _ = told(rules, lights.start(rules), HOUR_0, air(HOUR_0, [1], [80]))
    _, [message] = told(rules, state, HOUR_0 + 5, air(HOUR_0 + 5, [1], [74]))
    assert "better than red for 0 of 30 min" in message.reason


def run(rules, steps, state=None):
    """Messages of a run of (now, air, people)."""
    state, out = state or lights.start(rules), []
    for now, a, people in steps:
        state, messages = told(rules, state, now, a, people)
        out.append(messages)
    return state, out


def test_a_heartbeat_every_five_minutes_with_a_higher_seq():
    rules = made("1m 1m", ("ab", "ab"))
    _, out = run(rules, [(n, air(n, [1] * 2, [1] * 2), None) for n in range(HOUR_0, HOUR_0 + 16)])
    assert [len(messages) for messages in out] == [2, 0, 0, 0, 0] * 3 + [2]
    assert [message.seq for messages in out for message in messages if message.light_id == "light-1"] == [0, 1, 2, 3]
    _, out = run(made("1m", "a", heartbeat="2m"), [(n, air(n, [1], [1]), None) for n in range(5)])
    assert [len(messages) for messages in out] == [1, 0, 1, 0, 1]


def test_a_change_is_told_between_heartbeats_and_to_its_light_alone():
    rules = made("1m 1m", ("a", "b"))
    steps = [(HOUR_0 + n, air(HOUR_0 + n, [1, 1], [1, 40 if n > 2 else 1]), None) for n in range(8)]
    _, out = run(rules, steps)
    assert [[(m.light_id[-1], m.color) for m in messages] for messages in out] == [
        [("0", "blue"), ("1", "blue")],
        [],
        [],
        [("1", "yellow")],
        [],
        [("0", "blue")],
        [],
        [],
    ]


def test_air_that_stops_grays_a_light_at_its_time():
    rules = made("1m", "a")
    still = air(HOUR_0, [1], [1])
    _, out = run(rules, [(n, still, None) for n in range(HOUR_0, HOUR_0 + 17)])
    assert [m.color for m in out[14]] == []
    assert [m.color for m in out[15]] == ["gray"]
    assert out[10][0].valid_until == minute(HOUR_0 + 15)
    assert out[15][0].reason == "a: newest air is 15 min old"


def test_a_decision_for_a_slot_that_was_decided_changes_nothing():
    rules = made("1m", "a")
    state, _ = told(rules, lights.start(rules), HOUR_0, air(HOUR_0, [1], [1]))
    for now in (HOUR_0, HOUR_0 - 1, HOUR_0 - 60):
        after, messages = told(rules, state, now, air(now, [500], [500]), ["fire"])
        assert messages == []
        assert lights.snapshot(rules, after) == lights.snapshot(rules, state)
    assert told(rules, state, HOUR_0 + 1, air(HOUR_0 + 1, [500], [500]))[1][0].color == "red"


# ------------------------------------------------------------------------------------------ texts


def test_texts_of_alerts_and_operators():
    rules = made("1m", ("a", "a", "a"))
    stages = {"pm10": "advisory", "pm25": "advisory", "o3": "warning"}
    said = {"light-1": ("산불 조심", 100), "light-2": ("", 100)}
    alerts = "오존 경보 · 초미세먼지 주의보 · 미세먼지 주의보"
    assert light_words.texts(rules, stages, said, 99) == [alerts, f"{alerts} · 산불 조심", alerts]
    assert light_words.texts(rules, {"pm10": "none"}, said, 99) == ["", "산불 조심", ""]
    assert light_words.texts(rules, {}, said, 100) == ["", "", ""]
    assert light_words.texts(rules, {"o3": "serious", "pm10": "warning"}, {}, 0)[0] == "오존 중대경보 · 미세먼지 경보"
    english = replace(rules, words=Words(pm25="PM2.5", warning="warning"))
    assert light_words.texts(english, {"pm25": "warning"}, {}, 0)[0] == "PM2.5 warning"


def test_a_text_is_told_at_once_and_goes_at_its_end():
    rules = made("1m", ("a", "a"))
    said = {"light-1": ("산불 조심", HOUR_0 + 3)}
    steps = [(n, air(n, [1], [1]), light_words.texts(rules, {}, said, n)) for n in range(HOUR_0, HOUR_0 + 5)]
    steps[0] = (*steps[0][:2], ["", ""])
    _, out = run(rules, steps)
    assert [[(m.light_id[-1], m.text) for m in messages] for messages in out] == [
        [("0", None), ("1", None)],
        [("1", "산불 조심")],
        [],
        [("1", None)],
        [],
    ]


def test_a_gray_light_still_says_what_people_say():
    message = one(HOUR_0, [1] * 3, [1] * 3, fault=True, people=["산불 조심"])
    assert (message.color, message.text) == ("gray", "산불 조심 · 점검중")
    assert one(HOUR_0, [1] * 3, [1] * 3, age=[20, 0, 0], people=["산불 조심"]).text == "산불 조심 · 인근 측정소"
    silent = made(words=Words(nearby="", out_of_service="", low_cost=""))
    assert one(HOUR_0, [1] * 3, [1] * 3, fault=True, rules=silent).text is None


# ------------------------------------------------------------------------------------------ laws


class OneLight:
    """One light in plain Python, from the rules as they are told in docs/lights.md."""

    def __init__(self, order, life, dwell=30, heartbeat=5):
        self.order, self.life, self.dwell, self.heartbeat = order, life, dwell, heartbeat
        self.seq, self.sent, self.decided, self.last = -1, None, -math.inf, None
        self.trues = []  # (slot, grade) since the light was last gray

    def decide(self, now, a, said):
        if now <= self.decided:
            return None
        self.decided = now
        state = self.judge(now, a)
        text = " · ".join(part for part in (said, state.pop("mark")) if part)
        if self.last == (state["grade"], text) and now - self.sent < self.heartbeat:
            return None
        self.last, self.sent, self.seq = (state["grade"], text), now, self.seq + 1
        return {**state, "seq": self.seq, "text": text or None}

    def judge(self, now, a):
        for s in self.order:
            covered = all(a.coverage[s, p] >= 0.75 and not np.isnan(a.mean[s, p]) for p in range(2))
            if covered and not a.fault[s].any() and now < a.as_of[s] + self.life[s]:
                break
        else:
            self.trues = []
            return {"grade": None, "pm10": None, "pm25": None, "as_of": now, "until": now + 15, "mark": "점검중"}
        pm10, pm25 = (max(0, math.floor(value + 0.5)) for value in a.mean[s].tolist())
        true = 1 + max(sum(pm10 > top for top in (30, 80, 150)), sum(pm25 > top for top in (15, 35, 75)))
        shown = self.color(now, true)
        mark = "인근 측정소" if s != self.order[0] else ""
        until = int(a.as_of[s] + self.life[s])
        return {
            "grade": shown,
            "pm10": pm10,
            "pm25": pm25,
            "as_of": int(a.as_of[s]),
            "until": until,
            "mark": mark,
            "station": s,
        }

    def color(self, now, true):
        self.trues.append((now, true))
        for grade in (4, 3, 2):
            better = []
            for slot, value in reversed(self.trues):
                if value >= grade:
                    break
                better.append(slot)
            if len(better) < len(self.trues) and (not better or now - better[-1] < self.dwell):
                return grade
        return 1


GRADED = st.sampled_from([5, 15.49, 15.5, 16, 34, 35.5, 40, 75.5, 90])


@st.composite
def days(draw):
    """Some hours of three stations: noise, outages, faults, gaps in coverage, late windows; and texts."""
    n = draw(st.integers(1, 90))
    seed = draw(st.integers(0, 2**32))
    trouble = draw(st.sampled_from([0.0, 0.02, 0.2]))
    levels = draw(st.lists(GRADED, min_size=1, max_size=4))
    random = np.random.default_rng(seed)
    now = HOUR_0 + np.cumsum(random.choice([1, 1, 1, 1, 2, 7, 40], n))
    as_of = np.full(3, NEVER)
    steps = []
    for slot in now.tolist():
        arrives = random.random(3) >= trouble
        as_of = np.where(arrives, [slot, slot - random.integers(0, 20), slot // 60 * 60], as_of)
        mean = np.column_stack([random.choice(levels, 3) * 2.0, random.choice(levels, 3)])
        mean[random.random((3, 2)) < trouble / 3] = NAN
        coverage = np.where(random.random((3, 2)) < trouble, random.choice([0.5, 0.7499], (3, 2)), 0.75)
        a = Air(mean, coverage, as_of.copy(), random.random((3, 2)) < trouble)
        said = random.choice(["", "", "fire"], 2).tolist()
        steps.append((slot, a, said))
        if random.random() < trouble:  # the same slot, or an older one, once more
            steps.append((slot - int(random.integers(0, 3)), a, said))
    return steps


@given(days(), st.sets(st.integers(0, 90), max_size=4))
@settings(max_examples=150, deadline=None)
def test_all_rules_against_one_light_in_plain_python_with_restarts(steps, restarts):
    rules = made("1m 5m 1h", ("abc", "cb"))
    state = lights.start(rules)
    plain = [OneLight(order, [15, 15, 120]) for order in ([0, 1, 2], [2, 1])]
    for i, (now, a, said) in enumerate(steps):
        if i in restarts:
            kept = msgspec.json.decode(msgspec.json.encode(lights.snapshot(rules, state)))
            state = lights.restore(rules, kept)
        state, messages = told(rules, state, now, a, said)
        found = {message.light_id: message for message in messages}
        for light, model in enumerate(plain):
            expected = model.decide(now, a, said[light])
            message = found.get(f"light-{light}")
            assert (message is None) == (expected is None)
            if message is None:
                continue
            assert message.seq == expected["seq"]
            assert (message.grade, message.pm10, message.pm25) == tuple(expected[k] for k in ("grade", "pm10", "pm25"))
            assert (message.as_of, message.valid_until) == (minute(expected["as_of"]), minute(expected["until"]))
            assert message.text == expected["text"]
            assert message.stations == (["abc"[expected["station"]]] if "station" in expected else [])
            assert (message.coverage is None) == (message.color == "gray")
            if message.color != "gray":
                assert message.coverage >= 0.75
                assert message.valid_until > minute(now)


@given(st.integers(0, 2**32), st.sampled_from([15.5, 35.5, 75.5]))
@settings(max_examples=8, deadline=None)
def test_noise_at_a_boundary_makes_at_most_four_changes_an_hour(seed, edge):
    random = np.random.default_rng(seed)
    n, hours = 40, 5
    above = random.random((60 * hours, n)) < np.linspace(0.01, 0.99, n)
    rules = many(n, n, 1.0)[0]
    rules = replace(rules, candidates=np.arange(n, dtype=np.int32)[:, None])
    state, shown = lights.start(rules), []
    for i, up in enumerate(above):
        state, _ = decide(rules, state, i, air(i, [0] * n, edge + np.where(up, 0.4, -0.4)), [""] * n)
        shown.append(state.grade)
    for one_light in np.array(shown).T:
        changes = np.flatnonzero(np.diff(one_light))
        for change in changes:
            assert ((changes >= change) & (changes < change + 60)).sum() <= 4


def test_four_changes_an_hour_is_the_most_that_a_boundary_makes():
    shown = np.array(colors([40, *([20] * 31 + [40]) * 5]))
    changes = np.flatnonzero(np.diff(shown))
    assert changes.size == 10
    assert max(((changes >= c) & (changes < c + 60)).sum() for c in changes) == 4


@given(days())
@settings(max_examples=60, deadline=None)
def test_worse_air_shows_at_the_slot_that_decides(steps):
    rules = made("1m 5m 1h")
    state = lights.start(rules)
    for now, a, _ in steps:
        state, sent = decide(rules, state, now, a, [""])
        assert (sent.true <= sent.grade).all()
        assert not ((sent.true > 0) & (sent.grade == 0)).any()
        assert ((sent.waits >= 0) & (sent.waits < rules.dwell)).all()
        assert not sent.waits[sent.true == sent.grade].any()


# ------------------------------------------------------------------------------------------ going on


def test_lights_come_and_go_between_runs():
    before = made("1m", ("a", "a"))
    state, _ = told(before, lights.start(before), HOUR_0, air(HOUR_0, [1], [40]))
    kept = lights.snapshot(before, state)
    kept["gone"] = kept.pop("light-1")
    after = lights.restore(before, kept)
    assert (after.seq.tolist(), after.grade.tolist(), after.text) == ([0, -1], [3, -1], ["", ""])
    _, messages = told(before, after, HOUR_0 + 1, air(HOUR_0 + 1, [1], [40]))
    assert [(m.light_id, m.seq) for m in messages] == [("light-1", 0)]


def test_a_lost_snapshot_goes_on_from_the_topic():
    rules = made("1m", ("a", "a", "a"))
    _, first = told(rules, lights.start(rules), HOUR_0, air(HOUR_0, [1], [40]), ["fire", "", ""])
    newest = [msgspec.structs.replace(first[0], seq=41), msgspec.structs.replace(first[1], light_id="gone")]
    state = lights.adopt(rules, lights.start(rules), newest)
    assert (state.seq.tolist(), state.grade.tolist(), state.text) == ([41, -1, -1], [3, -1, -1], ["fire", "", ""])
    old = msgspec.structs.replace(first[0], seq=40, text="older")
    again = lights.adopt(rules, lights.start(rules), [newest[1], newest[0], old, first[2]])
    assert (again.seq.tolist(), again.text) == ([41, -1, 0], ["fire", "", ""]), "what is left out hides nothing"
    for now in (HOUR_0 - 5, HOUR_0):  # decisions that were made, replayed
        _, messages = told(rules, state, now, air(now, [1], [80]))
        assert "light-0" not in {m.light_id for m in messages}
    state, messages = told(rules, state, HOUR_0 + 1, air(HOUR_0 + 1, [1], [20]), ["fire", "", ""])
    assert "light-0" not in {m.light_id for m in messages}  # better air waits anew
    for now in range(HOUR_0 + 2, HOUR_0 + 32):
        state, messages = told(rules, state, now, air(now, [1], [20]), ["fire", "", ""])
    assert [(m.light_id, m.color, m.seq) for m in messages][:1] == [("light-0", "green", 48)]


def test_only_newer_messages_are_adopted():
    rules = made("1m", "a")
    state, [message] = told(rules, lights.start(rules), HOUR_0, air(HOUR_0, [1], [40]))
    for seq in (0, -5):
        old = msgspec.structs.replace(message, seq=seq, color="red", grade=4)
        assert lights.snapshot(rules, lights.adopt(rules, state, [old])) == lights.snapshot(rules, state)
    half = message.as_of + timedelta(seconds=1)
    later = msgspec.structs.replace(message, seq=1, as_of=half)
    assert lights.adopt(rules, state, [later]).decided.tolist() == [HOUR_0 + 1]
    earlier = msgspec.structs.replace(message, seq=1, as_of=message.as_of - timedelta(hours=1))
    assert lights.adopt(rules, state, [earlier]).decided.tolist() == [HOUR_0]
    gray = LightState(
        **{**msgspec.structs.asdict(later), **dict.fromkeys(("grade", "parameter", "pm10", "pm25"))} | {"color": "gray"}
    )
    _, [shown] = told(rules, lights.adopt(rules, state, [gray]), HOUR_0 + 2, air(HOUR_0 + 2, [1], [1]))
    assert (shown.color, shown.seq) == ("blue", 2)  # from gray the true grade at once
    still = lights.adopt(rules, state, [msgspec.structs.replace(gray, text="점검중")])
    assert told(rules, still, HOUR_0 + 2, air(HOUR_0 + 2, [1], [1], fault=True))[1] == []  # as it was told


def test_some_of_the_new_states_in_an_order():
    rules = made("1m 1m", ("a", "b", "ab"))
    a = air(HOUR_0, [10, 50], [1, 40], age=[15, 0])
    _, sent = decide(rules, lights.start(rules), HOUR_0, a, ["", "fire", ""])
    whole = light_words.messages(rules, sent, a, SEOUL)
    rows = np.array([2, 0])
    assert light_words.messages(rules, lights.some(sent, rows), a, SEOUL) == [whole[2], whole[0]]
    assert light_words.messages(rules, lights.some(sent, rows[:0]), a, SEOUL) == []


def test_nothing_is_written_to():
    rules = made()
    a = air(HOUR_0, [10, 50, 100], [1, 1, 1], age=[20, 0, 0])
    state = lights.start(rules)
    for array in (
        a.mean,
        a.coverage,
        a.as_of,
        a.fault,
        rules.candidates,
        rules.life,
        *map(state.__getattribute__, State.__slots__[:-1]),
    ):
        array.flags.writeable = False
    kept = lights.snapshot(rules, state)
    first = told(rules, state, HOUR_0, a)
    assert told(rules, state, HOUR_0, a)[1] == first[1]
    assert lights.snapshot(rules, state) == kept
    adopted = lights.adopt(rules, state, first[1])
    assert adopted.seq[0] == 0
    assert lights.snapshot(rules, state) == kept


def many(n, stations, usable):
    random = np.random.default_rng(1)
    rules = made()
    candidates = np.stack([random.permutation(stations) for _ in range(n)]).astype(np.int32)
    rules = replace(
        rules,
        lights=[f"light-{i}" for i in range(n)],
        stations=[f"s{i}" for i in range(stations)],
        candidates=candidates,
        life=np.full(stations, 15),
        low_cost=np.ones(stations, bool),
    )
    a = air(HOUR_0, random.uniform(0, 200, stations), random.uniform(0, 100, stations))
    a.fault[random.random(stations) >= usable] = True
    a.fault[0] = usable == 0
    return rules, a


@pytest.mark.parametrize(
    ("n", "stations", "usable", "limit"),
    [(13, 48, 0.9, 0.001), (13, 48, 0.0, 0.001), (2000, 5000, 0.9, 0.05), (2000, 5000, 0.0002, 0.05)],
)
def test_a_decision_is_quick(n, stations, usable, limit):
    """In seconds of the processor, so that a busy machine fails nothing."""
    rules, a = many(n, stations, usable)
    people = [""] * n
    state = lights.start(rules)
    took = []
    for i in range(10):
        begun = time.thread_time()
        state, sent = decide(rules, state, HOUR_0 + i, replace(a, as_of=a.as_of + i), people)
        took.append(time.thread_time() - begun)
    assert sent.light.size in (0, n)
    assert min(took) < limit
