"""Slots worth a decision, by example; ``tests/flows/test_watch_skipped.py`` proves that no other would say anything."""

from dataclasses import replace

import numpy as np
import pytest

from flows.kernels import light_changes, lights
from flows.kernels.lights import ALWAYS, NEVER, State
from flows.signals import light_rules
from schemas.city import City, Identity, Light, Station
from schemas.city_rules import Lights

BANDS = np.array([[30.0, 80.0, 150.0], [15.0, 35.0, 75.0]])
NAN = np.nan
NOW = 1000


def made(names=("abc",), every="1m 1m 1h"):
    """Rules of lights that name their stations; one that names none has none near enough."""
    stations = [
        Station(id="abcdefghijkl"[i], lat=35.2, lon=128.9, every=cadence, zone="z")
        for i, cadence in enumerate(every.split())
    ]
    there = [
        Light(id=f"light-{i}", lat=35.2 if chosen else 38.0, lon=128.9, stations=list(chosen))
        for i, chosen in enumerate(names)
    ]
    city = City(city=Identity(id="tiny", name="Tiny", timezone="Asia/Seoul"), stations=stations, lights=there)
    return light_rules.rules(city, Lights(), BANDS, "z")


def changed(rules, *steps):
    """Whether each step is worth a decision: PM10, PM2.5, coverage and age of each station, a step a slot."""
    n = len(steps)
    air = np.array(steps, float).reshape(n, -1, 4)
    slots = NOW + np.arange(n)
    coverage = np.repeat(air[:, :, 2:3], 2, axis=2)
    return light_changes.changed(rules, slots, air[:, :, :2], coverage, slots[:, None] - air[:, :, 3].astype(int))


GOOD, OTHER = (10, 5, 1, 0), (100, 5, 1, 0)


@pytest.mark.parametrize(
    ("first", "second", "differs"),
    [
        (GOOD, GOOD, False),
        (GOOD, (30.49, 15.49, 0.75, 14), False),  # other air, the same grade
        (GOOD, (30.5, 5, 1, 0), True),
        (GOOD, (10, 15.5, 1, 0), True),
        ((31, 5, 1, 0), (80.49, 5, 1, 0), False),
        ((31, 5, 1, 0), (10, 16, 1, 0), False),  # the other decides, the grade is the same
        ((31, 16, 1, 0), (81, 16, 1, 0), True),
        ((31, 16, 1, 0), (31, 36, 1, 0), True),
        ((81, 36, 1, 0), (151, 36, 1, 0), True),
        ((81, 36, 1, 0), (81, 76, 1, 0), True),
        ((-5, 5, 1, 0), (0, 5, 1, 0), False),
        (GOOD, (10, 5, 0.7499, 0), True),
        (GOOD, (NAN, 5, 1, 0), True),
        (GOOD, (10, NAN, 1, 0), True),
        (GOOD, (10, 5, 1, 15), True),  # too old
        (GOOD, (10, 5, 1, 14), False),
    ],
)
def test_a_slot_is_looked_at_where_the_grade_or_the_station_differs(first, second, differs):
    rules = made(("ab",), "1m 1m")
    for one, two in ((first, second), (second, first)):
        assert changed(rules, [one, GOOD], [two, GOOD], [two, GOOD]).tolist() == [True, differs, False]
        alone = changed(made(("a",), "1m"), [one], [two], [two])
        assert alone.tolist() == [True, differs, False], "gray and colored are told apart"


def test_what_the_light_does_not_follow_now_does_not_matter():
    rules = made(("ba", "cb"))
    bad = (10, 5, 0.5, 0)
    assert changed(rules, [GOOD] * 3, [OTHER, GOOD, GOOD], [bad, GOOD, GOOD]).tolist() == [True, False, False]
    assert changed(rules, [GOOD] * 3, [GOOD, bad, GOOD]).tolist() == [True, True]
    assert changed(rules, [GOOD] * 3, [GOOD, GOOD, (10, 5, 1, 119)]).tolist() == [True, False]
    assert changed(rules, [GOOD] * 3, [GOOD, GOOD, (10, 5, 1, 120)]).tolist() == [True, True]
    assert changed(rules, [GOOD] * 3, [GOOD, GOOD, OTHER]).tolist() == [True, True]


def test_a_light_with_fewer_stations_than_others_is_gray_without_them():
    bad = (10, 5, 0.5, 0)
    rules = made(("b", "ac"))
    assert changed(rules, [GOOD, bad, GOOD], [GOOD, bad, bad], [GOOD, GOOD, bad]).tolist() == [True, False, True]
    rules = made(("", "b", "cb"))
    assert changed(rules, [GOOD, bad, GOOD], [OTHER, bad, GOOD], [OTHER, GOOD, GOOD]).tolist() == [True, False, True]


def test_a_place_far_down_and_a_worse_grade_of_the_first_are_not_the_same():
    rules = made(("abcdefghij",), " ".join(["1m"] * 10))
    bad, moderate = (10, 5, 0.5, 0), (31, 5, 1, 0)
    for place in range(1, 10):
        far = [bad] * place + [GOOD] * (10 - place)
        for other in (GOOD, moderate, OTHER):
            assert changed(rules, far, [other] + [GOOD] * 9).tolist() == [True, True]


def test_one_may_be_enough():
    rules = replace(made(("a",), "1m"), needs=np.array([False, True]))
    steps = [(NAN, 5, 1, 0)], [(10, 5, 1, 0)], [(100, 5, 1, 0)], [(100, NAN, 1, 0)], [(NAN, NAN, 1, 0)]
    assert changed(rules, *steps).tolist() == [True, False, True, True, False]


def test_what_is_poorly_covered_is_no_grade():
    rules = replace(made(("a",), "1m"), needs=np.array([False, True]))
    mean = np.array([[[10.0, 5.0]], [[160.0, 5.0]], [[160.0, 5.0]]])
    coverage = np.array([[[1.0, 1.0]], [[0.7, 1.0]], [[0.75, 1.0]]])
    slots = np.arange(NOW, NOW + 3)
    found = light_changes.changed(rules, slots, mean, coverage, slots[:, None])
    assert found.tolist() == [True, False, True]


def test_lights_without_stations_and_no_lights_change_nothing():
    assert changed(made(("",), "1m"), [GOOD], [OTHER]).tolist() == [True, False]
    assert changed(made(("",)), [GOOD] * 3, [OTHER] * 3).tolist() == [True, False]
    assert changed(made(()), [GOOD] * 3, [OTHER] * 3).tolist() == [True, False]
    assert changed(made(("", "a")), [GOOD] * 3, [OTHER] * 3).tolist() == [True, True]


def state(*rows):
    """State of lights by the slots of their last message and decision, and since when each grade waits."""
    sent, decided, below = zip(*rows, strict=True)
    n = len(rows)
    zero = np.zeros(n, np.int64)
    return State(zero, zero, np.array(sent), np.array(decided), np.array(below), [""] * n)


def test_a_heartbeat_is_due():
    rules = made(("a", "a"))
    none = [ALWAYS] * 3
    assert light_changes.due(rules, state((100, 103, none), (102, 103, [NEVER] * 3))) == 105
    assert light_changes.due(rules, state((102, 103, none), (101, 103, none))) == 106
    assert light_changes.due(rules, lights.start(rules)) < 0
    nobody = made(())
    assert light_changes.due(nobody, lights.start(nobody)) == ALWAYS


def test_a_better_grade_is_due_after_the_dwell():
    rules = replace(made(("a", "a")), heartbeat=1000)
    none = [ALWAYS] * 3
    waits = [ALWAYS, 90, 80]
    assert light_changes.due(rules, state((100, 103, none), (102, 103, waits))) == 110
    assert light_changes.due(rules, state((100, 110, none), (102, 110, waits))) == 120, "what was due is decided"
    assert light_changes.due(rules, state((100, 119, none), (102, 120, waits))) == 1100
    assert light_changes.due(rules, state((100, 119, [NEVER, NEVER, 95]), (102, 120, waits))) == 125
    assert light_changes.due(replace(rules, dwell=7), state((100, 96, none), (102, 96, waits))) == 97
