"""A batch of decisions is its slots, one by one, in numpy; wherever it is cut, and in time that a batch can spare."""

import time
from dataclasses import fields, replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels import lights
from flows.kernels.light_rules import Rules
from flows.kernels.lights import Airs, State
from schemas.city_rules import Words
from schemas.slots import ALWAYS, NEVER
from tests.support.decisions import BANDS, HOUR_0, NAN, made, texts
from tests.support.slow_lights import decide_all

LEVELS = [5.0, 15.4999999994, 15.4999999995, 15.5, 16.0, 30.5, 34.0, 35.5, 75.5, 80.5, 151.0, -0.4, -3.0, 0.0, NAN]
WORDS = [Words(), Words(nearby="", out_of_service=""), Words(nearby="fire", out_of_service="fire")]


@st.composite
def zones(draw):
    """Rules of a zone: lights that share stations, in orders of all lengths, and stations fast and slow."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    stations, n = draw(st.sampled_from([0, 1, 2, 3, 6, 60])), draw(st.sampled_from([0, 1, 2, 5]))
    candidates = np.array([random.permutation(stations) for _ in range(n)], np.int32).reshape(n, stations)
    for order in candidates:
        order[random.integers(0, stations + 1) :] = -1
    return Rules(
        lights=[f"light-{i}" for i in range(n)],
        stations=[f"s{i}" for i in range(stations)],
        candidates=candidates,
        life=random.choice([15, 120], stations),
        low_cost=random.random(stations) < 0.5,
        bands=BANDS,
        needs=np.array(draw(st.sampled_from([(True, True), (True, False), (False, True)]))),
        coverage=0.75,
        gray_life=15,
        heartbeat=draw(st.sampled_from([1, 2, 5, 7])),
        dwell=draw(st.sampled_from([0, 1, 7, 30])),
        words=draw(st.sampled_from(WORDS)),
    )


@st.composite
def batches(draw):
    """Rules, a state to go on from, the air of many slots, and the text of people for each."""
    rules = draw(zones())
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, stations = draw(st.integers(0, 60)), len(rules.stations)
    trouble = draw(st.sampled_from([0.0, 0.02, 0.3, 1.0]))
    levels = draw(st.lists(st.sampled_from(LEVELS) | st.floats(-5, 400), min_size=1, max_size=5))
    slots = HOUR_0 + np.cumsum(random.choice(draw(st.sampled_from([[1], [1, 1, 1, 2, 7, 40], [1, 200]])), n))
    steady = np.repeat(random.choice(levels, (n // 8 + 1, stations, 2)), 8, axis=0)[:n]
    mean = np.where(random.random((n, stations, 2)) < trouble, random.choice(levels, (n, stations, 2)), steady)
    mean[random.random(mean.shape) < trouble / 3] = NAN
    coverage = np.where(random.random(mean.shape) < trouble / 2, random.choice([0, 0.74, NAN], mean.shape), 0.75)
    coverage[random.random(mean.shape) < 0.3] = 1.0
    age = random.choice([0, 0, 0, 1, 14, 15, 119, 120], (n, stations)) * (random.random((n, stations)) < trouble)
    as_of = np.where(random.random((n, stations)) < trouble / 5, NEVER, slots[:, None] - age)
    beside = np.where(random.random((n, stations, 3)) < 0.5, NAN, random.random((n, stations, 3)))
    fault, lifeless = (random.random(mean.shape) < trouble / share for share in (5, 9))
    airs = Airs(slots, mean, coverage, as_of, fault, lifeless, beside)
    sets = [random.choice(["", "", "fire", "flood"], len(rules.lights)).tolist() for _ in range(3)]
    chosen = np.repeat(random.integers(0, 3, n // 5 + 1), 5)[:n]
    people = [sets[i] for i in chosen]
    ends = [[(HOUR_0 + 9999 + int(i)) if text else ALWAYS for text in sets[i]] for i in chosen]
    return (
        rules,
        draw(st.just(lights.start(rules)) | st.builds(earlier, st.just(rules), st.integers(0, 99))),
        airs,
        people,
        ends,
    )


def earlier(rules, seed):
    """State of lights that were decided before, as ``adopt`` or a batch leaves it; some later than the batch begins."""
    random, n = np.random.default_rng(seed), len(rules.lights)
    decided = HOUR_0 + random.integers(-20, 20, n)
    return State(
        random.integers(-1, 5, n),
        random.integers(-1, 99, n),
        decided - random.integers(0, 9, n),
        decided,
        random.choice([ALWAYS, NEVER, HOUR_0 - 3, HOUR_0 - 40], (n, 3)),
        random.choice(["", "fire", "unheard-of", "fire · 점검중"], n).tolist(),
        random.choice([ALWAYS, HOUR_0 + 9999], n),
        np.sort(random.choice([NEVER, HOUR_0 - 70, HOUR_0 - 50, HOUR_0 - 1], (n, 3)), axis=1)[:, ::-1].copy(),
    )


def plain(state):
    return [
        value if isinstance(value, list) else value.tolist()
        for value in (getattr(state, f.name) for f in fields(state))
    ]


@given(batches(), st.lists(st.integers(0, 60), max_size=5), st.booleans())
@settings(max_examples=400, deadline=None)
def test_a_batch_is_its_slots_one_by_one_wherever_it_is_cut(batch, cuts, restarts):
    rules, state, airs, people, ends = batch
    expected, rows = decide_all(rules, state, airs, people, ends)
    bounds = [0, *sorted(min(cut, airs.slots.size) for cut in cuts), airs.slots.size]
    sent = []
    for begin, end in zip(bounds, bounds[1:], strict=False):
        state, part = lights.decide(
            rules, state, airs.slice(begin, end), texts(rules, *people[begin:end], ends=ends[begin:end])
        )
        sent += [row._replace(at=begin + row.at) for row in part.rows()]
        if restarts:
            state = lights.restore(rules, msgspec.json.decode(msgspec.json.encode(lights.snapshot(rules, state))))
    assert repr(sent) == repr(rows), "to the last bit"
    assert plain(state) == plain(expected)


@given(batches())
@settings(max_examples=50, deadline=None)
def test_texts_may_share_sets_and_come_in_any_layout(batch):
    rules, state, airs, people, _ = batch
    whole = texts(rules, *people)
    sets = [*{tuple(of_slot): None for of_slot in people}]
    shared = texts(rules, *sets)
    shared = replace(shared, index=np.array([sets.index(tuple(of_slot)) for of_slot in people], np.int64))
    scattered = Airs(*(np.asfortranarray(getattr(airs, f.name)) for f in fields(airs)))
    first, second = lights.decide(rules, state, airs, whole), lights.decide(rules, state, scattered, shared)
    assert repr([*first[1].rows()]) == repr([*second[1].rows()])
    assert plain(first[0]) == plain(second[0])


@given(batches())
@settings(max_examples=50, deadline=None)
def test_a_batch_writes_to_nothing_and_gives_what_is_the_callers_own(batch):
    rules, state, airs, people, _ = batch
    words = texts(rules, *people)
    given_in = [getattr(of, f.name) for of in (rules, state, airs, words) for f in fields(of)]
    arrays = [array for array in given_in if isinstance(array, np.ndarray)]
    for array in arrays:
        array.flags.writeable = False
    before = plain(state), dict(words.codes)
    after, sent = lights.decide(rules, state, airs, words)
    assert (plain(state), dict(words.codes)) == before
    made_new = [getattr(of, f.name) for of in (after, sent) for f in fields(of) if f.name != "text"]
    assert all(array.flags.writeable for array in made_new)
    assert not any(np.shares_memory(new, array) for new in made_new for array in arrays)


def test_rows_of_a_selection():
    rules = made("1m 1m", ("a", "b"))
    airs = Airs(
        HOUR_0 + np.arange(2),
        np.array([[[1.0, 40.0], [90.0, 1.0]], [[1.0, 80.0], [90.0, 1.0]]]),
        np.ones((2, 2, 2)),
        HOUR_0 + np.zeros((2, 2), np.int64),
        np.zeros((2, 2, 2), bool),
        np.zeros((2, 2, 2), bool),
        np.ones((2, 2, 3)),
    )
    _, sent = lights.decide(rules, lights.start(rules), airs, texts(rules, ["", "fire"], ["", "fire"]))
    rows = [*sent.rows()]
    assert [(row.at, row.light, row.grade, row.pm10, row.pm25, row.text) for row in rows] == [
        (0, 0, 3, 1.0, 40.0, ""),
        (0, 1, 3, 90.0, 1.0, "fire"),
        (1, 0, 4, 1.0, 80.0, ""),
    ]
    assert [*sent.select(np.array([2, 0])).rows()] == [rows[2], rows[0]]
    assert [*sent.select(np.empty(0, np.int64)).rows()] == []


@pytest.mark.parametrize(
    ("n", "stations", "usable", "slots", "limit"),
    [(13, 48, 0.9, 1440, 0.05), (13, 48, 0.0, 1440, 0.05), (2000, 5000, 0.9, 2, 0.1), (2000, 5000, 0.0002, 2, 0.1)],
)
def test_a_batch_is_quick(n, stations, usable, slots, limit):
    """In seconds of the processor, so that a busy machine fails nothing."""
    random = np.random.default_rng(1)
    rules = replace(
        made(),
        lights=[f"light-{i}" for i in range(n)],
        stations=[f"s{i}" for i in range(stations)],
        candidates=np.stack([random.permutation(stations) for _ in range(n)]).astype(np.int32),
        life=np.full(stations, 15),
        low_cost=np.ones(stations, bool),
    )
    fault = random.random((slots, stations, 2)) >= usable
    fault[:, 0] = usable == 0
    at = HOUR_0 + np.arange(slots)
    mean = random.uniform(0, 200, (slots, stations, 2))
    airs = Airs(
        at, mean, np.ones(mean.shape), np.repeat(at[:, None], stations, axis=1), fault, fault, mean[:, :, [0, 0, 0]]
    )
    words = replace(texts(rules, [""] * n), index=np.zeros(slots, np.int64))
    took = []
    for _ in range(3):
        begun = time.thread_time()
        _, sent = lights.decide(rules, lights.start(rules), airs, words)
        took.append(time.thread_time() - begun)
    assert sent.light.size >= n
    assert min(took) < limit
