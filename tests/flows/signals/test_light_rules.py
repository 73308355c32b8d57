"""Stations that a light follows: its own in their order, others by their distance."""

import math

import msgspec
import numpy as np

from flows.kernels import lights
from flows.kernels.light_rules import distance_km
from flows.signals import light_rules
from schemas.city import Station
from schemas.city_rules import LightSettings
from tests.support.decisions import BANDS, HOUR_0, air, city, told


def test_named_stations_stand_in_their_order_at_any_distance():
    whole = city([(35.2, 128.9, "1m"), (36.9, 128.9, "1m"), (35.2, 128.91, "1m")], [(35.2, 128.9, "bca")])
    chosen = light_rules.preference(whole, 10)
    assert [order.tolist() for order in chosen.stations] == [[1, 2, 0]]
    assert light_rules.rules(whole, LightSettings(), BANDS, "z").candidates.tolist() == [[1, 2, 0]]


def test_others_follow_the_nearest_first_up_to_the_limit():
    # One degree of latitude is 111.195 km on this sphere.
    north = [35.2 + km / 111.195 for km in (9.9, 0.5, 10.1, 3.0, 0.5)]
    whole = city([(lat, 128.9, "1m") for lat in north], [(35.2, 128.9, ""), (38.0, 128.9, "")])
    chosen = light_rules.preference(whole, 10)
    assert [order.tolist() for order in chosen.stations] == [[1, 4, 3, 0], []]
    rules = light_rules.rules(whole, LightSettings(), BANDS, "z")
    assert rules.candidates.tolist() == [[1, 4, 3, 0], [-1] * 4]
    wider = light_rules.rules(whole, LightSettings(nearest_within_km=10.2), BANDS, "z")
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


def test_a_light_keeps_to_the_zone_of_its_first_station():
    places = [(35.2, 128.9, "1m"), (35.21, 128.9, "1m"), (35.22, 128.9, "1h"), (35.23, 128.9, "1m")]
    whole = city(places, [(35.2, 128.9, ""), (35.23, 128.9, ""), (35.2, 128.9, "db")], zones="xyxy")
    chosen = light_rules.preference(whole, 10)
    assert chosen.zones == ["x", "y", "y"]
    assert [order.tolist() for order in chosen.stations] == [[0, 2], [3, 1], [3, 1]]
    x, y = (light_rules.rules(whole, LightSettings(), BANDS, zone) for zone in "xy")
    assert (x.lights, x.stations, x.candidates.tolist()) == (["light-0"], ["a", "c"], [[0, 1]])
    assert (y.lights, y.stations, y.candidates.tolist()) == (["light-1", "light-2"], ["b", "d"], [[1, 0], [1, 0]])
    assert (x.life.tolist(), x.low_cost.tolist()) == ([15, 120], [True, False])


def test_a_zone_without_lights_and_a_city_without_stations():
    none = light_rules.rules(city([(35.2, 128.9, "1m")], []), LightSettings(), BANDS, "z")
    state, messages = told(none, lights.start(none), 5, air(5, [1], [1]), [])
    assert (state.grade.size, messages) == (0, [])
    blind = light_rules.rules(city([], [(35.2, 128.9, "")]), LightSettings(), BANDS, "")
    _, [message] = told(blind, lights.start(blind), HOUR_0, air(HOUR_0, [], []))
    assert (message.color, message.reason) == ("gray", "no station is near enough")
