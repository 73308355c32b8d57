"""A zone gives the same numbers however its readings came: cut, crashed, shuffled, twice, late, wild, or not at all."""

from hypothesis import example, given
from hypothesis import strategies as st

from flows.decode.batch import no_readings
from flows.zone.zone import DEFAULT
from tests.support.zones import (
    HEAVY,
    HOUR,
    START,
    air,
    anyhow,
    cities,
    ended,
    expected,
    handling,
    play,
    same,
    shuffled,
    steady,
)


@HEAVY
@given(anyhow(), st.data())
def test_no_cut_and_no_crash_changes_anything(make_city, make_readings, case, data):
    every, rows = case
    city = make_city(every)
    one, zone = play(city, make_readings, rows)
    two, _ = play(city, make_readings, rows, **data.draw(handling(len(rows))))
    crashes = data.draw(st.sets(st.integers(0, len(rows))))
    every_row, _ = play(city, make_readings, rows, range(1, len(rows)), crash=crashes)
    assert len(one.verdict) == len(rows)
    same(one, two)
    same(one, every_row)
    assert one.newest() == expected(city, one, zone)


@HEAVY
@given(st.integers(0, 2**32), cities(), st.sampled_from([0, 0, 5 * 60, 30 * 60, 100 * 60]), st.data())
def test_no_cut_of_a_day_changes_anything(make_city, make_readings, seed, every, delay, data):
    city = make_city(every)
    rows = shuffled(
        air(seed, every, 6 if "1m" not in every else 2, offset=data.draw(st.sampled_from([0, 1800, -7, 30]))),
        seed,
        delay,
    )
    one, zone = play(city, make_readings, rows)
    two, _ = play(city, make_readings, rows, **data.draw(handling(len(rows))))
    same(one, two)
    assert one.newest() == expected(city, one, zone)
    assert set(one.verdict.values()) <= {"accepted", "duplicate"}


@HEAVY
@given(st.integers(0, 2**32), cities(), st.data())
def test_no_order_within_the_horizon_changes_anything(make_city, make_readings, seed, every, data):
    city = make_city(every)
    rows = air(seed, every, 8 if "1m" not in every else 3)
    in_order, zone = play(city, make_readings, rows)
    arriving = shuffled(rows, seed, 110 * 60, share=data.draw(st.sampled_from([0.02, 0.3, 1.0])))
    anyhow, other = play(city, make_readings, arriving, **data.draw(handling(len(arriving))))
    assert anyhow.newest() == in_order.newest() == expected(city, in_order, zone)
    assert zone.cadences[0].evaluated_until == other.cadences[0].evaluated_until
    assert list(anyhow.verdict.values()).count("accepted") == len(rows)
    assert list(anyhow.verdict.values()).count("duplicate") == len(arriving) - len(rows)


def test_twenty_hours_late_within_a_horizon_of_a_day(make_city, make_readings):
    every = ("10m", "10m", "10m", "1h")
    city = make_city(every, horizon="24h", windows=("10m", "1h", "8h", "24h"))
    rows = air(1, every, 60)
    in_order, _ = play(city, make_readings, rows)
    arriving = shuffled(rows, 2, 20 * HOUR)
    anyhow, zone = play(city, make_readings, arriving, range(50, len(arriving), 50), crash={3, 4})
    assert anyhow.newest() == in_order.newest() == expected(city, anyhow, zone)
    assert max(anyhow.revision.values()) > 10, "so late that much was said again"
    assert in_order.revision.keys() == anyhow.revision.keys()


@HEAVY
@given(st.integers(0, 2**32), cities(), st.data())
def test_an_end_that_was_none_changes_no_newest_row(make_city, make_readings, seed, every, data):
    """A file ends in the middle of a step, and another goes on from there on the same store."""
    city = make_city(every)
    rows = shuffled(air(seed, every, 6 if "1m" not in every else 2), seed, data.draw(st.sampled_from([0, 1800])))
    one, _ = play(city, make_readings, rows)
    first = {row[0] for row in rows[: len(rows) // 2]}
    enough = len(rows) // 2 if len(first) >= min(3, len(every)) else len(rows) - 1
    cut = data.draw(st.integers(enough, len(rows) - 1))
    two, zone = play(city, make_readings, rows, [cut], crash={0}, ends={0})
    assert two.newest() == one.newest()
    assert two.verdict == one.verdict
    assert zone.cadences[0].evaluated_until == zone.cadences[0].fired_until


def test_nothing_but_an_end(make_city, make_readings):
    log, zone = play(make_city(), make_readings, [])
    assert (log.rows, log.verdict) == ({}, {})
    zone.take(no_readings(), end_of_input=True)
    log.add(zone.take(make_readings(steady(("1m",) * 3, 1)), end_of_input=True))
    assert ended(log, "a") == list(range(10, 61, 10))


def test_three_days_of_nothing(make_city, make_readings):
    every = ("1m", "1m", "10m", "1h")
    city = make_city(every)
    rows = [*steady(every, 3), *steady(every, 3, start=START + 72 * HOUR)]
    log, zone = play(city, make_readings, rows, [100, 500, 600], crash={0, 1, 2})
    one, _ = play(city, make_readings, rows)
    same(log, one)
    assert log.newest() == expected(city, log, zone)
    assert set(log.verdict.values()) == {"accepted"}
    assert ended(log, "a") == [*range(10, 181, 10), *range(72 * 60 + 10, 75 * 60 + 1, 10)]


def test_sizes_inside_a_zone_change_nothing(make_city, make_readings):
    """A day of air at once, evaluated in one go on a wide grid, or in parts of three hours on a narrow one."""
    every = ("1m", "1m", "10m", "1h")
    city, rows = make_city(every), shuffled(air(7, every, 26), 7, 90 * 60)
    narrow, zone = play(city, make_readings, rows)
    wide, _ = play(city, make_readings, rows, settings=DEFAULT)
    same(narrow, wide)
    assert narrow.newest() == expected(city, narrow, zone)


def test_findings_of_a_long_cell_outlive_a_crash(make_city, make_readings):
    """What is found at the end of an hour belongs to its reading at half past, on another page of the snapshot."""
    city = make_city(("1h",) * 3, windows=("1h", "2h"))
    rows = [(s, START + 1800 + h * HOUR, {"pm10": 10.0, "pm25": 30.0 + s}) for h in range(6) for s in range(3)]
    log, zone = play(city, make_readings, rows, range(1, len(rows)), crash=range(len(rows)))
    assert log.newest() == expected(city, log, zone)
    assert log.rows["b", "pm10", "2h", START // 60 + 180][3] == 2


def test_a_slot_closes_at_its_row_whatever_follows_in_the_batch(make_city, make_readings):
    """An hourly station comes back from silence, sends an old hour after a new one, and then the clock leaps."""
    every = ("1m", "1m", "1m", "1h")
    rows = [row for row in steady(every, 3) if row[1] <= START + 130 * 60 and (row[0] < 3 or row[1] <= START + HOUR)]
    ahead = [(3, START + 250 * 60, {"pm10": 1.0}), (3, START + 110 * 60, {"pm10": 2.0})]
    leap = [(s, START + 300 * 60, {"pm10": 3.0}) for s in range(3)]
    n = len(rows)
    one, _ = play(make_city(every), make_readings, rows + ahead + leap, [n])
    two, _ = play(make_city(every), make_readings, rows + ahead + leap, [n, n + 1])
    same(one, two)


@HEAVY
@given(case=anyhow(), room=st.integers(1, 4))
@example(
    case=(
        ("1m", "1m", "1m"),
        [(s, START + t, {}) for s, t in ((0, 7260), (1, 0), (2, 7260), (0, 86400), (0, 86400), (1, 86400))],
    ),
    room=3,
)
def test_no_cut_changes_who_is_one_too_many(make_city, make_readings, case, room):
    every, rows = case
    city = make_city(every, room=room)
    one, _ = play(city, make_readings, rows)
    two, _ = play(city, make_readings, rows, range(1, len(rows)), crash=range(0, len(rows), 7))
    same(one, two)


def test_what_is_too_late_when_the_watermark_is_set_is_booked(make_city, make_readings):
    """The row that sets the watermark admits one from the buffer that is older than the horizon behind it."""
    minutes = (-2940, -60, 61, -1500, 1260, -1500, 4260, 1381)
    rows = [(2 if m == 1381 else int(m == 1260), START + 60 * m, {"pm10": 1.0}) for m in minutes]
    one, _ = play(make_city(("1m",) * 3, room=2), make_readings, rows)
    two, _ = play(make_city(("1m",) * 3, room=2), make_readings, rows, range(1, len(rows)))
    same(one, two)
    assert one.verdict[5] == "too_late"


def test_a_full_waiting_room_is_counted_row_by_row(make_city, make_readings):
    city = make_city(("1m",) * 3, room=1)
    rows = [*steady(("1m",) * 3, 1), (0, START + 185 * 60, {"pm10": 1.0}), (1, START + 86400 * 9, {"pm10": 2.0})]
    rows += steady(("1m",) * 3, 1, start=START + HOUR)
    one, _ = play(city, make_readings, rows)
    two, _ = play(city, make_readings, rows, range(1, len(rows)))
    same(one, two)
    assert (one.verdict[180], one.verdict[181]) == ("future", "future")
