"""Lights and alerts of a zone: the same however readings came, and never better than the air they stand for."""

import pickle
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from flows import clock as clock_module
from flows import watch as watch_module
from flows import zone as zone_module
from flows.arrivals import no_readings
from flows.kernels import light_changes, light_rules, lights
from flows.zone import Zone
from schemas.city import Light
from schemas.city_rules import Lights
from schemas.light import COLORS
from schemas.strict import minutes, seconds

pytestmark = pytest.mark.usefixtures("small_rooms")
START = 1_767_225_600
"""A second: 2026-01-01, 09:00 in Seoul."""
HOUR = 3600
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BANDS = {"pm10": (30, 80, 150), "pm25": (15, 35, 75)}
"""Upper ends of the grades 1 to 3, as the province's lights have them."""
HEAVY = settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
CITIES = [
    ("1m", "1m", "1m"),
    ("1m",),
    ("1h",),
    ("1h", "1h", "1h"),
    ("1m", "1m", "1h"),
    ("10m", "10m", "1h", "1h"),
    ("10s", "1m", "7m", "1m"),
    ("1m", "1h", "1m", "1h", "5m", "1m"),
]


@pytest.fixture(scope="module")
def watched(make_city):
    """A city with a light for each station, one that follows all from the last on, and one that has no station near.

    Hourly stations are reference stations.
    """

    def make(every, *, kinds=None, **rules):
        city = make_city(every)
        stations = [
            structs.replace(s, kind=kinds[i] if kinds else "reference" if s.every == "1h" else "low_cost")
            for i, s in enumerate(city.stations)
        ]
        names = [s.id for s in stations]
        named = [[name] for name in names] + [names[::-1], [*names[1:], names[0]]]
        known = [Light(id=f"light-{i}", lat=35.2, lon=128.9, stations=of) for i, of in enumerate(named)]
        known += [Light(id="light-near", lat=35.21, lon=128.9), Light(id="light-far", lat=38.0, lon=128.9)]
        return structs.replace(city, stations=stations, lights=known, light_rules=Lights(**rules))

    return make


def crashed(zone, city):
    kept = pickle.dumps(zone.snapshot())
    again = Zone(city, zone.id)
    again.restore(pickle.loads(kept))
    return again


class Heard:
    """All that a zone said of lights and alerts, and the readings it had accepted by then."""

    def __init__(self):
        self.states, self.alerts, self.stored = [], [], []

    def hear(self, outcome):
        self.states += outcome.said.states
        self.alerts += outcome.said.alerts
        for stored in outcome.stored:
            self.stored += stored.readings.koff.tolist()

    def said(self):
        return self.states, self.alerts

    def of(self, light):
        return [state for state in self.states if state.light_id == light]


def play(city, make_readings, rows, cuts=(), *, crash=(), more=(), last=True):
    """Take rows in batches cut before ``cuts``; crash after some; say that more is at hand after some."""
    zone, heard = Zone(city, "city"), Heard()
    bounds = [0, *cuts, len(rows)]
    for i, (begin, end) in enumerate(zip(bounds, bounds[1:], strict=False)):
        final = i == len(bounds) - 2
        readings = make_readings(rows[begin:end], begin) if end > begin else no_readings()
        heard.hear(zone.take(readings, more=i in more and not final, last=last and final))
        if i in crash:
            zone = crashed(zone, city)
    return heard


def review_after(rows):
    """Let the quorum follow the stations heard after so many rows."""
    patch = pytest.MonkeyPatch()
    patch.setattr(clock_module, "GENERATION", rows)
    patch.setattr(zone_module, "GENERATION", rows)
    return patch


def air(seed, every, hours, *, drop=0.05, calm=False, start=START):
    """Rows of stations in the order of their times: levels that jump between grades, outages, faults, empty values."""
    random = np.random.default_rng(seed)
    rows = []
    for station, cadence in enumerate(every):
        level, silent, blind = 20.0, 0, 0
        for second in range(start + seconds(cadence), start + int(hours * HOUR) + 1, seconds(cadence)):
            each = seconds(cadence) / 60
            if random.random() < each / 60:
                level = float(random.choice([8.0, 15.4, 15.6, 20.0, 35.5, 60.0, 75.5, 90.0, 160.0, 320.0]))
            if not calm and random.random() < each / 120:
                silent = second + 60 * int(random.choice([5, 14, 16, 40, 90]))
            if not calm and random.random() < each / 120:
                blind = second + 60 * int(random.choice([5, 14, 16, 40]))
            pm10 = round(level * 1.9 + random.normal(0, 0.2), 2)
            measured = {"pm10": pm10, "pm25": round(level, 2), "o3": round(level / 800, 4)}
            if second < blind:
                measured["pm25"] = 9999.0  # outside its own range: it fails, and is in no mean
            if second >= silent and random.random() > drop * (not calm):
                rows.append((station, second, measured))
    return sorted(rows, key=lambda row: row[1])


def shuffled(rows, seed, delay, *, share=0.3, twice=0.1):
    """Rows as they arrive when a share of them is late by up to ``delay`` seconds, and some come again."""
    random = np.random.default_rng(seed)
    arriving = []
    for row in rows:
        for _ in range(1 + (random.random() < twice)):
            arriving.append((row[1] + (random.random() < share) * random.uniform(0, delay), row))
    return [row for _, row in sorted(arriving, key=lambda item: item[0])]


@st.composite
def anyhow(draw, longest=90):
    """Rows that a sane network would never send: back and forth, far ahead, in bursts, twice, empty."""
    every = draw(st.sampled_from(CITIES))
    steps = st.sampled_from([0, 0, 1, 30, 60, 60, 60, 120, 600, 600, 1800, 3600, 3600, 7200, -60, -600, -3600, 86400])
    wild = st.sampled_from([0] * 12 + [-7200, -3600, 3600, 7200, 7260, 86400 * 2, -86400 * 2])
    value = st.sampled_from([10.0, 15.4, 15.5, 40.0, 90.0, 160.0, 310.0, 5000.0, -3.0])
    rows, at = [], START + draw(st.sampled_from([0, 1800, 3599]))
    for station, step, far, pm25, full in draw(
        st.lists(
            st.tuples(st.integers(0, len(every) - 1), steps, wild, value, st.integers(0, 9)),
            min_size=1,
            max_size=longest,
        )
    ):
        at += step
        rows.append((station, at + far, {"pm10": 2 * pm25, "pm25": pm25, "o3": 0.13} if full else {"humidity": 1.0}))
    return every, rows


@st.composite
def handling(draw, n):
    """Where rows are cut, after which batches the process dies, and after which more was at hand."""
    cuts = sorted(draw(st.sets(st.integers(0, n), max_size=10)))
    batches = st.sets(st.integers(0, len(cuts)))
    return {"cuts": cuts, "crash": draw(batches), "more": draw(batches)}


# ------------------------------------------------------------------------------- however it was cut, and crashed


@HEAVY
@given(anyhow(), st.data(), st.sampled_from([5000, 15, 40]))
def test_no_cut_and_no_crash_changes_what_is_said(watched, make_readings, case, data, generation):
    every, rows = case
    city = watched(every)
    patch = review_after(generation)
    try:
        one = play(city, make_readings, rows)
        two = play(city, make_readings, rows, **data.draw(handling(len(rows))))
        ends = range(1, len(rows))
        every_row = play(city, make_readings, rows, ends, crash=data.draw(st.sets(st.integers(0, len(rows)))))
        held_back = play(city, make_readings, rows, ends, more=range(len(rows)))
    finally:
        patch.undo()
    assert two.said() == one.said()
    assert every_row.said() == one.said()
    assert held_back.said() == one.said()


@HEAVY
@given(st.integers(0, 2**32), st.sampled_from(CITIES), st.sampled_from([0, 0, 5, 30, 100]), st.data())
def test_no_cut_of_a_day_changes_what_is_said(watched, make_readings, seed, every, delay, data):
    city = watched(every)
    hours = 20 if every[0] == "1h" else 6 if "10s" not in every and "1m" not in every else 3
    rows = shuffled(air(seed, every, hours), seed, delay * 60)
    one = play(city, make_readings, rows)
    two = play(city, make_readings, rows, **data.draw(handling(len(rows))))
    assert two.said() == one.said()


def steady(every, hours, pm25=20.0, *, start=START):
    """Every station reports every time; ``pm25`` may be a function of the station and the minute."""
    level = pm25 if callable(pm25) else lambda *_: pm25
    rows = []
    for station, cadence in enumerate(every):
        for second in range(start + seconds(cadence), start + int(hours * HOUR) + 1, seconds(cadence)):
            value = level(station, (second - start) / 60)
            if value is not None:
                rows.append((station, second, {"pm10": round(1.5 * value, 4), "pm25": value, "o3": 0.01}))
    return sorted(rows, key=lambda row: row[1])


@pytest.mark.parametrize(("every", "hours"), [(("1h",), 240), (("1m",), 40), (("10m",), 100)])
def test_the_grid_moves_on_without_losing_the_reading_that_moved_it(watched, make_readings, every, hours):
    """A station alone closes its slot with its own reading, which may be the first for which there is no room."""
    heard = play(watched(every), make_readings, steady(every, hours))
    sure = [state for state in heard.of("light-0") if state.as_of >= when(START + HOUR)]
    assert {(state.color, state.coverage) for state in sure} == {("green", 1.0)}
    assert len(sure) > hours // 2


@pytest.mark.parametrize(
    ("every", "gap"),
    [*((("1h",), gap) for gap in (3, 5, 8, 30, 1000)), *((("1m",), gap) for gap in (4, 6, 8, 30)), (("1m",) * 3, 8)],
)
def test_no_cut_around_a_gap_changes_what_is_said(watched, make_readings, every, gap):
    city = watched(every)
    length, blocks = (4, 4) if every == ("1h",) else (1.2, 2)
    rows = [
        row
        for k in range(blocks)
        for row in steady(every, length, 20.0 + 60 * (k % 2), start=START + int(k * (gap + length) * 60) * 60)
    ]
    n = len(rows)
    one = play(city, make_readings, rows)
    near = [i for i in range(1, n) if rows[i][1] - rows[i - 1][1] > HOUR] if every != ("1h",) else range(1, n)
    cuts = sorted({i for at in near for i in range(max(1, at - 3), min(n, at + 4))})
    whole = play(city, make_readings, rows, cuts, more=range(n))
    each = play(city, make_readings, rows, cuts, crash=range(0, n, 2))
    assert one.said() == whole.said() == each.said()
    later = [state for state in one.of("light-0") if state.grade and state.as_of > when(START + (gap + length) * HOUR)]
    assert {state.grade for state in later} >= ({2, 4} if every == ("1h",) else {4})
    if every == ("1h",):
        colored = {state.as_of for state in one.of("light-0") if state.grade}
        assert colored == {when(second) for _, second, _ in rows}, "the reading that ends a gap counts too"


@pytest.mark.parametrize("minute", range(60, 65))
def test_a_reading_late_for_what_a_waiting_one_closed(watched, make_readings, minute):
    """A wild stamp of a station closes the slot; its true one comes after, and first of what goes on the grid."""
    city = watched(("1m",) * 3)
    rows = steady(("1m",) * 3, 2)
    at = next(i for i, row in enumerate(rows) if row[:2] == (2, START + 60 * minute))
    rows.insert(at, (2, START + 40 * 24 * HOUR, {"pm25": 1.0}))
    each = play(city, make_readings, rows, range(1, len(rows)))
    assert play(city, make_readings, rows).said() == each.said()
    assert play(city, make_readings, rows, [at]).said() == each.said()


def test_a_late_reading_gets_in_between_two_closings_of_waiting_ones(watched, make_readings):
    """Two wild stamps in a row, and each closes a step; what was late comes in at the first."""
    city = watched(("1m",) * 5)
    rows = [row for row in steady(("1m",) * 5, 70 / 60) if row[0] != 1 or not 40 <= (row[1] - START) // 60 <= 60]
    clean, wild = {"pm10": 30.0, "pm25": 20.0}, START + 40 * 24 * HOUR
    rows += [(1, START + m * 60, clean) for m in range(45, 55)]
    rows += [(0, START + 90 * 60, clean), (1, START + 80 * 60, clean)]
    first = len(rows)
    rows += [(2, wild, clean), (3, wild, clean), (4, START + 71 * 60, clean), (4, START + 91 * 60, clean)]
    each = play(city, make_readings, rows, range(1, len(rows)), last=False)
    assert play(city, make_readings, rows, last=False).said() == each.said()
    assert play(city, make_readings, rows, [first], more={0}, last=False).said() == each.said()
    assert max(state.as_of for state in each.of("light-1")) > when(START + 85 * 60)


def when(second):
    return EPOCH + timedelta(seconds=second)


# -------------------------------------------------------------------------------------------- nothing is skipped


def without_skipping(patch):
    patch.setattr(light_changes, "changed", lambda rules, slots, *_: np.ones(slots.size, bool))


@HEAVY
@given(st.integers(0, 2**32), st.sampled_from(CITIES), st.sampled_from([0, 30]), st.sampled_from(["0m", "7m", "30m"]))
def test_slots_left_out_would_have_said_nothing(watched, make_readings, seed, every, delay, dwell):
    city = watched(every, dwell=dwell)
    hours = 20 if every[0] == "1h" else 3
    rows = shuffled(air(seed, every, hours), seed, delay * 60)
    some = play(city, make_readings, rows)
    with pytest.MonkeyPatch.context() as patch:
        without_skipping(patch)
        every_slot = play(city, make_readings, rows)
    assert some.said() == every_slot.said()


SITES = st.tuples(
    st.sampled_from([(8.0, 30.5), (15.5, 10.0), (40.0, 10.0), (90.0, 10.0), (np.nan, 160.0)]),
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.74, 0.75, 1.0, 1.0]), st.sampled_from([0, 0, 5, 14, 110]), st.booleans()),
        min_size=3,
        max_size=3,
    ),
)
"""Air of three stations: PM2.5 and PM10, and of each station coverage, age at first, and whether it is quite other."""


@HEAVY
@given(st.lists(st.tuples(SITES, st.integers(1, 20)), min_size=2, max_size=12), st.integers(0, 30))
def test_due_and_changed_say_when_a_decision_is_new(watched, phases, dwell):
    """Kernel alone: long stretches of the same air, in which nothing but the time goes on."""
    city = watched(("1m", "1m", "1h"), dwell=f"{dwell}m")
    rules = light_rules.rules(city, city.light_rules, np.array([BANDS["pm10"], BANDS["pm25"]], float), "city")
    sites = [(site, k) for of, length in phases for k, site in enumerate([of] * length)]
    slots = np.arange(1000, 1000 + len(sites))
    mean = np.array([[(200.0, 20.0) if other else air[::-1] for *_, other in of] for (air, of), _ in sites])
    coverage = np.array([[(share, share) for share, *_ in of] for (_, of), _ in sites])
    as_of = np.array([[slot - k - age for _, age, _ in of] for slot, ((_, of), k) in zip(slots, sites, strict=True)])
    changed = light_changes.changed(rules, slots, mean, coverage, as_of)
    assert changed[0]
    none = np.zeros((3, 2), bool)
    always = seldom = lights.start(rules)
    due, decided = lights.NEVER, 0
    for k, slot in enumerate(slots.tolist()):
        now = lights.Air(mean[k], coverage[k], as_of[k], none)
        always, sent = lights.decide(rules, always, slot, now, [""] * len(rules.lights))
        if changed[k] or slot >= due:
            decided += 1
            seldom, also = lights.decide(rules, seldom, slot, now, [""] * len(rules.lights))
            due = light_changes.due(rules, seldom)
            assert all(
                np.array_equal(getattr(sent, name), getattr(also, name), equal_nan=name in {"number", "coverage"})
                for name in lights.Sent.__slots__
            )
        else:
            assert not sent.light.size, "left out, though it says something"
    assert (always.seq == seldom.seq).all()
    assert decided <= len(sites)


def test_calm_air_is_decided_with_heartbeats_alone(watched, make_readings, monkeypatch):
    """What is left out is most."""
    seen = []
    decide = lights.decide
    monkeypatch.setattr(watch_module.lights, "decide", lambda *of: (seen.append(of[2]), decide(*of))[1])
    play(watched(("1m",) * 3), make_readings, steady(("1m",) * 3, 10))
    assert 10 * 60 / 5 <= len(seen) < 10 * 60 / 2


# --------------------------------------------------------------------------------------------- lights cannot lie


def promises(city, heard, rows):
    """What must hold of every single state, against the readings alone: nobody else is asked."""
    ids = {station.id: (i, station) for i, station in enumerate(city.stations)}
    cells = defaultdict(dict)
    for koff in heard.stored:
        station, second, measured = rows[koff]
        for name in BANDS:
            if measured.get(name, 9999) <= 1000:
                cells[station, name].setdefault(-(-second // 60), []).append(measured[name])
    seqs = defaultdict(int)
    for state in heard.states:
        assert state.seq == seqs[state.light_id], "one more each time"
        seqs[state.light_id] += 1
        slot = (state.as_of - EPOCH) // timedelta(minutes=1)
        assert EPOCH + timedelta(minutes=slot) == state.as_of
        fast, slow = minutes(city.light_rules.valid_for), minutes(city.light_rules.valid_for_slow)
        if state.grade is None:
            assert state.color == "gray"
            assert (state.pm10, state.pm25, state.coverage, state.stations) == (None, None, None, [])
            assert state.valid_until - state.as_of == timedelta(minutes=fast)
            assert "점검중" in state.text
            continue
        [name] = state.stations
        index, station = ids[name]
        cadence = max(1, seconds(station.every) // 60)
        assert slot % cadence == 0, "air ends where a window of its station does"
        assert state.valid_until - state.as_of == timedelta(minutes=fast if cadence <= 10 else slow)
        assert state.coverage >= 0.75
        for parameter in BANDS:
            filled = sum(t in cells[index, parameter] for t in range(slot - 59, slot + 1))
            # Late ones may have come since: they add, and never take away.
            assert min(1.0, filled * cadence / 60) >= state.coverage - 1e-12
        assert state.grade >= max(grade(parameter, getattr(state, parameter)) for parameter in BANDS)


def grade(parameter, value):
    return 1 + sum(value > end for end in BANDS[parameter])


@HEAVY
@given(st.integers(0, 2**32), st.sampled_from(CITIES), st.sampled_from([0, 0, 20, 100]), st.data())
def test_no_light_lies(watched, make_readings, seed, every, delay, data):
    city = watched(every)
    rows = shuffled(air(seed, every, 20 if every[0] == "1h" else 3), seed, delay * 60)
    heard = play(city, make_readings, rows, **data.draw(handling(len(rows))))
    promises(city, heard, rows)


@HEAVY
@given(anyhow())
def test_no_light_lies_in_the_wildest_air(watched, make_readings, case):
    every, rows = case
    city = watched(every)
    promises(city, play(city, make_readings, rows, range(0, len(rows), 7)), rows)


def slow_light(city, rows, first, last):
    """One minute at a time, in plain Python: what a light of each station alone, in order and without lates, is told.

    The whole of the rules of a light but the words: (seq, color, as_of, pm10, pm25, coverage).
    """
    values = defaultdict(lambda: defaultdict(list))
    for station, second, measured in rows:
        for name in BANDS:
            if measured.get(name, 9999) <= 1000:
                values[station, name][-(-second // 60)].append(measured[name])
    told = {}
    for index in range(len(city.stations)):
        shown = sent = seq = None
        better_since, out = {}, []
        for slot in range(first, last + 1):
            mean, share = {}, {}
            for name in BANDS:
                inside = [values[index, name].get(t, []) for t in range(slot - 59, slot + 1)]
                flat = [round(v * 1e9) for of in inside for v in of]
                share[name] = sum(map(bool, inside)) / 60
                if share[name] >= 0.75:
                    mean[name] = (2 * sum(flat) + len(flat) * 10**9) // (2 * len(flat) * 10**9)
            now = max(grade(name, value) for name, value in mean.items()) if len(mean) == 2 else 0
            for level in (2, 3, 4):
                if now >= level:
                    better_since.pop(level, None)
                else:
                    better_since.setdefault(level, slot)
            if not now:
                show, better_since = 0, dict.fromkeys((2, 3, 4), slot - 1000)
            else:
                held = [level for level in (2, 3, 4) if level not in better_since or slot - better_since[level] < 30]
                show = max([now, *held])
                if shown in (None, 0):
                    show = now
                    better_since = {level: slot - 1000 for level in (2, 3, 4) if now < level}
            if shown != show or slot - sent >= 5:
                seq = 0 if seq is None else seq + 1
                coverage = min(share.values()) if show else None
                out.append((seq, COLORS[show], slot, mean.get("pm10"), mean.get("pm25"), coverage)[: 6 if show else 3])
                shown, sent = show, slot
        told[index] = out
    return told


def returning_first(rows):
    """Of a minute, those that were silent first: the others do not wait for them to close it."""
    newest, keys = defaultdict(int), []
    for station, second, _ in rows:
        keys.append((second, second - newest[station] <= 120))
        newest[station] = second
    return [rows[i] for i in sorted(range(len(rows)), key=keys.__getitem__)]


@settings(HEAVY, max_examples=6)
@given(st.integers(0, 2**32))
def test_a_light_is_what_plain_python_makes_of_its_station(watched, make_readings, seed):
    every = ("1m",) * 5  # so many that the clock never waits for one
    city = watched(every)
    rows = returning_first(air(seed, every, 4, drop=0.02))
    heard = play(city, make_readings, rows)
    assume(len(heard.stored) == len(rows))
    first = (min(state.as_of for state in heard.states) - EPOCH) // timedelta(minutes=1)
    newest = max(row[1] for row in rows) // 60
    expected = slow_light(city, rows, first, newest)
    for index in range(5):
        said = []
        for state in heard.of(f"light-{index}"):
            slot = (state.as_of - EPOCH) // timedelta(minutes=1)
            whole = (state.seq, state.color, slot, state.pm10, state.pm25, state.coverage)
            said.append(whole[: 6 if state.grade else 3])
        assert said == expected[index]


@pytest.mark.parametrize("every", [("1m",) * 3, ("10m",) * 3, ("1m", "1m", "1h"), ("1h",)])
def test_worse_air_shows_within_one_closed_slot(watched, make_readings, every):
    """The first closed hour whose mean is worse is the one that says so."""
    jump = 185 if "1h" not in every else 180
    rows = steady(every, 9, lambda _, m: 20.0 if m <= jump else 200.0)
    heard = play(watched(every), make_readings, rows)
    for index, cadence in enumerate(every):
        each = seconds(cadence) // 60
        if cadence == "1h":
            worse = jump + 60
        else:
            ends = range(each, 9 * 60, each)
            worse = next(
                e
                for e in ends
                if sum(20 if m <= jump else 200 for m in range(e - 60 + each, e + 1, each)) * each / 60 >= 75.5
            )
        red = [state for state in heard.of(f"light-{index}") if state.color == "red"]
        assert red[0].as_of == EPOCH + timedelta(minutes=START // 60 + worse)


@settings(HEAVY, max_examples=6)
@given(st.integers(0, 2**32), st.sampled_from([15.5, 35.5, 75.5]), st.sampled_from(["1m", "10m"]))
def test_noise_at_a_boundary_makes_at_most_four_changes_an_hour(watched, make_readings, seed, edge, cadence):
    random = np.random.default_rng(seed)
    every = (cadence,) * 3
    city = watched(every)
    rows = steady(every, 8, lambda *_: round(edge + float(random.normal(0, 8)), 2))
    heard = play(city, make_readings, rows)
    for light in city.lights:
        states = heard.of(light.id)
        at = [state.as_of for state, before in zip(states[1:], states, strict=False) if state.color != before.color]
        for i, moment in enumerate(at):
            assert sum(moment <= other < moment + timedelta(hours=1) for other in at[i:]) <= 4


@settings(HEAVY, max_examples=10)
@given(st.integers(0, 2**32), st.sampled_from([("1m",) * 3, ("1m", "1m", "1h"), ("10s", "1m", "5m", "1m")]), st.data())
def test_a_heartbeat_at_least_every_five_minutes_of_air(watched, make_readings, seed, every, data):
    city = watched(every)
    rows = shuffled(air(seed, every, 4), seed, 600)
    told, decide = defaultdict(list), lights.decide

    def seen(rules, state, now, *rest):
        after, sent = decide(rules, state, now, *rest)
        for light in sent.light.tolist():
            told[rules.lights[light]].append(now)
        return after, sent

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch_module.lights, "decide", seen)
        play(city, make_readings, rows, **data.draw(handling(len(rows))))
    for slots in told.values():
        assert set(np.diff(slots)) <= {1, 2, 3, 4, 5}
    assert len(told) == len(city.lights)


def fast_stations_die(before, after):
    """Two stations by the minute for two hours, and three by the hour for eight: PM2.5 before the fifth, and from it."""
    every = ("1m", "1m", "1h", "1h", "1h")
    rows = [(s, START + 60 * m, {"pm10": 30.0, "pm25": before}) for m in range(1, 121) for s in (0, 1)]
    hourly = [(h, before if h < 5 else after) for h in range(1, 9)]
    rows += [(s, START + h * HOUR, {"pm10": 30.0, "pm25": pm25}) for h, pm25 in hourly for s in (2, 3, 4)]
    return every, sorted(rows, key=lambda row: row[1])


def test_a_better_hour_waits_in_air_time_where_fast_stations_are_dead(watched, make_readings):
    """Hourly stations alone carry the clock: sixty slots close at once, each with the air that had ended by then."""
    every, rows = fast_stations_die(80.0, 10.0)
    states = [state for state in play(watched(every), make_readings, rows).of("light-2") if state.grade]
    better = [state.color for state in states if state.as_of == when(START + 5 * HOUR)]
    assert better == ["red"] * better.count("red") + ["blue"] * better.count("blue")
    assert 5 <= better.count("red") <= 7, "half an hour of heartbeats"
    assert 5 <= better.count("blue") <= 7
    assert all(a.as_of <= b.as_of for a, b in zip(states, states[1:], strict=False))


def test_no_text_is_told_before_the_hour_of_its_alert(watched, make_readings):
    """As above: of sixty slots that close at once, those before the hour know nothing of what it brings."""
    every, rows = fast_stations_die(20.0, 90.0)
    states = play(watched(every), make_readings, rows).of("light-2")
    texts = {h: {state.text for state in states if state.as_of == when(START + h * HOUR)} for h in (4, 5, 6)}
    assert texts == {4: {None}, 5: {None}, 6: {"초미세먼지 주의보"}}


# -------------------------------------------------------------------------------------------------------- alerts


def hourly(values, *, parameter="pm25", stations=1, start=START):
    """Hourly readings of reference stations: each hour a figure, None where it is missing, or one for each station."""
    rows = []
    for h, value in enumerate(values, 1):
        of = value if isinstance(value, (list, tuple)) else [value] * stations
        for station, own in enumerate(of):
            rows.append((station, start + h * HOUR, {parameter: own} if own is not None else {"humidity": 50.0}))
    return rows


def stages(heard, parameter, kind="official"):
    """Stage by hour, as it was said."""
    return {
        (alert.ended_at - when(START)) // timedelta(hours=1): alert.stage
        for alert in heard.alerts
        if (alert.parameter, alert.kind) == (parameter, kind)
    }


VECTORS = [
    ("pm25", [80, 90, 40, 34], {2: "advisory", 4: "none"}),
    ("pm10", [310, 320, 140, 99], {2: "warning", 3: "advisory", 4: "none"}),
    ("o3", [0.119, 0.120, 0.301, 0.20, 0.119], {2: "advisory", 3: "warning", 4: "advisory", 5: "none"}),
    # 2018-11-28: two hours in a row above 150 at Dongsang-dong; 2023-04-21: an hour at 305 alone is no warning.
    ("pm10", [120, 180, 337], {3: "advisory"}),
    ("pm10", [200, 305, 280], {2: "advisory"}),
    ("pm25", [80, None, 90, 80], {4: "advisory"}),
    ("pm25", [80, 90, None, 40, 34], {2: "advisory", 5: "none"}),
    ("pm25", [149, 151, 151, 60, 60, 30], {2: "advisory", 3: "warning", 4: "advisory", 6: "none"}),
    ("o3", [0.6, None, 0.1, 0.1, 0.1], {1: "serious", 3: "warning", 4: "advisory", 5: "none"}),
]


@pytest.mark.parametrize(("parameter", "values", "expected"), VECTORS)
@pytest.mark.parametrize("stations", [1, 3])
def test_the_worked_vectors_as_hourly_readings(watched, make_readings, parameter, values, expected, stations):
    rows = hourly(values, parameter=parameter, stations=stations)
    limits = {"o3": 0.5}
    if any(value and value > limits.get(parameter, 1000) for value in values):
        pytest.skip("above the fail span of the default city file")
    for cuts in ((), range(1, len(rows))):
        heard = play(watched(("1h",) * stations), make_readings, rows, cuts, crash=range(0, len(rows), 2))
        assert stages(heard, parameter) == expected
        assert {alert.kind for alert in heard.alerts} == {"official"}
        for alert in heard.alerts:
            hour = (alert.ended_at - when(START)) // timedelta(hours=1)
            assert alert.value == values[hour - 1]
            if not (parameter == "o3" and alert.stage == "none"):
                assert alert.stations == ["a", "b", "c"][:stations]
        assert len({alert.alert_id for alert in heard.alerts}) == len(heard.alerts)


def test_an_hour_that_nobody_sent_breaks_the_row(watched, make_readings):
    """Other stations carry the clock; the reference station is silent for one hour, and then there is no figure."""
    every = ("1m", "1m", "1m", "1h")
    clean = [(s, START + 60 * m, {"humidity": 40.0}) for m in range(1, 421) for s in range(3)]
    known = {1: 80.0, 3: 80.0, 4: 80.0, 5: 20.0}
    rows = sorted([*clean, *((3, START + h * HOUR, {"pm25": v}) for h, v in known.items())], key=lambda row: row[1])
    heard = play(watched(every), make_readings, rows)
    assert stages(heard, "pm25") == {4: "advisory", 5: "none"}


@pytest.mark.parametrize(("minutes_there", "expected"), [(44, {}), (45, {2: "advisory"})])
def test_an_hour_counts_from_three_quarters_on(watched, make_readings, minutes_there, expected):
    rows = [
        (s, START + 60 * m, {"pm25": 100.0} if (m - 1) % 60 < minutes_there else {"humidity": 1.0})
        for m in range(1, 181)
        for s in range(3)
    ]
    assert stages(play(watched(("1m",) * 3), make_readings, rows), "pm25", "early_sign") == expected


def test_official_alerts_come_from_reference_stations_only(watched, make_readings):
    every = ("1m", "1m", "1m", "1h")
    rows = [(s, START + 60 * m, {"pm25": 200.0, "pm10": 20.0}) for m in range(1, 301) for s in range(3)]
    rows += [(3, START + h * HOUR, {"pm25": 20.0, "pm10": 400.0}) for h in range(1, 6)]
    rows.sort(key=lambda row: row[1])
    heard = play(watched(every), make_readings, rows)
    assert stages(heard, "pm25") == {}
    assert stages(heard, "pm25", "early_sign") == {2: "warning"}
    assert stages(heard, "pm10") == {2: "warning"}
    assert stages(heard, "pm10", "early_sign") == {}
    assert {(alert.kind, *alert.stations) for alert in heard.alerts} == {
        ("official", "d"),
        ("early_sign", "a", "b", "c"),
    }
    texts = {state.text for state in heard.of("light-0") if state.as_of > when(START + 3 * HOUR)}
    assert texts == {"미세먼지 경보"}, "an early sign is no alert for the public"


@HEAVY
@given(
    st.lists(
        st.lists(st.sampled_from([None, 30.0, 80.0, 149.4, 149.5, 160.0, 310.0]), min_size=3, max_size=3),
        min_size=1,
        max_size=40,
    ),
    st.data(),
)
def test_alerts_are_those_of_the_zones_mean_hour_by_hour(watched, make_readings, hours, data):
    hours = [[30.0] * 3, *hours]  # what sets the clock of a city waits, and comes after the decisions of its hour
    rows = hourly(hours, parameter="pm10", stations=3)
    heard = play(watched(("1h",) * 3), make_readings, rows, **data.draw(handling(len(rows))))
    assert stages(heard, "pm10") == replay(hours)


def replay(hours):
    """PM10 stages of a zone in plain Python, from the province's table."""
    stage, run, said = 0, [0, 0], {}
    for h, values in enumerate(hours, 1):
        known = [value for value in values if value is not None]
        mean = int(sum(known) / len(known) + 0.5) if known else None
        run = [n + 1 if mean is not None and mean >= level else 0 for n, level in zip(run, (150, 300), strict=True)]
        reached = sum(n >= 2 for n in run)
        if reached > stage:
            stage = reached
        elif stage and mean is not None and mean < (100, 150)[stage - 1]:
            stage -= 1
        else:
            continue
        said[h] = ("none", "advisory", "warning")[stage]
    return said


def test_a_late_reading_revises_no_alert(watched, make_readings):
    rows = [row for row in hourly([[80, 80, 80]] * 2 + [[30, 30, 30]] * 4) if row[1] != START + 2 * HOUR]
    missing = [(s, START + 2 * HOUR, {"pm25": 80.0}) for s in range(3)]
    late = play(watched(("1h",) * 3), make_readings, [*rows, *missing])
    assert late.alerts == []
    in_time = play(watched(("1h",) * 3), make_readings, sorted([*rows, *missing], key=lambda row: row[1]))
    assert stages(in_time, "pm25") == {2: "advisory", 3: "none"}


@example([1, 2, 3])
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6, unique=True))
@settings(HEAVY, max_examples=6)
def test_hours_before_a_gap_are_judged_however_long_it_was(watched, make_readings, days):
    """The second hour of an alert waits for a silent station when the gap begins."""
    every = ("1h",) * 3
    rows, start = [], START
    for gap in days:
        rows += [(s, start + h * HOUR, {"pm25": 90.0}) for h in (1, 2) for s in range(3) if (h, s) != (2, 2)]
        start += 2 * HOUR + gap * 7 * HOUR
        rows += [(s, start + h * HOUR, {"pm25": 20.0}) for h in (1, 2) for s in range(3)]
        start += 3 * HOUR
    heard = play(watched(every), make_readings, rows)
    assert [alert.stage for alert in heard.alerts] == ["advisory", "none"] * len(days)
    assert play(watched(every), make_readings, rows, range(1, len(rows))).said() == heard.said()
