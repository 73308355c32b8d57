"""When a zone closes a step: wild, silent and few stations, and readings that wait, are of the future or too late."""

import numpy as np
import pytest

from flows.state.grid import slot_of
from tests.support.zones import HOUR, START, ZoneLog, ended, expected, new_zone, play, same, steady


def test_one_wild_sensor_moves_nothing(make_city, make_readings):
    every = ("1m",) * 4
    tame = steady(every[:3], 3)
    wild = [(3, second + 86400 * 40, {"pm10": 99.0}) for _, second, _ in tame[::3]]
    rows = sorted(tame + wild, key=lambda row: row[1] % (86400 * 40))
    log, zone = play(make_city(every), make_readings, rows, range(100, len(rows), 100), crash=range(9))
    alone, _ = play(make_city(every), make_readings, tame)
    assert log.rows == alone.rows
    assert zone.watermark.current == START // 60 + 180
    assert [log.verdict[i] for i, row in enumerate(rows) if row[0] == 3] == ["future"] * len(wild)


def test_future_when_the_clock_stays_away_for_an_hour(make_city, make_readings):
    rows = [*steady(("1m",) * 3, 3), *steady(("1m",) * 3, 1, start=START + 3 * HOUR)]
    at = 3 * 30  # after half an hour
    rows.insert(
        at, (0, START + 30 * 60 + 150 * 60 + 60, {"pm10": 1.0})
    )  # two and a half hours ahead: waits, and goes in time
    rows.insert(
        at + 1, (1, START + 300 * 60, {"pm10": 1.0})
    )  # four and a half hours ahead: the clock comes near too late
    for cuts in ((), range(1, len(rows))):
        zone = new_zone(make_city(("1m",) * 3))
        log, judged_at = ZoneLog(zone, make_city(("1m",) * 3)), {}
        for begin, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
            log.add(zone.take(make_readings(rows[begin:end], begin)))
            judged_at |= {koff: end - 1 for koff in log.verdict if koff not in judged_at}
        assert log.verdict[at] == "accepted"
        assert log.verdict[at + 1] == "future"
        if len(cuts) > 1:
            clock = [rows[judged_at[koff]][1] // 60 - START // 60 for koff in (at, at + 1)]
            assert clock == [181 - 120, 30 + 60], "as soon as it is within the horizon; when an hour has passed"


@pytest.mark.parametrize("minutes_behind", [119, 120, 121])
def test_too_late_is_older_than_the_horizon(make_city, make_readings, minutes_behind):
    rows = [*steady(("1m",) * 3, 4, value=20.0), (0, START + 240 * 60 - minutes_behind * 60 - 30, {"pm25": 1.0})]
    log, _ = play(make_city(("1m",) * 3), make_readings, rows)
    slot = int(slot_of(np.array([rows[-1][1]]))[0])
    assert log.verdict[len(rows) - 1] == ("too_late" if slot < START // 60 + 240 - 120 else "accepted")
    assert (slot < START // 60 + 120) == (minutes_behind == 121)


@pytest.mark.parametrize("heard", [1, 2])
@pytest.mark.parametrize("cuts", [(), range(1, 100)])
def test_a_zone_of_which_few_report_gets_its_means_at_the_end(make_city, make_readings, heard, cuts):
    every = ("1m",) * 5
    rows = steady(every[:heard], 2)
    log, zone = play(make_city(every), make_readings, rows, cuts)
    assert set(log.verdict.values()) == {"accepted"}
    assert ended(log, "a") == list(range(10, 121, 10))
    assert log.newest() == expected(make_city(every), log, zone)


@pytest.mark.parametrize("heard", [1, 2])
def test_a_zone_of_which_few_report_gets_a_clock(make_city, make_readings, heard):
    """Two that walk an hour together are enough, and one alone after two horizons, of two hours each."""
    every = ("1m",) * 5
    rows = steady(every[:heard], 5)
    cuts = range(7, len(rows), 7)
    log, zone = play(make_city(every), make_readings, rows, cuts, crash=range(50), last=False)
    one, _ = play(make_city(every), make_readings, rows, last=False)
    assert zone.watermark.quorum == heard
    assert ended(log, "a") == list(range(10, 301, 10))
    same(log, one)


def test_a_wild_sensor_of_long_ago_is_no_agreement_with_the_last_one(make_city, make_readings):
    """When one station is all that is left to agree, what another said of the future is forgotten."""
    rows = [(0, START + 86400 * 2, {"pm10": 1.0}), *((1, START + 60 * m, {"pm10": 2.0}) for m in range(1, 301))]
    log, zone = play(
        make_city(("1m",) * 5),
        make_readings,
        rows,
        range(7, len(rows), 7),
        crash=range(40),
        last=False,
    )
    assert zone.watermark.quorum == 1
    assert [log.verdict.pop(0), *set(log.verdict.values())] == ["future", "accepted"]
    assert zone.watermark.current == START // 60 + 300


@pytest.mark.parametrize("room", [100_000, 5])
def test_one_batch_may_hold_any_number_of_turns(make_city, make_readings, room):
    """A clock half an hour beyond the horizon ahead: each reading waits for half an hour, and goes at a row of its own."""
    every = ("1m",) * 4
    rows = [(s, t + (s == 3) * 150 * 60, measured) for s, t, measured in steady(every, 12)]
    log, zone = play(make_city(every, room=room), make_readings, rows)
    verdicts = [log.verdict[i] for i, row in enumerate(rows) if row[0] == 3]
    if room == 5:
        assert set(verdicts) == {"future"}
    else:
        assert verdicts == ["accepted"] * 690 + ["future"] * 30
    assert log.newest() == expected(make_city(every), log, zone)


def test_a_cadence_holds_no_other_up(make_city, make_readings):
    every = ("1m", "1m", "1m", "1h")
    rows = [row for row in steady(every, 3) if row[0] < 3 or row[1] <= START + HOUR]
    log, _ = play(make_city(every), make_readings, rows, last=False)
    assert ended(log, "a") == list(range(10, 181, 10))
    assert ended(log, "d", "1h") == [60]
    # Without its second hour it is evaluated 45 minutes past it; there are no values, and of two hours there is one.
    assert ended(log, "d", "2h") == [60, 120]


@pytest.mark.parametrize("absent", [0, 1, 2, 3])
def test_a_step_closes_when_all_that_are_awake_have_reported(make_city, make_readings, absent):
    every = ("1m",) * 4
    city = make_city(every)
    rows = [row for row in steady(every, 1) if row[0] != absent or row[1] <= START + 15 * 60]
    zone = new_zone(city)
    closed = []
    for i, row in enumerate(rows):
        zone.take(make_readings([row], i))
        closed.append(zone.cadences[0].evaluated_until - START // 60)
    first = {step: rows[closed.index(step)][:2] for step in (10, 20, 30)}
    others = [s for s in range(4) if s != absent]
    assert first[10] == (3, START + 600), "the last of four"
    assert first[20] == (others[-1], START + 1200), "asleep since it lags three cadences"
    assert first[30] == (others[-1], START + 1800)


def test_a_station_just_gone_is_waited_for_a_minute(make_city, make_readings):
    every = ("1m",) * 4
    rows = [row for row in steady(every, 1) if row[0] != 3 or row[1] <= START + 18 * 60]
    zone = new_zone(make_city(every))
    for i, row in enumerate(rows):
        zone.take(make_readings([row], i))
        if zone.cadences[0].evaluated_until == START // 60 + 20:
            break
    assert row[:2] == (2, START + 21 * 60)


@pytest.mark.parametrize("room", [2, 5])
def test_a_full_waiting_room_refuses_the_oldest(make_city, make_readings, room):
    rows = [*steady(("1m",) * 3, 1), *((0, START + 86400 * 9 + i, {"pm10": 1.0}) for i in range(8))]
    zone = new_zone(make_city(("1m",) * 3, room=room))
    outcome = zone.take(make_readings(rows))
    assert outcome.waiting.tolist() == [0] * room
    assert [(reject.offset, reject.reason) for reject in outcome.rejects] == [
        (180 + i, "future") for i in range(8 - room)
    ]
