"""Decisions for lights, rule by rule: which air can be trusted, its grade, and why a light is gray."""

import math
from dataclasses import replace

import pytest

from schemas.light import LightState
from tests.support.decisions import HOUR_0, NAN, made, minute, one


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
    rules = made("10m 12m", ("ab",), valid_for="20m", valid_for_slow="110m", coverage=0.9)
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
