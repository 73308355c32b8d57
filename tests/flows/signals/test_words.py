"""Words of lights: alerts, what operators say, and messages of some of the new states."""

from dataclasses import replace

import numpy as np

from flows.kernels import lights
from flows.signals import words as light_words
from schemas.city_rules import Words
from tests.support.decisions import HOUR_0, SEOUL, air, at, decide, made, minute, one


def test_texts_of_alerts_and_operators():
    rules = made("1m", ("a", "a", "a"))
    stages = {"pm10": "advisory", "pm25": "advisory", "o3": "warning"}
    said = {"light-1": ("산불 조심", 100), "light-2": ("", 100)}
    alerts = "오존 경보 · 초미세먼지 주의보 · 미세먼지 주의보"
    assert light_words.texts(rules, stages, said) == [alerts, f"{alerts} · 산불 조심", alerts]
    assert light_words.texts(rules, {"pm10": "none"}, said) == ["", "산불 조심", ""]
    assert light_words.texts(rules, {}, {}) == ["", "", ""]
    assert light_words.texts(rules, {"o3": "serious", "pm10": "warning"}, {})[0] == "오존 중대경보 · 미세먼지 경보"
    english = replace(rules, words=Words(pm25="PM2.5", warning="warning"))
    assert light_words.texts(english, {"pm25": "warning"}, {})[0] == "PM2.5 warning"


def strings(texts, slot):
    """Texts of each light at a slot, by mark."""
    names = list(texts.codes)
    return [[names[code] for code in of_light] for of_light in texts.sets[texts.index[slot]].tolist()]


def test_slots_share_the_text_set_of_the_same_alerts_and_messages():
    rules = made("1m", ("a", "a"))
    sets = light_words.TextSets(rules)
    message = {"light-1": ("산불 조심", 103)}
    slots = [({}, {}, 99), ({"pm10": "warning"}, message, 100), ({"pm10": "warning"}, message, 101), ({}, message, 102)]
    index = [sets.at(*slot) for slot in slots]
    assert index == [0, 1, 1, 0]
    texts = sets.texts(np.array(index))
    assert texts.codes[""] == 0
    assert list(texts.codes.values()) == list(range(len(texts.codes)))
    for slot, (stages, messages, now) in enumerate(slots):
        people = light_words.texts(rules, stages, messages if now < 102 else {})
        marks = ("", "인근 측정소", "점검중")
        assert strings(texts, slot) == [[light_words.join(text, mark) for mark in marks] for text in people]


def test_text_sets_of_long_ago_are_let_go():
    sets = light_words.TextSets(made("1m", "a"))
    index = [sets.at({}, {"light-0": (f"message {i}", 100)}, 98) for i in range(light_words.MAX_TEXT_SETS + 1)]
    texts = sets.texts(np.array(index))
    assert sets.at({}, {}, 99) == 0, "from the start again"
    assert [strings(texts, slot)[0][0] for slot in index] == [f"message {i}" for i in index]
    assert list(sets.texts(np.array([0])).codes) == ["", "인근 측정소", "점검중"]


def test_a_text_is_told_at_once_and_no_state_that_bears_it_outlives_it():
    rules = made("1m", ("a", "a"))
    sets, end = light_words.TextSets(rules), HOUR_0 + 4
    state, out = lights.start(rules), []
    for now in range(HOUR_0, HOUR_0 + 5):
        index = sets.at({}, {"light-1": ("산불 조심", end)} if now > HOUR_0 else {}, now)
        airs = at(now, air(now, [1], [1]))
        state, sent = lights.decide(rules, state, airs, sets.texts(np.array([index])))
        out += light_words.messages(rules, sent, airs, SEOUL)
    assert [(m.light_id[-1], m.as_of, m.text) for m in out] == [
        ("0", minute(HOUR_0), None),
        ("1", minute(HOUR_0), None),
        ("1", minute(HOUR_0 + 1), "산불 조심"),
        ("1", minute(HOUR_0 + 3), None),
    ]
    assert [m.valid_until for m in out[1:]] == [minute(HOUR_0 + 15), minute(end), minute(HOUR_0 + 18)]


def test_a_text_that_is_lengthened_lengthens_its_state_at_once():
    rules = made("1m", "a")
    sets, state, out = light_words.TextSets(rules), lights.start(rules), []
    for now, end in ((HOUR_0, HOUR_0 + 4), (HOUR_0 + 1, HOUR_0 + 9)):
        airs = at(now, air(now, [1], [1]))
        texts = sets.texts(np.array([sets.at({}, {"light-0": ("산불 조심", end)}, now)]))
        state, sent = lights.decide(rules, state, airs, texts)
        out += light_words.messages(rules, sent, airs, SEOUL)
    assert [m.valid_until for m in out] == [minute(HOUR_0 + 4), minute(HOUR_0 + 9)]


def test_a_gray_light_still_says_what_people_say():
    message = one(HOUR_0, [1] * 3, [1] * 3, fault=True, people=["산불 조심"])
    assert (message.color, message.text) == ("gray", "산불 조심 · 점검중")
    assert one(HOUR_0, [1] * 3, [1] * 3, age=[20, 0, 0], people=["산불 조심"]).text == "산불 조심 · 인근 측정소"
    silent = made(words=Words(nearby="", out_of_service="", low_cost=""))
    assert one(HOUR_0, [1] * 3, [1] * 3, fault=True, rules=silent).text is None


def test_a_selection_of_the_new_states_in_an_order():
    rules = made("1m 1m", ("a", "b", "ab"))
    a = air(HOUR_0, [10, 50], [1, 40], age=[15, 0])
    _, sent = decide(rules, lights.start(rules), HOUR_0, a, ["", "fire", ""])
    airs = at(HOUR_0, a)
    whole = light_words.messages(rules, sent, airs, SEOUL)
    rows = np.array([2, 0])
    assert light_words.messages(rules, sent.select(rows), airs, SEOUL) == [whole[2], whole[0]]
    assert light_words.messages(rules, sent.select(rows[:0]), airs, SEOUL) == []
