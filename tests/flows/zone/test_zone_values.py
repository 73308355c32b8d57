"""What a zone counts: values that are new and do not fail, in the slot and the zone that are theirs."""

import pytest

from flows.zone.zone import Zone
from schemas.measured import AIR
from schemas.quality import Flag
from tests.support.zones import HOUR, START, Told, air, ended, play, windows

pytestmark = pytest.mark.usefixtures("small_rooms")


def test_hourly_stations_stamped_at_half_past(make_city, make_readings):
    city = make_city(("1h",) * 3, windows=("1h", "2h"))
    rows = [(s, START + 1800 + h * HOUR, {"pm10": 10.0 * h + s}) for h in range(6) for s in range(3)]
    told, zone = play(city, make_readings, rows)
    assert told.newest() == windows(city, told, zone)
    # The last hour is not over when the last of it is read: its slot is half past.
    assert ended(told, "b", "1h") == [60, 120, 180, 240, 300]
    assert told.rows["b", "pm10", "2h", START // 60 + 180] == ((11 + 21) * 10**9, 2, 2, 0)


def test_a_message_partly_new_counts_what_is_new(make_city, make_readings):
    second = START + 60
    rows = [
        (0, second, {"pm10": 10.0}),
        (0, second, {"pm10": 99.0, "pm25": 5.0, "humidity": 50.0}),
        (0, second, {"pm25": 7.0}),
        (0, second, {}),
    ]
    told, _ = play(make_city(("1m",)), make_readings, rows, [1, 2])
    assert told.verdict == {0: "stored", 1: "stored", 2: "duplicate", 3: "duplicate"}
    assert [dict(zip(AIR.values, told.stored[i][2], strict=True))["pm10"] for i in (0, 1)] == [10.0, None]
    assert told.stored[1][2][AIR.values.index("pm25")] == 5.0
    assert told.stored[1][3][0] == Flag.MISSING


def test_a_second_is_rounded_up(make_city, make_readings):
    readings = make_readings(
        [(0, START + 60, {"pm10": 1.0}), (0, START + 60, {"pm10": 2.0}), (0, START + 61, {"pm10": 3.0})]
    )
    readings.observed[1] -= 999_999  # just after second 59: the second that ends at 60
    readings.observed[2] -= 999_999  # just after 60: in the next slot
    zone = Zone(make_city(("1m",)), "city")
    told = Told(zone, make_city(("1m",)))
    told.hear(zone.take(readings, last=True))
    assert told.verdict == {0: "stored", 1: "duplicate", 2: "stored"}
    assert zone.grid.newest == START // 60 + 2


def test_failing_values_are_stored_and_not_counted(make_city, make_readings):
    rows = [(0, START + 60 * i, {"pm10": value}) for i, value in enumerate((10.0, 5000.0, -7.0, 30.0, 900.0), 1)]
    readings = make_readings(rows)
    readings.status[3] = 9
    zone = Zone(make_city(("1m",)), "city")
    told = Told(zone, make_city(("1m",)))
    told.hear(zone.take(readings))
    told.hear(zone.take(make_readings([(0, START + 600, {})], 5), last=True))
    assert [told.stored[i][3][0] for i in range(6)] == [1, 4, 4, 4, 3, 9]
    assert told.rows["a", "pm10", "10m", START // 60 + 10][:3] == (910 * 10**9, 2, 2)


def test_two_zones_know_nothing_of_each_other(make_city, make_readings):
    city = make_city(("1m",) * 5, zones="xyxyx")
    rows = air(5, ("1m",) * 5, 1)
    for zone_id, members in (("x", (0, 2, 4)), ("y", (1, 3))):
        zone = Zone(city, zone_id)
        told = Told(zone, city)
        mine = [row for row in rows if row[0] in members]
        told.hear(zone.take(make_readings(mine), last=True))
        assert {key[0] for key in told.rows} == {"abcde"[i] for i in members}
        assert told.newest() == windows(city, told, zone)
