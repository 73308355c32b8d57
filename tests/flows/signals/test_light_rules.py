"""Whom a light follows: its own stations in their order, others by their distance, and the first that can be used."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels import lights
from flows.kernels.light_rules import distance_km
from flows.kernels.lights import decide
from flows.signals import light_rules
from flows.signals import words as light_words
from schemas.city import Station
from schemas.city_rules import Lights
from tests.support.decisions import BANDS, HOUR_0, SEOUL, air, city, told


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
    apart = float(distance_km(np.array([[35.3, 128.9]]), 35.2, 128.9)[0])
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
    assert distance_km(np.array([a], float), *b)[0] == pytest.approx(km, abs=2e-3)
    assert distance_km(np.array([b], float), *a)[0] == pytest.approx(km, abs=2e-3)


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
