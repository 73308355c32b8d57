"""What a light itself shows: the vectors that makers of lights test against, and what no order of messages can do."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels import display
from schemas.light import COLORS, MAX_LIFE, MAX_TEXT, SEQ_END, LightState, WildState, parse_state

ROOT = Path(__file__).resolve().parents[3]
VECTORS = json.loads((ROOT / "tests" / "vectors" / "lights.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "lights.md").read_text(encoding="utf-8")
START = datetime(2026, 11, 22, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def raw(event):
    """The bytes that an event hands the light; none for a message without a value."""
    if "receive_text" in event:
        return event["receive_text"].encode()
    return None if event["receive"] is None else msgspec.json.encode(event["receive"])


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_vectors(case):
    newest = None
    for event in case["events"]:
        if "clock" not in event:
            newest = display.receive(VECTORS["light_id"], newest, raw(event))
            continue
        clock = datetime.fromisoformat(event["clock"])
        tolerance = timedelta(seconds=VECTORS["tolerance_seconds"])
        synchronised = event.get("synchronised", True)
        shown = display.show(newest, clock, synchronised=synchronised, tolerance=tolerance)
        assert shown._asdict() == {**NOTHING_BESIDE, **event["shows"]}
        assert display.show(newest, clock, synchronised=synchronised) == shown


NOTHING_BESIDE = dict.fromkeys(("o3", "temperature", "humidity"))


def test_the_page_lists_the_vectors_and_the_faces():
    listed = re.findall(r"^\| \d+ \| (.*) \|$", PAGE, re.M)
    assert listed == [case["name"] for case in VECTORS["cases"]]
    for color, face in zip(COLORS, display.FACES, strict=True):
        assert f"| {color} | {face or 'none'} |" in PAGE
    assert {"nothing yet", "color", "clock", "over", "told"} == {
        event["shows"]["why"] for case in VECTORS["cases"] for event in case["events"] if "shows" in event
    }


def test_the_page_says_the_limits():
    assert f"{MAX_TEXT} characters" in PAGE
    assert "three hours" in PAGE
    assert timedelta(hours=3) == MAX_LIFE
    assert "2⁵³" in PAGE
    assert SEQ_END == 2**53


def test_numbers_beside_the_color_are_shown_while_it_is():
    beside = {"o3": 0.031, "temperature": 4.1, "humidity": 61.0}
    told = msgspec.structs.replace(state(1, 2, 0, 15), **beside)
    newest = display.receive("light-07", None, msgspec.json.encode(told))
    assert display.show(newest, START + MINUTE)[4:7] == (0.031, 4.1, 61.0)
    assert display.show(newest, START + 15 * MINUTE)[4:7] == (None, None, None)


BROKEN = [
    {"color": "blue"},
    {"grade": 5},
    {"grade": None},
    {"seq": -1},
    {"seq": 2**53},
    {"pm25": "40"},
    {"pm10": [1.0]},
    {"o3": "much"},
    {"as_of": 1763771460},
    {"as_of": "2026-11-22T09:31:00"},
    {"as_of": "1969-12-31T23:59:00Z", "valid_until": "1970-01-01T00:10:00Z"},
    {"as_of": "9999-12-31T23:59:00Z", "valid_until": "9999-12-31T23:59:30Z"},
    {"valid_until": "2036-11-22T09:46:00+09:00"},
    {"text": "x" * (MAX_TEXT + 1)},
    {"text": 7},
    {"stations": "a"},
    {"coverage": 1.5},
    {"light_id": ""},
]


@pytest.mark.parametrize("wrong", BROKEN, ids=str)
def test_what_breaks_the_contract_changes_nothing(wrong):
    good = {**msgspec.to_builtins(state(5, 2, 0, 15)), "seq": 9}
    for color in ({}, {"color": "purple"}):  # an unknown color excuses nothing
        message = {**good, **color, **wrong}
        if message["color"] != "purple" or "color" not in wrong:
            with pytest.raises(ValueError, match=r"."):
                parse_state(msgspec.json.encode(message))


def test_an_unknown_color_counts_as_the_newest():
    message = {**msgspec.to_builtins(state(5, 2, 0, 15)), "color": "purple"}
    newest = display.receive("light-07", state(4, 1, 0, 15), msgspec.json.encode(message))
    assert isinstance(newest, WildState)
    assert display.show(newest, START) == display.gray("color")
    assert display.take("light-07", newest, state(6, 1, 0, 15)) == state(6, 1, 0, 15)


@pytest.fixture
def example():
    """The message shown on the page."""
    return msgspec.json.decode(re.search(r"```json\n(.*?)```", PAGE, re.S)[1], type=LightState)


def test_the_page_names_every_field(example):
    for name in LightState.__struct_fields__:
        assert f"| `{name}` |" in PAGE
    assert display.show(example, example.as_of).color == example.color


def state(seq, grade, as_of, lasts, light="light-07"):
    return LightState(
        light_id=light,
        seq=seq,
        color=COLORS[grade],
        grade=grade or None,
        parameter="pm25" if grade else None,
        pm10=1.0 * grade if grade else None,
        pm25=2.0 * grade if grade else None,
        as_of=START + as_of * MINUTE,
        valid_until=START + (as_of + lasts) * MINUTE,
        stations=["a"] if grade else [],
        coverage=0.9 if grade else None,
        reason="",
        text=f"text {seq}",
    )


SENT = st.lists(
    st.builds(
        state,
        st.integers(0, 20),
        st.integers(0, 4),
        st.integers(0, 60),
        st.sampled_from([15, 120]),
        st.sampled_from(["light-07", "light-07", "light-08"]),
    ),
    max_size=20,
    unique_by=lambda message: message.seq,
)
CLOCKS = st.integers(-20, 200).map(lambda n: START + n * MINUTE)


def after(messages):
    newest = None
    for message in messages:
        newest = display.take("light-07", newest, message)
    return newest


@given(SENT, st.data())
@settings(max_examples=200, deadline=None)
def test_order_and_repeats_do_not_matter(sent, data):
    came = data.draw(
        st.permutations(sent + data.draw(st.lists(st.sampled_from(sent), max_size=9) if sent else st.just([])))
    )
    ours = [message for message in sent if message.light_id == "light-07"]
    assert after(came) == max(ours, key=lambda message: message.seq, default=None)


@given(SENT, SENT)
@settings(max_examples=200, deadline=None)
def test_old_messages_never_change_a_light_back(sent, more):
    newest = after(sent)
    seqs = [newest.seq] if newest else []
    for message in sent + more:
        newest = display.take("light-07", newest, message)
        if newest:
            seqs.append(newest.seq)
    assert seqs == sorted(seqs)
    assert after([*sent, *sent]) == after(sent)


@given(SENT, CLOCKS, st.booleans())
@settings(max_examples=300, deadline=None)
def test_never_colored_past_its_time_nor_with_a_doubtful_clock(sent, clock, synchronised):
    newest = after(sent)
    shown = display.show(newest, clock, synchronised=synchronised)
    if newest is None or clock >= newest.valid_until or not synchronised or clock < newest.as_of - 5 * MINUTE:
        assert shown == display.gray(shown.why)
        assert shown.why != "told"
    else:
        numbers = newest.pm10, newest.pm25, newest.o3, newest.temperature, newest.humidity
        assert shown[:1] + shown[2:] == (newest.color, *numbers, newest.text, "told")
        assert (shown.face is None) == (shown.color == "gray")
    if shown.color == "gray":
        assert (shown.face, shown.pm10, shown.pm25) == (None, None, None)


@given(SENT, CLOCKS)
@settings(max_examples=100, deadline=None)
def test_a_light_that_lost_its_memory_trusts_the_newest_message_or_none(sent, clock):
    """The topic is compacted: after a restart a light reads the newest message, and perhaps older ones before it."""
    whole = after(sent)
    if whole is not None:
        assert display.show(after([whole]), clock) == display.show(whole, clock)
