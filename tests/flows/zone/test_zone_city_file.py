"""A zone goes on with a new city file, or refuses it: stations come and go, cadences change, a horizon grows."""

import pickle

import pytest

from schemas.errors import ConfigurationError
from tests.support.zones import HOUR, START, ZoneLog, ended, new_zone, play, steady


@pytest.mark.parametrize("ids", ["abcd", "dabc", "ab", "cb", "bcad"])
def test_stations_come_and_go_with_a_new_city_file(make_city, make_readings, ids):
    """A new station starts empty, one that is gone goes; those that stay know nothing of it."""
    rows = [*steady(("1m",) * 3, 2), (0, START + 250 * 60, {"pm10": 77.0}), (1, START + 30 * 60 - 7, {"pm10": 99.0})]
    later = steady(("1m",) * 3, 4, start=START + 2 * HOUR)[: 3 * 180]
    same_city, stays = make_city(("1m",) * 3), set("abc") & set(ids)
    log, _ = play(same_city, make_readings, rows + later, [len(rows)])

    zone = new_zone(same_city)
    later_log = ZoneLog(zone, same_city)
    later_log.add(zone.take(make_readings(rows)))
    city = make_city(("1m",) * len(ids), ids=ids)
    again = new_zone(city)
    again.restore(pickle.loads(pickle.dumps(zone.snapshot())))
    later_log.ids = list(ids)
    moved = [(ids.index("abc"[s]), t, measured) for s, t, measured in later if "abc"[s] in stays]
    later_log.add(again.take(make_readings(moved, len(rows)), end_of_input=True))
    for station in stays:
        assert {key: row for key, row in later_log.rows.items() if key[0] == station} == {
            key: row for key, row in log.rows.items() if key[0] == station
        }
    assert all(key[3] <= START // 60 + 120 for key in later_log.rows if key[0] not in stays)


def test_an_added_cadence_starts_where_the_zone_is(make_city, make_readings):
    rows = steady(("1m",) * 3, 3)
    zone = new_zone(make_city(("1m",) * 3))
    zone.take(make_readings(rows[:180]))
    city = make_city(("1m", "1m", "1m", "1h"))
    again = new_zone(city)
    again.restore(pickle.loads(pickle.dumps(zone.snapshot())))
    log = ZoneLog(again, city)
    log.add(again.take(make_readings([*rows[180:], (3, START + 3 * HOUR, {"pm10": 1.0})], 180), end_of_input=True))
    assert ended(log, "d", "1h") == [180]


@pytest.mark.parametrize("change", [{"horizon": "5h"}, {"windows": ("10m", "1h", "2d")}])
@pytest.mark.parametrize("grows", [True, False])
def test_another_shape_is_refused_with_its_cure(make_city, make_readings, change, grows):
    before, after = ({}, change) if grows else (change, {})
    zone = new_zone(make_city(**before))
    zone.take(make_readings(steady(("1m",) * 3, 3)))
    with pytest.raises(ConfigurationError, match="city file changed .* cityair rebuild"):
        new_zone(make_city(**after)).restore(zone.snapshot())


def test_a_station_may_change_its_cadence(make_city, make_readings):
    rows = steady(("1m",) * 3, 3)
    zone = new_zone(make_city(("1m",) * 3))
    log = ZoneLog(zone, make_city(("1m",) * 3))
    log.add(zone.take(make_readings(rows[:270])))
    again = new_zone(make_city(("1m", "1m", "10m")))
    again.restore(pickle.loads(pickle.dumps(zone.snapshot())))
    log.add(again.take(make_readings(rows[270:], 270), end_of_input=True))
    whole, _ = play(make_city(("1m",) * 3), make_readings, rows)
    assert log.newest()[0] == whole.newest()[0]  # what is found is found cell by cell, and its cells are longer now
