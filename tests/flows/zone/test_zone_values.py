"""What a zone counts: values that are new and do not fail, in the slot and the zone that are theirs."""

from schemas.measured import AIR
from schemas.quality import Flag
from tests.support.zones import HOUR, START, ZoneLog, air, ended, expected, new_zone, play


def test_hourly_stations_stamped_at_half_past(make_city, make_readings):
    city = make_city(("1h",) * 3, windows=("1h", "2h"))
    rows = [(s, START + 1800 + h * HOUR, {"pm10": 10.0 * h + s}) for h in range(6) for s in range(3)]
    log, zone = play(city, make_readings, rows)
    assert log.newest() == expected(city, log, zone)
    # The last hour is not over when the last of it is read: its slot is half past.
    assert ended(log, "b", "1h") == [60, 120, 180, 240, 300]
    assert log.rows["b", "pm10", "2h", START // 60 + 180][:4] == ((11 + 21) * 10**9, 2, 2, 0)


def test_a_message_partly_new_counts_what_is_new(make_city, make_readings):
    second = START + 60
    rows = [
        (0, second, {"pm10": 10.0}),
        (0, second, {"pm10": 99.0, "pm25": 5.0, "humidity": 50.0}),
        (0, second, {"pm25": 7.0}),
        (0, second, {}),
    ]
    log, _ = play(make_city(("1m",)), make_readings, rows, [1, 2])
    assert log.verdict == {0: "accepted", 1: "accepted", 2: "superseded", 3: "duplicate"}
    assert [dict(zip(AIR.values, log.accepted[i][2], strict=True))["pm10"] for i in (0, 1)] == [10.0, None]
    assert log.accepted[1][2][AIR.values.index("pm25")] == 5.0
    assert log.accepted[1][3][0] == Flag.MISSING


def test_a_second_is_rounded_up(make_city, make_readings):
    readings = make_readings(
        [(0, START + 60, {"pm10": 1.0}), (0, START + 60, {"pm10": 2.0}), (0, START + 61, {"pm10": 3.0})]
    )
    readings.observed[1] -= 999_999  # just after second 59: the second that ends at 60
    readings.observed[2] -= 999_999  # just after 60: in the next slot
    zone = new_zone(make_city(("1m",)))
    log = ZoneLog(zone, make_city(("1m",)))
    log.add(zone.take(readings, end_of_input=True))
    assert log.verdict == {0: "accepted", 1: "superseded", 2: "accepted"}
    assert zone.grid.newest == START // 60 + 2


def test_failing_values_are_stored_and_not_counted(make_city, make_readings):
    rows = [(0, START + 60 * i, {"pm10": value}) for i, value in enumerate((10.0, 5000.0, -7.0, 30.0, 900.0), 1)]
    readings = make_readings(rows)
    readings.status[3] = 9
    zone = new_zone(make_city(("1m",)))
    log = ZoneLog(zone, make_city(("1m",)))
    log.add(zone.take(readings))
    log.add(zone.take(make_readings([(0, START + 600, {})], 5), end_of_input=True))
    assert [log.accepted[i][3][0] for i in range(6)] == [1, 4, 4, 4, 3, 9]
    assert log.rows["a", "pm10", "10m", START // 60 + 10][:3] == (910 * 10**9, 2, 2)


def test_two_zones_know_nothing_of_each_other(make_city, make_readings):
    city = make_city(("1m",) * 5, zones="xyxyx")
    rows = air(5, ("1m",) * 5, 1)
    for zone_id, members in (("x", (0, 2, 4)), ("y", (1, 3))):
        zone = new_zone(city, name=zone_id)
        log = ZoneLog(zone, city)
        mine = [row for row in rows if row[0] in members]
        log.add(zone.take(make_readings(mine), end_of_input=True))
        assert {key[0] for key in log.rows} == {"abcde"[i] for i in members}
        assert log.newest() == expected(city, log, zone)
