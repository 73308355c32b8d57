"""Lights go on where they were: from a snapshot, from the topic, and with lights that come and go."""

from datetime import timedelta

import msgspec

from flows.kernels import lights
from schemas.light import LightState
from tests.support.decisions import HOUR_0, air, made, told


def test_lights_come_and_go_between_runs():
    before = made("1m", ("a", "a"))
    state, _ = told(before, lights.start(before), HOUR_0, air(HOUR_0, [1], [40]))
    kept = lights.snapshot(before, state)
    kept["gone"] = kept.pop("light-1")
    after = lights.restore(before, kept)
    assert (after.seq.tolist(), after.grade.tolist(), after.text) == ([0, -1], [3, -1], ["", ""])
    _, messages = told(before, after, HOUR_0 + 1, air(HOUR_0 + 1, [1], [40]))
    assert [(m.light_id, m.seq) for m in messages] == [("light-1", 0)]


def test_a_lost_snapshot_goes_on_from_the_topic():
    rules = made("1m", ("a", "a", "a"))
    _, first = told(rules, lights.start(rules), HOUR_0, air(HOUR_0, [1], [40]), ["fire", "", ""])
    newest = [msgspec.structs.replace(first[0], seq=41), msgspec.structs.replace(first[1], light_id="gone")]
    state = lights.adopt(rules, lights.start(rules), newest)
    assert (state.seq.tolist(), state.grade.tolist(), state.text) == ([41, -1, -1], [3, -1, -1], ["fire", "", ""])
    old = msgspec.structs.replace(first[0], seq=40, text="older")
    again = lights.adopt(rules, lights.start(rules), [newest[1], newest[0], old, first[2]])
    assert (again.seq.tolist(), again.text) == ([41, -1, 0], ["fire", "", ""]), "what is left out hides nothing"
    for now in (HOUR_0 - 5, HOUR_0):  # decisions that were made, replayed
        _, messages = told(rules, state, now, air(now, [1], [80]))
        assert "light-0" not in {m.light_id for m in messages}
    state, messages = told(rules, state, HOUR_0 + 1, air(HOUR_0 + 1, [1], [20]), ["fire", "", ""])
    assert "light-0" not in {m.light_id for m in messages}  # better air waits anew
    for now in range(HOUR_0 + 2, HOUR_0 + 32):
        state, messages = told(rules, state, now, air(now, [1], [20]), ["fire", "", ""])
    assert [(m.light_id, m.color, m.seq) for m in messages][:1] == [("light-0", "green", 48)]


def test_only_newer_messages_are_adopted():
    rules = made("1m", "a")
    state, [message] = told(rules, lights.start(rules), HOUR_0, air(HOUR_0, [1], [40]))
    for seq in (0, -5):
        old = msgspec.structs.replace(message, seq=seq, color="red", grade=4)
        assert lights.snapshot(rules, lights.adopt(rules, state, [old])) == lights.snapshot(rules, state)
    half = message.as_of + timedelta(seconds=1)
    later = msgspec.structs.replace(message, seq=1, as_of=half)
    assert lights.adopt(rules, state, [later]).decided.tolist() == [HOUR_0 + 1]
    earlier = msgspec.structs.replace(message, seq=1, as_of=message.as_of - timedelta(hours=1))
    assert lights.adopt(rules, state, [earlier]).decided.tolist() == [HOUR_0]
    gray = LightState(
        **{**msgspec.structs.asdict(later), **dict.fromkeys(("grade", "parameter", "pm10", "pm25"))} | {"color": "gray"}
    )
    _, [shown] = told(rules, lights.adopt(rules, state, [gray]), HOUR_0 + 2, air(HOUR_0 + 2, [1], [1]))
    assert (shown.color, shown.seq) == ("blue", 2)  # from gray the true grade at once
    still = lights.adopt(rules, state, [msgspec.structs.replace(gray, text="점검중")])
    assert told(rules, still, HOUR_0 + 2, air(HOUR_0 + 2, [1], [1], fault=True))[1] == []  # as it was told
