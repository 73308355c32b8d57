"""When a light changes: at once for the worse, for the better after the dwell, and a heartbeat in between."""

from flows.kernels import lights
from tests.support.decisions import HOUR_0, NAN, air, colors, made, minute, run, told


def test_worse_shows_at_once_and_better_after_the_dwell():
    values = [10, 40, *[20] * 31, 80, *[10] * 40]
    shown = colors(values)
    assert shown[:3] == [1, 3, 3]
    assert shown[2:32] == [3] * 30
    assert shown[32] == 2
    assert shown[33:64] == [4] * 31
    assert shown[64] == 1


def test_a_grade_that_got_worse_again_waits_anew():
    assert colors([40, *[20] * 29, 40, *[20] * 30, 20]) == [3] * 61 + [2]


def test_after_the_dwell_the_worst_of_it_is_shown():
    values = [80, *[20, 10] * 20]
    shown = colors(values)
    assert shown[:31] == [4] * 31
    assert set(shown[31:]) == {2}
    assert colors([80, *[10] * 10, *[20] * 5, *[10] * 40])[31:46] == [2] * 15
    assert colors([80, *[10] * 10, *[20] * 5, *[10] * 40])[46:] == [1] * 10


def test_dwell_comes_from_the_city_file():
    assert colors([40, *[20] * 11], dwell="10m") == [3] * 11 + [2]


def test_gray_comes_and_goes_at_once():
    assert colors([80, NAN, 10, 40]) == [4, 0, 1, 3]
    assert colors([80, *[40] * 60, NAN, NAN, 20, 10])[-4:] == [0, 0, 2, 2]


def test_a_light_that_changed_three_times_within_the_hour_stays_gray_until_it_is_over():
    shown = colors([10, 10, NAN, 10, NAN, *[10] * 60])
    assert shown[:5] == [1, 1, 0, 1, 0]
    assert shown[5:62] == [0] * 57, "until the first change lies an hour back"
    assert shown[62:] == [1] * 3


def test_a_light_that_stays_gray_says_why():
    rules = made("1m", "a")
    state, now = lights.start(rules), HOUR_0
    for value in (10, NAN, 10, NAN, 10):
        state, messages = told(rules, state, now, air(now, [1], [value]))
        now += 1
    assert messages == []
    for _ in range(4):
        state, messages = told(rules, state, now, air(now, [1], [10]))
        now += 1
    assert messages[0].reason == "its color changed 3 times within the hour; no color for 53 min"


def test_the_number_shown_is_of_the_air_now():
    rules = made("1m", "a")
    state, _ = told(rules, lights.start(rules), HOUR_0, air(HOUR_0, [1], [40]))
    for later in range(1, 5):
        state, none = told(rules, state, HOUR_0 + later, air(HOUR_0 + later, [1], [20]))
        assert none == []
    state, [waits] = told(rules, state, HOUR_0 + 5, air(HOUR_0 + 5, [1], [21]))
    assert (waits.color, waits.pm25, waits.seq) == ("yellow", 21.0, 1)
    assert waits.reason == "pm25 1 h mean 21 µg/m³, better than yellow for 4 of 30 min, 간이측정기"


def test_the_first_better_minute_waits_none_of_the_dwell():
    rules = made("1m", "a")
    state, _ = told(rules, lights.start(rules), HOUR_0, air(HOUR_0, [1], [80]))
    _, [message] = told(rules, state, HOUR_0 + 5, air(HOUR_0 + 5, [1], [74]))
    assert "better than red for 0 of 30 min" in message.reason


def test_a_heartbeat_every_five_minutes_with_a_higher_seq():
    rules = made("1m 1m", ("ab", "ab"))
    _, out = run(rules, [(n, air(n, [1] * 2, [1] * 2), None) for n in range(HOUR_0, HOUR_0 + 16)])
    assert [len(messages) for messages in out] == [2, 0, 0, 0, 0] * 3 + [2]
    assert [message.seq for messages in out for message in messages if message.light_id == "light-1"] == [0, 1, 2, 3]
    _, out = run(made("1m", "a", heartbeat="2m"), [(n, air(n, [1], [1]), None) for n in range(5)])
    assert [len(messages) for messages in out] == [1, 0, 1, 0, 1]


def test_a_change_is_told_between_heartbeats_and_to_its_light_alone():
    rules = made("1m 1m", ("a", "b"))
    steps = [(HOUR_0 + n, air(HOUR_0 + n, [1, 1], [1, 40 if n > 2 else 1]), None) for n in range(8)]
    _, out = run(rules, steps)
    assert [[(m.light_id[-1], m.color) for m in messages] for messages in out] == [
        [("0", "blue"), ("1", "blue")],
        [],
        [],
        [("1", "yellow")],
        [],
        [("0", "blue")],
        [],
        [],
    ]


def test_air_that_stops_grays_a_light_at_its_time():
    rules = made("1m", "a")
    still = air(HOUR_0, [1], [1])
    _, out = run(rules, [(n, still, None) for n in range(HOUR_0, HOUR_0 + 17)])
    assert [m.color for m in out[14]] == []
    assert [m.color for m in out[15]] == ["gray"]
    assert out[10][0].valid_until == minute(HOUR_0 + 15)
    assert out[15][0].reason == "a: newest air is 15 min old"


def test_a_decision_for_a_slot_that_was_decided_changes_nothing():
    rules = made("1m", "a")
    state, _ = told(rules, lights.start(rules), HOUR_0, air(HOUR_0, [1], [1]))
    for now in (HOUR_0, HOUR_0 - 1, HOUR_0 - 60):
        after, messages = told(rules, state, now, air(now, [500], [500]), ["fire"])
        assert messages == []
        assert lights.snapshot(rules, after) == lights.snapshot(rules, state)
    assert told(rules, state, HOUR_0 + 1, air(HOUR_0 + 1, [500], [500]))[1][0].color == "red"
