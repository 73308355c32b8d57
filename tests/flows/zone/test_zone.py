"""A zone gives the same numbers however its readings came: cut, crashed, shuffled, twice, late, wild, or not at all."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flows.decode.batch import no_readings
from flows.zone.zone import Zone
from tests.support.zones import (
    HEAVY,
    HOUR,
    START,
    Told,
    air,
    anyhow,
    cities,
    ended,
    handling,
    play,
    review_after,
    same,
    shuffled,
    steady,
    windows,
)

pytestmark = pytest.mark.usefixtures("small_rooms")


@HEAVY
@given(anyhow(), st.data(), st.sampled_from([5000, 15, 40]))
def test_no_cut_and_no_crash_changes_anything(make_city, make_readings, case, data, generation):
    every, rows = case
    city = make_city(every)
    patch = review_after(generation)
    try:
        one, zone = play(city, make_readings, rows)
        two, _ = play(city, make_readings, rows, **data.draw(handling(len(rows))))
        every_row, _ = play(
            city, make_readings, rows, range(1, len(rows)), crash=data.draw(st.sets(st.integers(0, len(rows))))
        )
    finally:
        patch.undo()
    assert len(one.verdict) == len(rows)
    same(one, two)
    same(one, every_row)
    assert one.newest() == windows(city, one, zone)


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
    assert one.newest() == windows(city, one, zone)
    assert set(one.verdict.values()) <= {"stored", "duplicate"}


@HEAVY
@given(st.integers(0, 2**32), cities(), st.data())
def test_no_order_within_the_horizon_changes_anything(make_city, make_readings, seed, every, data):
    city = make_city(every)
    rows = air(seed, every, 8 if "1m" not in every else 3)
    in_order, zone = play(city, make_readings, rows)
    arriving = shuffled(rows, seed, 110 * 60, share=data.draw(st.sampled_from([0.02, 0.3, 1.0])))
    anyhow, other = play(city, make_readings, arriving, **data.draw(handling(len(arriving))))
    assert anyhow.newest() == in_order.newest() == windows(city, in_order, zone)
    assert zone.groups[0].closed == other.groups[0].closed
    assert list(anyhow.verdict.values()).count("stored") == len(rows)
    assert list(anyhow.verdict.values()).count("duplicate") == len(arriving) - len(rows)


def test_twenty_hours_late_within_a_horizon_of_a_day(make_city, make_readings):
    every = ("10m", "10m", "10m", "1h")
    city = make_city(every, horizon="24h", windows=("10m", "1h", "8h", "24h"))
    rows = air(1, every, 60)
    in_order, _ = play(city, make_readings, rows)
    arriving = shuffled(rows, 2, 20 * HOUR)
    anyhow, zone = play(city, make_readings, arriving, range(50, len(arriving), 50), crash={3, 4})
    assert anyhow.newest() == in_order.newest() == windows(city, anyhow, zone)
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
    assert zone.groups[0].closed == zone.groups[0].due


def test_nothing_but_an_end(make_city, make_readings):
    told, zone = play(make_city(), make_readings, [])
    assert (told.rows, told.verdict) == ({}, {})
    zone.take(no_readings(), last=True)
    told.hear(zone.take(make_readings(steady(("1m",) * 3, 1)), last=True))
    assert ended(told, "a") == list(range(10, 61, 10))


def test_three_days_of_nothing(make_city, make_readings):
    every = ("1m", "1m", "10m", "1h")
    city = make_city(every)
    rows = [*steady(every, 3), *steady(every, 3, start=START + 72 * HOUR)]
    told, zone = play(city, make_readings, rows, [100, 500, 600], crash={0, 1, 2}, more={1})
    one, _ = play(city, make_readings, rows)
    same(told, one)
    assert told.newest() == windows(city, told, zone)
    assert set(told.verdict.values()) == {"stored"}
    assert ended(told, "a") == [*range(10, 181, 10), *range(72 * 60 + 10, 75 * 60 + 1, 10)]


def test_more_at_hand_only_delays(make_city, make_readings):
    """With more at hand nothing is evaluated for up to a day, and then all that is due is."""
    rows = steady(("1m",) * 3, 5)
    zone = Zone(make_city(("1m",) * 3), "city")
    told = Told(zone, make_city(("1m",) * 3))
    told.hear(zone.take(make_readings(rows[:90]), more=True))
    assert (told.rows, zone.groups[0].closed < zone.groups[0].due) == ({}, True)
    told.hear(zone.take(make_readings(rows[90:800], 90), more=True))
    assert ended(told, "a")[-1] == 260
    told.hear(zone.take(make_readings(rows[800:], 800)))
    assert ended(told, "a") == list(range(10, 301, 10))


def test_findings_of_a_long_cell_outlive_a_crash(make_city, make_readings):
    """What is found at the end of an hour belongs to its reading at half past, on another page of the snapshot."""
    city = make_city(("1h",) * 3, windows=("1h", "2h"))
    rows = [(s, START + 1800 + h * HOUR, {"pm10": 10.0, "pm25": 30.0 + s}) for h in range(6) for s in range(3)]
    told, zone = play(city, make_readings, rows, range(1, len(rows)), crash=range(len(rows)))
    assert told.newest() == windows(city, told, zone)
    assert told.rows["b", "pm10", "2h", START // 60 + 180][3] == 2


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


def test_a_full_waiting_room_is_counted_row_by_row(make_city, make_readings):
    city = make_city(("1m",) * 3, room=1)
    rows = [*steady(("1m",) * 3, 1), (0, START + 185 * 60, {"pm10": 1.0}), (1, START + 86400 * 9, {"pm10": 2.0})]
    rows += steady(("1m",) * 3, 1, start=START + HOUR)
    one, _ = play(city, make_readings, rows)
    two, _ = play(city, make_readings, rows, range(1, len(rows)))
    same(one, two)
    assert (one.verdict[180], one.verdict[181]) == ("future", "future")
