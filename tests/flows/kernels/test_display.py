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
from schemas.light import COLORS, LightState

ROOT = Path(__file__).resolve().parents[3]
VECTORS = json.loads((ROOT / "tests" / "vectors" / "lights.json").read_text(encoding="utf-8"))
PAGE = (ROOT / "docs" / "lights.md").read_text(encoding="utf-8")
START = datetime(2026, 11, 22, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_vectors(case):
    newest = None
    for event in case["events"]:
        if "receive" in event:
            message = msgspec.convert(event["receive"], LightState)
            newest = display.take(VECTORS["light_id"], newest, message)
            continue
        clock = datetime.fromisoformat(event["clock"])
        tolerance = timedelta(seconds=VECTORS["tolerance_seconds"])
        synchronised = event.get("synchronised", True)
        assert display.show(newest, clock, synchronised=synchronised, tolerance=tolerance)._asdict() == event["shows"]
        assert display.show(newest, clock, synchronised=synchronised) == display.Shown(**event["shows"])


def test_the_page_lists_the_vectors_and_the_faces():
    told = re.findall(r"^\| \d+ \| (.*) \|$", PAGE, re.M)
    assert told == [case["name"] for case in VECTORS["cases"]]
    for color, face in zip(COLORS, display.FACES, strict=True):
        assert f"| {color} | {face or 'none'} |" in PAGE
    assert {"nothing yet", "clock", "over", "told"} == {
        event["shows"]["why"] for case in VECTORS["cases"] for event in case["events"] if "shows" in event
    }


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
        assert shown == ("gray", None, None, None, None, shown.why)
        assert shown.why != "told"
    else:
        assert shown[:1] + shown[2:] == (newest.color, newest.pm10, newest.pm25, newest.text, "told")
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
