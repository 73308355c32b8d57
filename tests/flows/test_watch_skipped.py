"""Slots in which no light is decided: none of them would have said anything."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.kernels import light_changes, lights
from flows.signals import light_rules
from flows.signals import lights as watch_module
from tests.flows.watches import BANDS, CITIES, HEAVY, air, play, steady
from tests.flows.zones import shuffled

pytestmark = pytest.mark.usefixtures("small_rooms")


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
