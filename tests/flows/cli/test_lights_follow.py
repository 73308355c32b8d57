"""``cityair lights --follow`` as a light: whatever comes, and wherever its clock goes, it shows what the rules say."""

import contextlib
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flows.cli import lights
from schemas.city import parse
from schemas.light import COLORS, LightState

NOON = datetime(2026, 3, 2, 3, tzinfo=UTC)  # in Seoul
SECOND = timedelta(seconds=1)
CITY = b"""
city = { id = "c", name = "C", timezone = "Asia/Seoul" }
stations = [{ id = "a", lat = 35.0, lon = 128.0 }]
lights = [{ id = "light-1", lat = 35.0, lon = 128.0 }, { id = "light-2", lat = 35.0, lon = 128.0 }]
"""
FACES = {"gray": None, "blue": "smile", "green": "calm", "yellow": "worry", "red": "frown"}
LOOKS = ("color", "face", "pm10", "pm25", "text", "why")


def state(light, seq, grade, second, life=900, text=None):
    """A state of air that ends so many seconds after noon."""
    return LightState(
        light_id=light,
        seq=seq,
        color=COLORS[grade],
        grade=grade or None,
        parameter="pm25" if grade else None,
        pm10=40.0 if grade else None,
        pm25=10.0 * grade if grade else None,
        as_of=NOON + second * SECOND,
        valid_until=NOON + (second + life) * SECOND,
        stations=["a"] if grade else [],
        coverage=1.0 if grade else None,
        reason="",
        text=text,
    )


class Light:
    """One light in plain Python, from the rules as docs/lights.md numbers them."""

    def __init__(self):
        self.newest = None

    def take(self, message):
        if self.newest is None or message.seq > self.newest.seq:  # 2
            self.newest = message

    def shows(self, clock):
        def gray(why):
            return dict(zip(LOOKS, ("gray", None, None, None, None, why), strict=True))

        told = self.newest
        if told is None:
            return gray("nothing yet")  # 1
        if told.as_of - clock > timedelta(minutes=5):
            return gray("clock")  # 4
        if clock >= told.valid_until:
            return gray("over")  # 3
        return {
            "color": told.color,
            "face": FACES[told.color],
            "pm10": told.pm10,
            "pm25": told.pm25,
            "text": told.text,
            "why": "told",
        }


class Script:
    """In the place of a topic: hands out what came in each second, sets the clock, and looks at what was told."""

    trouble = ""

    def __init__(self, first, steps, out):
        self.city = parse(CITY)
        self.clock, self._steps, self._out = first, iter(steps), out
        self.told = []  # lines after each step

    def read_all(self, at=None):
        assert at is None
        return []

    def poll(self, seconds):
        assert 0 < seconds <= 1.001, "the clock is asked at least once a second"
        self.told.append([json.loads(line) for line in self._out.getvalue().splitlines()])
        step = next(self._steps, None)
        if step is None:
            raise KeyboardInterrupt
        self.clock, messages = step
        return messages


def follow(first, steps):
    """Play it; return what each step told."""
    out = io.StringIO()
    script = Script(first, steps, out)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        patch.setattr(lights, "now", lambda: script.clock)
        with pytest.raises(KeyboardInterrupt):
            lights.follow_lights(script, None, as_json=True)
    assert len(script.told) == len(steps) + 1
    upto = [0, *map(len, script.told)]
    return [script.told[-1][begin:end] for begin, end in zip(upto, upto[1:], strict=False)]


CLOCKS = st.one_of(
    st.integers(-1200, 2400), st.sampled_from([-301, -300, -299, 0, 599, 600, 899, 900, 901, -86_400, 86_400])
).map(lambda second: NOON + second * SECOND)
MESSAGES = st.builds(
    state,
    st.sampled_from(["light-1", "light-1", "light-2", "elsewhere"]),
    st.integers(0, 9),
    st.integers(0, 4),
    st.sampled_from([0, 0, 60, -3600]),
    st.sampled_from([900, 900, 7200]),
    st.sampled_from([None, "words"]),
)
STEPS = st.lists(st.tuples(CLOCKS, st.lists(MESSAGES, max_size=3)), max_size=15)
GREEN = state("light-1", 1, 2, 0)


@given(CLOCKS, STEPS)
@example(NOON, [(NOON + s * SECOND, [GREEN]) for s in (0, 899, 900, 899, -300, -301, -300, 900)])
@settings(max_examples=150, deadline=None)
def test_whatever_comes_and_wherever_the_clock_goes(first, steps):
    model = {"light-1": Light(), "light-2": Light()}
    last = {}
    for (clock, messages), told in zip([(first, []), *steps], follow(first, steps), strict=True):
        for message in messages:
            model.setdefault(message.light_id, Light()).take(message)
        now = {light: one.shows(clock) for light, one in model.items()}
        assert len({line["light_id"] for line in told}) == len(told)
        assert {line["light_id"] for line in told} == {light for light in now if now[light] != last.get(light)}
        for line in told:
            assert {name: line[name] for name in LOOKS} == now[line["light_id"]]
            assert datetime.fromisoformat(line["at"]) == clock
        last = now


def test_a_clock_that_comes_right_brings_the_color_back():
    """By itself, with no message: only what was never in force, or is over, needs one."""
    clocks = [-301, -300, 0, 1, -86_400, 899, 900]
    told = follow(NOON, [(NOON + second * SECOND, [GREEN]) for second in clocks])
    assert [[(line["color"], line["why"]) for line in step] for step in told] == [
        [("gray", "nothing yet")] * 2,
        [("gray", "clock")],
        [("green", "told")],
        [],
        [],
        [("gray", "clock")],
        [("green", "told")],
        [("gray", "over")],
    ]
