"""What holds for every light: all rules against one light written out in plain Python, and few changes."""

import math
from dataclasses import replace

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels import lights
from flows.kernels.lights import State
from schemas.slots import NEVER
from tests.support.decisions import HOUR_0, NAN, air, colors, decide, made, minute, told
from tests.support.slow_lights import Air


class OneLight:
    """One light in plain Python, from the rules as they are told in docs/lights.md."""

    def __init__(self, order, life, dwell=30, heartbeat=5):
        self.order, self.life, self.dwell, self.heartbeat = order, life, dwell, heartbeat
        self.seq, self.sent, self.decided, self.last = -1, None, -math.inf, None
        self.trues = []  # (slot, grade) since the light was last gray
        self.changes, self.color_now = [], None

    def decide(self, now, a, said):
        if now <= self.decided:
            return None
        self.decided = now
        state = self.judge(now, a)
        text = " · ".join(part for part in (said, state.pop("mark")) if part)
        if self.last == (state["grade"], text) and now - self.sent < self.heartbeat:
            return None
        if self.color_now is not None and state["grade"] != self.color_now[0]:
            self.changes.append(now)
        self.color_now = (state["grade"],)
        self.last, self.sent, self.seq = (state["grade"], text), now, self.seq + 1
        return {**state, "seq": self.seq, "text": text or None}

    def judge(self, now, a):
        for s in self.order:
            covered = all(a.coverage[s, p] >= 0.75 and not np.isnan(a.mean[s, p]) for p in range(2))
            if covered and not (a.fault[s] | a.lifeless[s]).any() and now < a.as_of[s] + self.life[s]:
                break
        else:
            self.trues = []
            return self.gray(now)
        if self.color_now == (None,) and sum(now - change < 60 for change in self.changes) >= 3:
            return self.gray(now)
        pm10, pm25 = (max(0, math.floor(value + 0.5)) for value in a.mean[s].tolist())
        true = 1 + max(sum(pm10 > top for top in (30, 80, 150)), sum(pm25 > top for top in (15, 35, 75)))
        shown = self.color(now, true)
        mark = "인근 측정소" if s != self.order[0] else ""
        until = int(a.as_of[s] + self.life[s])
        return {
            "grade": shown,
            "pm10": pm10,
            "pm25": pm25,
            "as_of": int(a.as_of[s]),
            "until": until,
            "mark": mark,
            "station": s,
        }

    def gray(self, now):
        return {"grade": None, "pm10": None, "pm25": None, "as_of": now, "until": now + 15, "mark": "점검중"}

    def color(self, now, true):
        self.trues.append((now, true))
        for grade in (4, 3, 2):
            better = []
            for slot, value in reversed(self.trues):
                if value >= grade:
                    break
                better.append(slot)
            if len(better) < len(self.trues) and (not better or now - better[-1] < self.dwell):
                return grade
        return 1


GRADED = st.sampled_from([5, 15.49, 15.5, 16, 34, 35.5, 40, 75.5, 90])


@st.composite
def days(draw):
    """Some hours of three stations: noise, outages, faults, gaps in coverage, late windows; and texts."""
    n = draw(st.integers(1, 90))
    seed = draw(st.integers(0, 2**32))
    trouble = draw(st.sampled_from([0.0, 0.02, 0.2]))
    levels = draw(st.lists(GRADED, min_size=1, max_size=4))
    random = np.random.default_rng(seed)
    now = HOUR_0 + np.cumsum(random.choice([1, 1, 1, 1, 2, 7, 40], n))
    as_of = np.full(3, NEVER)
    steps = []
    for slot in now.tolist():
        arrives = random.random(3) >= trouble
        as_of = np.where(arrives, [slot, slot - random.integers(0, 20), slot // 60 * 60], as_of)
        mean = np.column_stack([random.choice(levels, 3) * 2.0, random.choice(levels, 3)])
        mean[random.random((3, 2)) < trouble / 3] = NAN
        coverage = np.where(random.random((3, 2)) < trouble, random.choice([0.5, 0.7499], (3, 2)), 0.75)
        fault, lifeless = (random.random((3, 2)) < share for share in (trouble, trouble / 5))
        a = Air(mean, coverage, as_of.copy(), fault, lifeless, np.full((3, 3), NAN))
        said = random.choice(["", "", "fire"], 2).tolist()
        steps.append((slot, a, said))
        if random.random() < trouble:  # the same slot, or an older one, once more
            steps.append((slot - int(random.integers(0, 3)), a, said))
    return steps


@given(days(), st.sets(st.integers(0, 90), max_size=4))
@settings(max_examples=150, deadline=None)
def test_all_rules_against_one_light_in_plain_python_with_restarts(steps, restarts):
    rules = made("1m 5m 1h", ("abc", "cb"))
    state = lights.start(rules)
    plain = [OneLight(order, [15, 15, 120]) for order in ([0, 1, 2], [2, 1])]
    for i, (now, a, said) in enumerate(steps):
        if i in restarts:
            kept = msgspec.json.decode(msgspec.json.encode(lights.snapshot(rules, state)))
            state = lights.restore(rules, kept)
        state, messages = told(rules, state, now, a, said)
        found = {message.light_id: message for message in messages}
        for light, model in enumerate(plain):
            expected = model.decide(now, a, said[light])
            message = found.get(f"light-{light}")
            assert (message is None) == (expected is None)
            if message is None:
                continue
            assert message.seq == expected["seq"]
            assert (message.grade, message.pm10, message.pm25) == tuple(expected[k] for k in ("grade", "pm10", "pm25"))
            assert (message.as_of, message.valid_until) == (minute(expected["as_of"]), minute(expected["until"]))
            assert message.text == expected["text"]
            assert message.stations == (["abc"[expected["station"]]] if "station" in expected else [])
            assert (message.coverage is None) == (message.color == "gray")
            if message.color != "gray":
                assert message.coverage >= 0.75
                assert message.valid_until > minute(now)


@given(st.integers(0, 2**32), st.sampled_from([15.5, 35.5, 75.5]))
@settings(max_examples=8, deadline=None)
def test_noise_at_a_boundary_makes_at_most_four_changes_an_hour(seed, edge):
    random = np.random.default_rng(seed)
    n, hours = 40, 5
    above = random.random((60 * hours, n)) < np.linspace(0.01, 0.99, n)
    rules = replace(
        made(),
        lights=[f"light-{i}" for i in range(n)],
        stations=[f"s{i}" for i in range(n)],
        candidates=np.arange(n, dtype=np.int32)[:, None],
        life=np.full(n, 15),
        low_cost=np.ones(n, bool),
    )
    state, shown = lights.start(rules), []
    for i, up in enumerate(above):
        state, _ = decide(rules, state, i, air(i, [0] * n, edge + np.where(up, 0.4, -0.4)), [""] * n)
        shown.append(state.grade)
    for one_light in np.array(shown).T:
        changes = np.flatnonzero(np.diff(one_light))
        for change in changes:
            assert ((changes >= change) & (changes < change + 60)).sum() <= 4


def test_four_changes_an_hour_is_the_most_that_a_boundary_makes():
    shown = np.array(colors([40, *([20] * 31 + [40]) * 5]))
    changes = np.flatnonzero(np.diff(shown))
    assert changes.size == 10
    assert max(((changes >= c) & (changes < c + 60)).sum() for c in changes) == 4


@given(days())
@settings(max_examples=60, deadline=None)
def test_worse_air_shows_at_the_slot_that_decides(steps):
    rules = made("1m 5m 1h")
    state = lights.start(rules)
    for now, a, _ in steps:
        state, sent = decide(rules, state, now, a, [""])
        assert ((sent.true <= sent.grade) | (sent.grade == 0)).all()
        stays = (sent.true > 0) & (sent.grade == 0)
        assert ((sent.waits >= 0) & (sent.waits < np.where(stays, 60, rules.dwell))).all()
        assert not sent.waits[sent.true == sent.grade].any()


def test_nothing_is_written_to():
    rules = made()
    a = air(HOUR_0, [10, 50, 100], [1, 1, 1], age=[20, 0, 0])
    state = lights.start(rules)
    for array in (
        a.mean,
        a.coverage,
        a.as_of,
        a.fault,
        rules.candidates,
        rules.life,
        *(getattr(state, name) for name in State.__slots__ if name != "text"),
    ):
        array.flags.writeable = False
    kept = lights.snapshot(rules, state)
    first = told(rules, state, HOUR_0, a)
    assert told(rules, state, HOUR_0, a)[1] == first[1]
    assert lights.snapshot(rules, state) == kept
    adopted = lights.adopt(rules, state, first[1])
    assert adopted.seq[0] == 0
    assert lights.snapshot(rules, state) == kept
