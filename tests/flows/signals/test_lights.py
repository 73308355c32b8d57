"""Lights of a zone cannot lie: never better than the air they stand for, never late, never silent."""

from collections import defaultdict
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flows.kernels import lights
from flows.signals import lights as lights_module
from schemas.durations import minutes, seconds
from schemas.light import COLORS
from tests.support.signals import BANDS, CITIES, EPOCH, HEAVY, air, anyhow, play, steady, when
from tests.support.zones import HOUR, START, handling, shuffled, slot_mean, snapped


def promises(city, log, rows):
    """What must hold of every single state, against the readings alone: nobody else is asked."""
    ids = {station.id: (i, station) for i, station in enumerate(city.stations)}
    cells = defaultdict(dict)
    for koff in log.accepted:
        station, second, measured = rows[koff]
        slot = -(-snapped(second * 1_000_000, max(1, seconds(city.stations[station].every) // 60)) // 60_000_000)
        for name in BANDS:
            if measured.get(name, 9999) <= 1000:
                cells[station, name].setdefault(slot, []).append(measured[name])
    seqs = defaultdict(int)
    for state in log.states:
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
    log = play(city, make_readings, rows, **data.draw(handling(len(rows))))
    promises(city, log, rows)


@HEAVY
@given(anyhow())
def test_no_light_lies_in_the_wildest_air(watched, make_readings, case):
    every, rows = case
    city = watched(every)
    promises(city, play(city, make_readings, rows, range(0, len(rows), 7)), rows)


def counted(values):
    """Values of a slot that do not fail, in quanta."""
    return [round(value * 1e9) for value in values if value <= 1000]


def slow_light(city, rows, first, last):
    """One minute at a time, in plain Python: what a light of each station alone, in order and without lates, is told.

    The whole of the rules of a light but the words: (seq, color, as_of, pm10, pm25, coverage).
    """
    values = defaultdict(lambda: defaultdict(list))
    for station, second, measured in rows:
        for name in BANDS:
            if name in measured:
                values[station, name][-(-second // 60)].append(measured[name])
    told = {}
    for index in range(len(city.stations)):
        shown = sent = seq = None
        better_since, out, changes = {}, [], []
        for slot in range(first, last + 1):
            mean, share = {}, {}
            for name in BANDS:
                inside = [values[index, name].get(t, []) for t in range(slot - 59, slot + 1)]
                means = [slot_mean(sum(good), len(good)) for good in map(counted, inside) if good]
                share[name] = len(means) / 60
                failed = sum(len(of) - len(counted(of)) for of in inside)
                if share[name] >= 0.75 and failed * 10 <= sum(map(len, inside)):
                    mean[name] = (2 * sum(means) + len(means) * 10**9) // (2 * len(means) * 10**9)
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
                if shown == 0 and sum(slot - change < 60 for change in changes) >= 3:
                    show, better_since = 0, dict.fromkeys((2, 3, 4), slot - 1000)
            if shown != show or slot - sent >= 5:
                seq = 0 if seq is None else seq + 1
                changes += [slot] if shown not in (None, show) else []
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
    log = play(city, make_readings, rows)
    assume(len(log.accepted) == len(rows))
    first = (min(state.as_of for state in log.states) - EPOCH) // timedelta(minutes=1)
    newest = max(row[1] for row in rows) // 60
    expected = slow_light(city, rows, first, newest)
    for index in range(5):
        said = []
        for state in log.of(f"light-{index}"):
            slot = (state.as_of - EPOCH) // timedelta(minutes=1)
            whole = (state.seq, state.color, slot, state.pm10, state.pm25, state.coverage)
            said.append(whole[: 6 if state.grade else 3])
        assert said == expected[index]


@pytest.mark.parametrize("every", [("1m",) * 3, ("10m",) * 3, ("1m", "1m", "1h"), ("1h",)])
def test_worse_air_shows_within_one_closed_slot(watched, make_readings, every):
    """The first closed hour whose mean is worse is the one that says so."""
    jump = 185 if "1h" not in every else 180
    rows = steady(every, 9, lambda _, m: 20.0 if m <= jump else 200.0)
    log = play(watched(every), make_readings, rows)
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
        red = [state for state in log.of(f"light-{index}") if state.color == "red"]
        assert red[0].as_of == EPOCH + timedelta(minutes=START // 60 + worse)


@settings(HEAVY, max_examples=6)
@given(st.integers(0, 2**32), st.sampled_from([15.5, 35.5, 75.5]), st.sampled_from(["1m", "10m"]))
def test_noise_at_a_boundary_makes_at_most_four_changes_an_hour(watched, make_readings, seed, edge, cadence):
    random = np.random.default_rng(seed)
    every = (cadence,) * 3
    city = watched(every)
    rows = steady(every, 8, lambda *_: round(edge + float(random.normal(0, 8)), 2))
    log = play(city, make_readings, rows)
    for light in city.lights:
        states = log.of(light.id)
        at = [state.as_of for state, before in zip(states[1:], states, strict=False) if state.color != before.color]
        for i, moment in enumerate(at):
            assert sum(moment <= other < moment + timedelta(hours=1) for other in at[i:]) <= 4


@settings(HEAVY, max_examples=10)
@given(st.integers(0, 2**32), st.sampled_from([("1m",) * 3, ("1m", "1m", "1h"), ("10s", "1m", "5m", "1m")]), st.data())
def test_a_heartbeat_at_least_every_five_minutes_of_air(watched, make_readings, seed, every, data):
    city = watched(every)
    rows = shuffled(air(seed, every, 4), seed, 600)
    told, decide = defaultdict(list), lights.decide

    def seen(rules, state, airs, texts):
        after, sent = decide(rules, state, airs, texts)
        for light, slot in zip(sent.light.tolist(), airs.slots[sent.at].tolist(), strict=True):
            told[rules.lights[light]].append(slot)
        return after, sent

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lights_module.kernel, "decide", seen)
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
