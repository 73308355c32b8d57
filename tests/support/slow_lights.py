"""Decisions of lights in numpy, one slot at a time: the oracle of the compiled pass."""

from typing import NamedTuple

import numpy as np

from flows.kernels.alerts import published
from flows.kernels.lights import BESIDE, CHANGES_SLOTS, GRADES, SentRow, State
from flows.signals.words import join
from schemas.slots import ALWAYS, NEVER


class Air(NamedTuple):
    """The newest closed windows of S stations at one slot; as ``Airs`` without its first axis."""

    mean: np.ndarray
    coverage: np.ndarray
    as_of: np.ndarray
    fault: np.ndarray
    lifeless: np.ndarray
    beside: np.ndarray


# More than 50 lines: the rules of lights in their order, as plain as can be.
def decide(rules, state, now, air, people, ends, at=0):
    """State after a decision, and rows of what is sent; ``people`` and ``ends`` have the text of each light, its end."""
    valid = (air.coverage >= rules.coverage) & ~air.fault & ~air.lifeless & ~np.isnan(air.mean)
    usable = (now < air.as_of + rules.life) & (valid | ~rules.needs).all(axis=1)
    number = np.where(valid, np.maximum(published(air.mean, 0), 0.0), np.nan)
    grades = np.where(valid, 1 + (number[:, :, None] > rules.bands).sum(axis=2), 0)
    choice = np.array([first_usable(order, usable) for order in rules.candidates.tolist()], np.int64)
    lights = np.arange(choice.size)
    waits_gray = CHANGES_SLOTS - (now - state.changed[:, -1])
    found = choice >= 0
    true_of = np.append(grades.max(axis=1), 0)
    station = np.where(found, rules.candidates[lights, choice] if rules.candidates.size else -1, -1)
    found_true = true_of[station]
    found_fine = np.append(grades[:, 1] >= grades[:, 0], False)[station].astype(np.int64)
    stays = (state.grade == 0) & found & (waits_gray > 0)
    choice = np.where(stays, -1, choice)
    colored = choice >= 0
    station = np.where(colored, rules.candidates[lights, choice] if rules.candidates.size else -1, -1)
    true = true_of[station]

    below = np.where(true[:, None] >= GRADES, ALWAYS, np.minimum(state.below, now))
    waiting = now - below < rules.dwell
    shown = np.where(colored, 1 + waiting.sum(axis=1), 0)
    below[~colored] = NEVER

    marks = np.where(colored, np.where(choice > 0, 1, 0), 2).tolist()
    words = ("", rules.words.nearby, rules.words.out_of_service)
    text = [join(of_light, words[mark]) for of_light, mark in zip(people, marks, strict=True)]
    changed = np.array([new != old for new, old in zip(text, state.text, strict=True)], bool)
    live = now > state.decided
    ends = np.asarray(ends, np.int64)
    due = live & ((shown != state.grade) | changed | (ends != state.ends) | (now - state.sent >= rules.heartbeat))
    new_color = due & (shown != state.grade) & (state.grade >= 0)
    pushed = np.column_stack([np.full(shown.size, now), state.changed[:, :-1]])

    after = State(
        grade=np.where(due, shown, state.grade),
        seq=state.seq + due,
        sent=np.where(due, now, state.sent),
        decided=np.where(live, now, state.decided),
        below=np.where(live[:, None], below, state.below),
        text=[new if is_due else old for new, old, is_due in zip(text, state.text, due.tolist(), strict=True)],
        ends=np.where(due, ends, state.ends),
        changed=np.where(new_color[:, None], pushed, state.changed),
    )
    n = np.flatnonzero(due)
    s = station[n]
    as_of = np.where(colored[n], np.append(air.as_of, NEVER)[s], now)
    since = np.take_along_axis(below[n], np.clip(shown[n, None] - 2, 0, 2), axis=1)[:, 0]
    pm10, pm25 = np.append(number, [[np.nan, np.nan]], axis=0)[s].T
    columns = {
        "at": np.full(n.size, at),
        "light": n,
        "seq": after.seq[n],
        "grade": shown[n],
        "true": found_true[n],
        "waits": np.where(stays[n], waits_gray[n], np.where(true[n] < shown[n], now - since, 0)),
        "parameter": found_fine[n],
        "as_of": as_of,
        "valid_until": np.minimum(as_of + np.append(rules.life, rules.gray_life)[s], ends[n]),
        "choice": choice[n],
        "station": s,
        "pm10": pm10,
        "pm25": pm25,
        "coverage": np.append(np.where(valid, air.coverage, 1.0).min(axis=1), np.nan)[s],
        **dict(zip(BESIDE, np.append(air.beside, [[np.nan] * 3], axis=0)[s].T, strict=True)),
    }
    texts = [text[i] for i in n.tolist()]
    return after, [SentRow(*row) for row in zip(*(c.tolist() for c in columns.values()), texts, strict=True)]


def first_usable(order, usable):
    return next((place for place, station in enumerate(order) if station >= 0 and usable[station]), -1)


def decide_all(rules, state, airs, people, ends):
    """State and rows of all slots of a batch; ``people`` and ``ends`` have a list for each."""
    rows = []
    for at, now in enumerate(airs.slots.tolist()):
        air = Air(*(getattr(airs, name)[at] for name in Air._fields))
        state, of_slot = decide(rules, state, now, air, people[at], ends[at], at)
        rows += of_slot
    return state, rows
