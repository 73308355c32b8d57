"""Ways in which a light might lie: broken sensors, clocks, late data, texts, seqs, summer time. It never does.

Each scenario is readings of a small city in the order in which they come. Whatever they are, no light shows a color
better than air that lives, none is colored for longer than its state says, and none changes more than four times an
hour.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest

from schemas.city import City, Identity, Light, Station
from schemas.light import COLORS, MAX_LIFE, LightMessage, WildState
from schemas.slots import EPOCH
from tests.support.zones import HOUR, new_zone

START = 1_767_225_600
LAST = 9 * 60
"""Minutes that a scenario lasts."""
PM25 = AIR_OF_NEIGHBOURS = 90.0
BANDS = (15, 35, 75)


def city_of(every="1m", timezone="Asia/Seoul", **changes):
    """Five stations, and a light for the first of them alone, whose sensor is the one that misbehaves."""
    stations = [Station(id=name, lat=35.2, lon=128.9, every=every, kind="reference") for name in "abcde"]
    lights = [Light(id="light", lat=35.2, lon=128.9, stations=["a"]), Light(id="near", lat=35.2, lon=128.9)]
    identity = Identity(id="tiny", name="Tiny", timezone=timezone)
    return msgspec.structs.replace(City(city=identity, stations=stations, lights=lights), **changes)


def lively(level, minute, spread=3.0):
    return round(level + spread * float(np.sin(1.7 * minute)) + 0.01 * (minute % 7), 2)


def rows_of(first, every=1, *, delay=0, stamp=lambda minute: 60 * minute, last=LAST):
    """Rows as they come: neighbours at 90, and station a with what ``first`` makes of each minute; none is silence."""
    rows = []
    for minute in range(every, last + 1, every):
        for station in range(1, 5):
            pm25 = lively(PM25, minute + station)
            rows.append((minute, station, 60 * minute, {"pm10": 1.2 * pm25, "pm25": pm25}))
        measured = first(minute)
        if measured is not None:
            measured = measured if isinstance(measured, dict) else {"pm10": 1.2 * measured, "pm25": measured}
            late = delay(minute) if callable(delay) else delay
            rows.append((minute + late, 0, stamp(minute), measured))
    rows.sort(key=lambda row: row[0])
    return [(station, START + second, measured) for _, station, second, measured in rows]


def noise(seed):
    random = np.random.default_rng(seed)
    return lambda level, spread: round(level + float(random.normal(0, spread)), 2)


def dropping(share, seed=1):
    random = np.random.default_rng(seed)
    return lambda minute: lively(60, minute) if random.random() >= share else None


N1, N2, N3, N4 = (noise(seed) for seed in range(4))
R = np.random.default_rng(7)
DELAYS = R.integers(6, 15, LAST + 1).tolist()
BURSTS = [int(40 - minute % 40) for minute in range(LAST + 1)]

BROKEN_SENSORS = {
    "stuck_low": lambda m: 5.0 if m > 60 else lively(60, m),
    "stuck_from_the_start": lambda m: 5.0,
    "stuck_within_its_last_digit": lambda m: 5.0 + 0.04 * (m % 2),
    "zeros": lambda m: 0.0 if m > 60 else lively(60, m),
    "zeros_from_the_start": lambda m: 0.0,
    "minus_nought": lambda m: -0.0,
    "below_zero": lambda m: round(-1.5 + 0.5 * float(np.sin(m)), 2),
    "a_little_below_zero": lambda m: -0.01 - 0.001 * (m % 9),
    "zeros_and_negatives": lambda m: (0.0, -0.5)[m // 200 % 2],
    "pump_overloaded": lambda m: 1.0 if m > 120 else lively(80, m),
    "pm10_alone_is_stuck": lambda m: {"pm10": 7.0, "pm25": lively(60, m)},
    "pm25_alone_is_stuck": lambda m: {"pm10": lively(70, m), "pm25": 2.0},
    "pm25_missing": lambda m: {"pm10": lively(20, m)},
    "out_of_range": lambda m: {"pm10": 20.0, "pm25": 5000.0},
    "unplugged": lambda m: lively(60, m) if m < 100 else None,
    "a_minute_an_hour": lambda m: lively(10, m) if m % 60 == 1 else None,
    "three_of_four_minutes": dropping(0.25),
    "half_of_the_minutes": dropping(0.5),
    "comes_and_goes_each_quarter": lambda m: lively(60, m) if m // 15 % 2 else None,
    "comes_and_goes_each_forty_minutes": lambda m: lively(60, m) if m // 40 % 2 else None,
    "silent_sixteen_minutes_an_hour": lambda m: lively(60, m) if m % 60 >= 16 else None,
    "noise_at_a_boundary": lambda m: N1(75.5, 8),
    "noise_at_the_first_boundary": lambda m: N2(15.5, 6),
    "between_blue_and_red": lambda m: (5.0, 120.0)[m // 20 % 2] + 0.2 * (m % 5),
    "a_minute_of_sixty_readings": lambda m: lively(20, m),
}


@pytest.mark.parametrize("name", BROKEN_SENSORS)
def test_of_a_broken_sensor(name, make_readings):
    rows = rows_of(BROKEN_SENSORS[name])
    if name == "a_minute_of_sixty_readings":
        rows += [(0, START + 60 * 400 + s, {"pm10": 400.0, "pm25": 300.0}) for s in range(1, 60)]
        rows.sort(key=lambda row: row[1])
    assert_honest(play(city_of(), make_readings, rows), rows)


LIFELESS = [
    "stuck_from_the_start",
    "stuck_within_its_last_digit",
    "zeros_from_the_start",
    "minus_nought",
    "below_zero",
    "a_little_below_zero",
    "pm10_alone_is_stuck",
    "pm25_alone_is_stuck",
]


@pytest.mark.parametrize("name", LIFELESS)
def test_an_hour_without_a_living_value_is_no_air_for_a_light(name, make_readings):
    states = play(city_of(), make_readings, rows_of(BROKEN_SENSORS[name]))
    last = [state for state in states if state.as_of >= when(LAST - 30)]
    assert {(state.light_id, state.color) for state in last if state.light_id == "light"} == {("light", "gray")}
    assert all("suspect by zeros or a flat line, or below zero" in s.reason for s in last if s.light_id == "light")
    assert {s.color for s in last if s.light_id == "near"} == {"red"}, "one that may goes on to a neighbour"


LATE = {
    "six_minutes_late": 6,
    "ten_minutes_late": 10,
    "fourteen_minutes_late": 14,
    "six_to_fourteen_minutes_late": DELAYS.__getitem__,
    "in_bursts_of_forty_minutes": BURSTS.__getitem__,
    "an_hour_late": 60,
}


@pytest.mark.parametrize("name", LATE)
def test_of_late_data(name, make_readings):
    rows = rows_of(lambda m: lively(60, m), delay=LATE[name])
    assert_honest(play(city_of(), make_readings, rows), rows)


@pytest.mark.parametrize(
    "name", ["six_minutes_late", "ten_minutes_late", "fourteen_minutes_late", "six_to_fourteen_minutes_late"]
)
def test_a_reading_6_to_14_minutes_late_is_seen_at_once(name, make_readings):
    rows = rows_of(lambda m: lively(60, m), delay=LATE[name])
    states = [state for state in play(city_of(), make_readings, rows) if state.light_id == "light"]
    colors = [state.color for state in states if when(90) < state.as_of <= when(LAST - 1)]
    assert set(colors) == {"yellow"}, "it is colored throughout"


CLOCKS = {
    "an_hour_ahead": lambda m: 60 * m + HOUR,
    "an_hour_behind": lambda m: 60 * m - HOUR,
    "five_minutes_ahead": lambda m: 60 * m + 300,
    "a_day_ahead_once": lambda m: 60 * m + (24 * HOUR if m == 200 else 0),
    "set_back_an_hour": lambda m: 60 * m - (HOUR if m > 240 else 0),
    "set_on_an_hour": lambda m: 60 * m + (HOUR if m > 240 else 0),
    "drifting": lambda m: 60 * m + m // 2,
}


@pytest.mark.parametrize("name", CLOCKS)
def test_of_a_clock(name, make_readings):
    rows = rows_of(lambda m: lively(60, m), stamp=CLOCKS[name])
    assert_honest(play(city_of(), make_readings, rows), rows)


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_of_summer_time(day, make_readings):
    """The night in which the clocks of a city are set: slots and lights know nothing of it."""
    begin = int(datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp())
    rows = [(s, second - START + begin, of) for s, second, of in rows_of(lambda m: lively(60, m))]
    states = play(city_of(timezone="Europe/Berlin"), make_readings, rows)
    assert_honest(states, rows)
    mine = [state for state in states if state.light_id == "light"]
    slots = [int((state.as_of.astimezone(UTC) - EPOCH) / timedelta(minutes=1)) for state in mine]
    assert max(np.diff(slots)) <= 5
    assert all(
        timedelta() < state.valid_until.astimezone(UTC) - state.as_of.astimezone(UTC) <= MAX_LIFE for state in mine
    )


@pytest.mark.parametrize("until", [150, 200])
def test_of_a_text(until, make_readings):
    """No state that bears it is in force past its end, and the light is never gray for it."""
    zone, rows = new_zone(city_of()), rows_of(lambda m: lively(60, m), last=240)
    cut = next(i for i, row in enumerate(rows) if row[1] > START + 120 * 60)
    states = [*zone.take(make_readings(rows[:cut])).signals.states]
    zone.signals.set_messages([LightMessage(light_id="light", text="산불 조심", valid_until=when(until))])
    states += zone.take(make_readings(rows[cut:], cut)).signals.states
    assert_honest(states, rows)
    mine = [state for state in states if state.light_id == "light" and state.as_of > when(120)]
    texted = [state for state in mine if "산불 조심" in (state.text or "")]
    assert len(texted) > 4
    assert all(state.valid_until <= when(until) for state in texted)
    for state, following in zip(mine, mine[1:], strict=False):
        assert following.as_of < state.valid_until, "the next comes before the light would be gray"


@pytest.mark.parametrize("seq", [2**53 - 2**20, 10_000])
def test_of_a_wild_seq_on_the_topic(seq, make_readings):
    """A message of a future that nobody knows takes its seq; the next state lies above it, and comes at once."""
    zone, rows = new_zone(city_of()), rows_of(lambda m: lively(60, m), last=200)
    cut = len(rows) // 2
    zone.take(make_readings(rows[:cut]))
    assert zone.signals.load_published([WildState("light", seq, "as_of lies ahead")]) == []
    after = [s for s in zone.take(make_readings(rows[cut:], cut)).signals.states if s.light_id == "light"]
    assert [state.seq for state in after] == list(range(seq + 1, seq + 1 + len(after)))
    assert after[0].as_of <= when(102), "at once"


def when(minute):
    return EPOCH + timedelta(seconds=START + 60 * minute)


def play(city, make_readings, rows):
    """States of lights, with the slot at which each was decided as its place among them."""
    zone, states = new_zone(city), []
    bounds = [*range(0, len(rows), 97), len(rows)]
    for begin, end in zip(bounds, bounds[1:], strict=False):
        states += zone.take(make_readings(rows[begin:end], begin)).signals.states
    return states


def in_utc(state):
    """The same state; of two times in one zone the difference would not count an hour that summer time adds."""
    as_of, valid_until = state.as_of.astimezone(UTC), state.valid_until.astimezone(UTC)
    return msgspec.structs.replace(state, as_of=as_of, valid_until=valid_until)


def assert_honest(states, rows):
    """Hold every state against the readings, and count the changes of each light."""
    states = [in_utc(state) for state in states]
    values = {}
    for station, second, measured in rows:
        for name, value in measured.items():
            values.setdefault((station, name), []).append((-(-second // 60), value))
    for light in ("light", "near"):
        mine = [state for state in states if state.light_id == light]
        assert [state.seq for state in mine] == list(range(len(mine)))
        for state in mine:
            assert timedelta() < state.valid_until - state.as_of <= MAX_LIFE
            if state.grade is None:
                assert (state.pm10, state.pm25, state.o3, state.temperature, state.humidity) == (None,) * 5
                continue
            assert state.color == COLORS[state.grade]
            assert state.grade >= 1 + sum(state.pm25 > top for top in BANDS), "never better than its own number"
            slot = int((state.as_of.astimezone(UTC) - EPOCH) / timedelta(minutes=1))
            for name in ("pm10", "pm25"):
                hour = [v for at, v in values["abcde".index(state.stations[0]), name] if slot - 60 < at <= slot]
                assert any(value > 0 for value in hour) or max(hour) == 0, "an hour below zero is no air"
        moments = [
            max(after.as_of, before.as_of)
            for before, after in zip(mine, mine[1:], strict=False)
            if after.color != before.color
        ]
        for moment in moments:
            assert sum(moment <= other < moment + timedelta(hours=1) for other in moments) <= 4
