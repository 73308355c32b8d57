"""What signal lights show: one decision for all lights of a zone and one slot.

A light follows the first of its stations whose air can be trusted: fresh, covered, not labelled a fault. It shows the
worse of the PM10 and PM2.5 grades of the last hour; a worse grade at once, a better one after the air was better for
the dwell; gray at once when no station can be trusted, and the true grade at once when one can again.

What was shown is history: decisions go forward in time, and late readings change only decisions still to come.
Times are slots: minutes since 1970.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from flows.arrays import B1, F64, I32, I64
from flows.kernels.alerts import published
from flows.kernels.light_rules import Rules, join
from schemas.light import LightState
from schemas.slots import ALWAYS, EPOCH, NEVER

MINUTE = timedelta(minutes=1)
GRADES = np.array([2, 3, 4])
FIRST_LOOK = 8
"""Stations of each light looked at first; nearly always one of them will do."""
AT_ONCE = 128
"""Lights looked at together, so that what is looked at stays in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Air:
    """The newest closed one-hour windows of S stations; columns PM10, PM2.5."""

    mean: F64
    """µg/m³, shape (S, 2); NaN where there is none."""
    coverage: F64
    """Shape (S, 2)."""
    as_of: I64
    """Slot where the window ends, shape (S,); NEVER before the first."""
    fault: B1
    """The value is labelled a sensor's fault, shape (S, 2)."""


@dataclass(frozen=True, slots=True)
class State:
    """What L lights were last told."""

    grade: I64
    """0 is gray; -1: not told anything yet, shape (L,)."""
    seq: I64
    """Shape (L,); -1 before the first."""
    sent: I64
    """Slot of the last message, shape (L,)."""
    decided: I64
    """Slot of the last decision, sent or not, shape (L,)."""
    below: I64
    """Since when the true grade has been below 2, 3 and 4, shape (L, 3): ALWAYS where it is not below, NEVER where it
    has been since the light was gray."""
    text: list[str]
    """As last sent; "" for none."""


@dataclass(frozen=True, slots=True)
class Sent:
    """New states of n lights; each column of shape (n,)."""

    light: I64
    """Index of the light."""
    seq: I64
    grade: I64
    """Shown; 0 is gray."""
    true: I64
    """Of the air; lower than shown while a better grade waits."""
    waits: I64
    """Minutes that it has been better than shown; 0 where nothing waits."""
    parameter: I64
    """Index in ``PM`` of what decides; meaningless for gray."""
    number: F64
    """PM10 and PM2.5 as published, shape (n, 2); NaN where there is none or the light is gray."""
    as_of: I64
    """End of the air that was judged; the slot of the decision for gray."""
    valid_until: I64
    choice: I64
    """The station's place in the light's order, from 0; -1 for gray."""
    station: I64
    """Its column, -1 for gray."""
    coverage: F64
    """The smaller of those that were judged; NaN for gray."""
    text: list[str]
    """ "" for none."""


def start(rules: Rules) -> State:
    """State of lights that were never told anything."""
    n = len(rules.lights)
    return State(np.full(n, -1), np.full(n, -1), np.full(n, NEVER), np.full(n, NEVER), np.full((n, 3), NEVER), [""] * n)


def decide(rules: Rules, state: State, now: int, air: Air, people: Sequence[str]) -> tuple[State, Sent]:
    """Decide what each light shows at slot ``now``, and which must be told.

    Told is a light whose color or text changed, or whose heartbeat is due. A light that was decided for ``now`` or
    later is left as it is. Nothing is written to.

    Args:
        rules: of the zone.
        state: after the decision before.
        now: the slot that closed; live, the minute of the pipeline's clock.
        air: newest closed windows, whatever their age.
        people: the text of people for each light, "" for none; see ``light_words.texts``.

    Returns:
        The state after it, and the new states of the lights to be told.
    """
    valid = (air.coverage >= rules.coverage) & ~air.fault & ~np.isnan(air.mean)
    usable = (now < air.as_of + rules.life) & (valid | ~rules.needs).all(axis=1)
    number = np.where(valid, np.maximum(published(air.mean, 0), 0.0), np.nan)
    grades = np.where(valid, 1 + (number[:, :, None] > rules.bands).sum(axis=2), 0)
    choice = first_usable(rules.candidates, usable)
    lights = np.arange(choice.size)
    colored = choice >= 0
    station = np.where(colored, rules.candidates[lights, choice] if rules.candidates.size else -1, -1)
    true = np.append(grades.max(axis=1), 0)[station]

    below = np.where(true[:, None] >= GRADES, ALWAYS, np.minimum(state.below, now))
    held = now - below < rules.dwell
    shown = np.where(colored, 1 + held.sum(axis=1), 0)
    below[~colored] = NEVER

    marks = np.where(colored, np.where(choice > 0, 1, 0), 2).tolist()
    words = ("", rules.words.nearby, rules.words.out_of_service)
    text = [join(said, words[mark]) for said, mark in zip(people, marks, strict=True)]
    changed = np.array([new != old for new, old in zip(text, state.text, strict=True)], bool)
    live = now > state.decided
    told = live & ((shown != state.grade) | changed | (now - state.sent >= rules.heartbeat))

    after = State(
        grade=np.where(told, shown, state.grade),
        seq=state.seq + told,
        sent=np.where(told, now, state.sent),
        decided=np.where(live, now, state.decided),
        below=np.where(live[:, None], below, state.below),
        text=[new if is_told else old for new, old, is_told in zip(text, state.text, told.tolist(), strict=True)],
    )
    n = np.flatnonzero(told)
    at = station[n]
    gray = ~colored[n]
    as_of = np.where(gray, now, np.append(air.as_of, NEVER)[at])
    since = np.take_along_axis(below[n], np.clip(shown[n, None] - 2, 0, 2), axis=1)[:, 0]
    waits = np.where(true[n] < shown[n], now - since, 0)
    sent = Sent(
        light=n,
        seq=after.seq[n],
        grade=shown[n],
        true=true[n],
        waits=waits,
        parameter=np.append(grades[:, 1] >= grades[:, 0], False)[at].astype(np.int64),
        number=np.append(number, [[np.nan, np.nan]], axis=0)[at],
        as_of=as_of,
        valid_until=as_of + np.append(rules.life, rules.gray_life)[at],
        choice=choice[n],
        station=at,
        coverage=np.append(np.where(valid, air.coverage, 1.0).min(axis=1), np.nan)[at],
        text=[text[i] for i in n.tolist()],
    )
    return after, sent


def some(sent: Sent, rows: I64) -> Sent:
    """Return these rows, in this order."""
    return Sent(
        **{name: getattr(sent, name)[rows] for name in Sent.__slots__ if name != "text"},
        text=[sent.text[i] for i in rows.tolist()],
    )


def first_usable(candidates: I32, usable: B1) -> I64:
    """Return the place of the first usable candidate of each light, shape (L,); -1 where there is none.

    Args:
        candidates: columns of stations, -1 behind the last, shape (L, K).
        usable: shape (S,).

    >>> first_usable(np.array([[2, 0], [1, -1]], np.int32), np.array([True, False, False]))
    array([ 1, -1])
    """
    place = np.full(candidates.shape[0], -1)
    if not usable.any():
        return place
    ok = np.append(usable, False)  # the last is that of column -1
    for chunk in range(0, place.size, AT_ONCE):
        left = np.arange(chunk, min(chunk + AT_ONCE, place.size))
        begin, width = 0, FIRST_LOOK
        while left.size and begin < candidates.shape[1]:
            hits = ok.take(candidates[left, begin : begin + width], mode="wrap")
            found = hits.any(axis=1)
            place[left[found]] = begin + hits[found].argmax(axis=1)
            left = left[~found]
            begin, width = begin + width, 4 * width
    return place


def snapshot(rules: Rules, state: State) -> dict[str, dict[str, Any]]:
    """What to keep of each light, by its id: plain data."""
    return {
        light: {
            "grade": int(state.grade[i]),
            "seq": int(state.seq[i]),
            "sent": int(state.sent[i]),
            "decided": int(state.decided[i]),
            "below": state.below[i].tolist(),
            "text": state.text[i],
        }
        for i, light in enumerate(rules.lights)
    }


def restore(rules: Rules, kept: Mapping[str, Mapping[str, Any]]) -> State:
    """State from a snapshot; lights that it does not know start new, those that are gone are forgotten."""
    state = start(rules)
    for i, light in enumerate(rules.lights):
        if light in kept:
            was = kept[light]
            for name in ("grade", "seq", "sent", "decided", "below"):
                getattr(state, name)[i] = was[name]
            state.text[i] = was["text"]
    return state


def adopt(rules: Rules, state: State, newest: Iterable[LightState]) -> State:
    """Go on from what lights were told: newest messages of the topic, after a lost or older snapshot.

    A message with a seq not above the state's changes nothing. Otherwise the light goes on from it: higher seqs,
    decisions later than its ``as_of`` alone, and its grade, below which the dwell begins anew.
    """
    row = {light: i for i, light in enumerate(rules.lights)}
    grade, seq, sent, decided, below = (
        column.copy() for column in (state.grade, state.seq, state.sent, state.decided, state.below)
    )
    text = list(state.text)
    for message in newest:
        i = row.get(message.light_id)
        if i is None or message.seq <= seq[i]:
            continue
        as_of = -((EPOCH - message.as_of) // MINUTE)  # rounded up
        grade[i], seq[i], sent[i], text[i] = message.grade or 0, message.seq, as_of, message.text or ""
        decided[i] = max(decided[i], as_of)
        below[i] = np.where(grade[i] >= GRADES, ALWAYS, NEVER)
    return State(grade, seq, sent, decided, below, text)
