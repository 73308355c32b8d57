"""Decisions of signal lights: one compiled pass over all slots of a batch and all lights of a zone.

A light follows the first of its stations whose air can be trusted: fresh, covered, not labelled a fault. It shows the
worse of the PM10 and PM2.5 grades of the last hour; a worse grade at once, a better one after the air was better for
the dwell; gray at once when no station can be trusted, and the true grade at once when one can again: unless the light
has changed three times within the hour, for then it stays gray until that is over.

Decisions are history: they go forward in time, and late readings change only decisions still to come.
Times are slots: minutes since 1970. More than 400 lines, because the pass and its state are read together.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any, NamedTuple

import numpy as np

from flows.arrays import B1, F64, I32, I64
from flows.kernels.alerts import published
from flows.kernels.compiled import compiled, jitable
from flows.kernels.light_rules import Rules
from schemas.light import LightState
from schemas.slots import ALWAYS, NEVER, SLOT, slot_at

GRADES = np.array([2, 3, 4])
"""Grades that a better one may have to wait for, in the order of columns of ``State.below``."""
FIRST_STATION, ANOTHER_STATION, GRAY = 0, 1, 2
"""Marks of a decision, which people read beside the color: columns of ``Texts.sets``."""
CHANGES, CHANGES_SLOTS = 3, 60
"""A light that changed its color so often in so many slots does not return from gray: four changes an hour at most."""
BESIDE = ("o3", "temperature", "humidity")
"""Numbers that decide nothing, in the order of columns of ``Airs.beside``."""
Arrays = tuple[Any, ...]
"""Columns of one of the classes below, as compiled functions take them."""


@dataclass(frozen=True, slots=True)
class Airs:
    """Newest closed one-hour windows of S stations at n slots; columns PM10, PM2.5."""

    slots: I64
    """Slots that closed, rising; live, the minute of the pipeline's clock. Shape (n,)."""
    mean: F64
    """µg/m³, shape (n, S, 2); NaN where there is none."""
    coverage: F64
    """Shape (n, S, 2)."""
    as_of: I64
    """Slot where the window ends, whatever its age, shape (n, S); NEVER before the first."""
    fault: B1
    """The value is labelled a sensor's fault, shape (n, S, 2)."""
    lifeless: B1
    """Every value of the hour is suspect by zeros or a flat line, or lies below zero; shape (n, S, 2)."""
    beside: F64
    """Means of ``BESIDE`` as published, shape (n, S, 3); NaN where not measured, or not to be trusted."""

    def slice(self, begin: int, end: int) -> "Airs":
        """Airs of the slots from one index to before another."""
        return Airs(*(getattr(self, name)[begin:end] for name in Airs.__slots__))


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts of L lights at n slots, as codes: the loop compares numbers, and slots share the few sets there are."""

    codes: Mapping[str, int]
    """Code of each text, in the order of codes from 0; 0 is the empty text."""
    sets: I64
    """Code of the whole text by text set, light and mark, shape (m, L, 3)."""
    ends: I64
    """Slot at which the text set of a light ends by itself, shape (m, L); ALWAYS where it does not."""
    index: I64
    """Text set of each slot, shape (n,)."""

    def slice(self, begin: int, end: int) -> "Texts":
        """Texts of the slots from one index to before another."""
        return Texts(self.codes, self.sets, self.ends, self.index[begin:end])


@dataclass(frozen=True, slots=True)
class State:
    """Newest messages and decisions of L lights."""

    grade: I64
    """As sent; 0 is gray, -1 before the first message. Shape (L,)."""
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
    ends: I64
    """Slot at which the text last sent ends by itself, shape (L,); ALWAYS where it does not."""
    changed: I64
    """Slots of the newest ``CHANGES`` changes of color, the newest first, shape (L, 3); NEVER for want of one."""


class SentRow(NamedTuple):
    """One row of ``Sent``, as plain numbers."""

    at: int
    light: int
    seq: int
    grade: int
    true: int
    waits: int
    parameter: int
    as_of: int
    valid_until: int
    choice: int
    station: int
    pm10: float
    pm25: float
    coverage: float
    o3: float
    temperature: float
    humidity: float
    text: str


@dataclass(frozen=True, slots=True)
class Sent:
    """States to be sent, by slot and then by light; each column of shape (n,)."""

    at: I64
    """Index in the batch of the slot that decided."""
    light: I64
    """Index of the light."""
    seq: I64
    grade: I64
    """Shown; 0 is gray."""
    true: I64
    """Of the air; lower than shown while a better grade waits, higher than gray while a light stays gray."""
    waits: I64
    """Minutes that it has been better than shown; of a light that stays gray, minutes until it may return."""
    parameter: I64
    """Index in ``PM`` of what decides; meaningless for gray."""
    as_of: I64
    """End of the air that was judged; the slot of the decision for gray."""
    valid_until: I64
    choice: I64
    """The station's place in the light's order, from 0; -1 for gray."""
    station: I64
    """Its column, -1 for gray."""
    pm10: F64
    """As published; NaN where there is none or the light is gray."""
    pm25: F64
    """Likewise."""
    coverage: F64
    """The smaller of those that were judged; NaN for gray."""
    o3: F64
    """As ``Airs.beside`` says; NaN for gray."""
    temperature: F64
    """Likewise."""
    humidity: F64
    """Likewise."""
    text: list[str]
    """"" for none."""

    def rows(self) -> Iterator[SentRow]:
        """Rows in their order."""
        columns = (getattr(self, name).tolist() for name in SentRow._fields[:-1])
        return map(SentRow._make, zip(*columns, self.text, strict=True))

    def select(self, rows: I64) -> "Sent":
        """Rows of these indices, in this order."""
        columns = {name: getattr(self, name)[rows] for name in SentRow._fields[:-1]}
        return Sent(**columns, text=[self.text[i] for i in rows.tolist()])


def start(rules: Rules) -> State:
    """State of lights before their first decision."""
    n = len(rules.lights)
    never, each = np.full(n, NEVER), np.full((n, CHANGES), NEVER)
    below = np.full((n, GRADES.size), NEVER)
    return State(np.full(n, -1), np.full(n, -1), never, never.copy(), below, [""] * n, np.full(n, ALWAYS), each)


def decide(rules: Rules, state: State, airs: Airs, texts: Texts) -> tuple[State, Sent]:
    """Decide the color of each light at each slot of a batch.

    A message is due where the color or the text changed, or the heartbeat. A light that was decided for a slot or
    later is left as it is. The result does not depend on where a batch ends, and no argument is written to.

    Args:
        rules: of the zone.
        state: after the decisions before.
        airs: at the slots to decide.
        texts: of people, with the marks that a decision adds.

    Returns:
        The state after the batch, and the states to be sent.

    >>> from schemas.city_rules import Words
    >>> rules = Rules(
    ...     lights=["light"], stations=["a"], candidates=np.array([[0]], np.int32), life=np.array([15]),
    ...     low_cost=np.array([False]), bands=np.array([[30.0, 80.0, 150.0], [15.0, 35.0, 75.0]]),
    ...     needs=np.array([True, True]), coverage=0.75, gray_life=15, heartbeat=5, dwell=30, words=Words(),
    ... )
    >>> pm25 = np.array([40.0, 40.0, 76.0, 20.0])
    >>> mean = np.stack([np.full(4, 10.0), pm25], axis=1)[:, None]
    >>> slots = np.arange(100, 104)
    >>> none = np.zeros((4, 1, 2), bool)
    >>> airs = Airs(slots, mean, np.ones((4, 1, 2)), slots[:, None], none, none, np.full((4, 1, 3), np.nan))
    >>> texts = Texts({"": 0}, np.zeros((1, 1, 3), np.int64), np.full((1, 1), ALWAYS), np.zeros(4, np.int64))
    >>> after, sent = decide(rules, start(rules), airs, texts)
    >>> sent.at, sent.grade, sent.seq
    (array([0, 2]), array([3, 4]), array([0, 1]))
    """
    most = airs.slots.size * len(rules.lights)
    whole, measured = np.empty((most, 12), np.int64), np.empty((most, 3 + len(BESIDE)))
    grade, seq, sent, decided, below, ends, changed = (getattr(state, name).copy() for name in _NUMBERS)
    code = np.array([texts.codes.get(text, -1) for text in state.text], np.int64)
    limits = rules.coverage, rules.gray_life, rules.heartbeat, rules.dwell
    numbers = np.maximum(published(airs.mean, 0), 0.0)
    rows = _decide(
        (rules.candidates, rules.life, rules.bands, rules.needs, *limits),
        (airs.slots, numbers, airs.coverage, airs.as_of, airs.fault | airs.lifeless, airs.beside),
        (texts.sets, texts.ends, texts.index),
        (grade, seq, sent, decided, below, ends, changed, code),
        (whole, measured),
    )
    strings = list(texts.codes)
    text = [strings[new] if new >= 0 else old for new, old in zip(code.tolist(), state.text, strict=True)]
    of_rows = [strings[new] for new in whole[:rows, 11].tolist()]
    columns: list[Any] = [*whole[:rows, :11].T.copy(), *measured[:rows].T.copy(), of_rows]
    return State(grade, seq, sent, decided, below, text, ends, changed), Sent(*columns)


_NUMBERS = ("grade", "seq", "sent", "decided", "below", "ends", "changed")
_RULES = "Tuple((const int32[:, :], const int64[:], const float64[:, :], const bool_[:], float64, int64, int64, int64))"
_VALUES = "const float64[:, :, :]"
_AIRS = f"Tuple((const int64[:], {_VALUES}, {_VALUES}, const int64[:, :], const bool_[:, :, :], {_VALUES}))"
_TEXTS = "Tuple((const int64[:, :, :], const int64[:, :], const int64[:]))"
_STATE = "Tuple((int64[::1], int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int64[:, ::1], int64[::1]))"
_OUT = "Tuple((int64[:, ::1], float64[:, ::1]))"


@jitable
def _trust(rules: Arrays, airs: Arrays, at: int, number: F64, usable: B1) -> None:
    """Find the numbers that can be trusted at a slot, NaN for others, and the stations that can decide."""
    _, life, _, needs, enough, _, _, _ = rules
    slots, figures, coverage, as_of, fault, _ = airs
    for s in range(life.size):
        usable[s] = slots[at] < as_of[at, s] + life[s]
        for p in range(2):
            valid = coverage[at, s, p] >= enough and not fault[at, s, p]
            number[s, p] = figures[at, s, p] if valid else np.nan
            if needs[p] and np.isnan(number[s, p]):
                usable[s] = False


@jitable
def _first_usable(candidates: I32, light: int, usable: B1) -> int:
    """Place of a light's first usable candidate; -1 where there is none."""
    for place in range(candidates.shape[1]):
        station = candidates[light, place]
        if station < 0:
            break
        if usable[station]:
            return place
    return -1


@jitable
def _grade(number: float, bands: F64) -> int:
    """Grade of a number, from 1; 0 where there is none."""
    if np.isnan(number):
        return 0
    grade = 1
    for high in bands:
        if number > high:
            grade += 1
    return grade


@jitable
def _color(below: I64, true: int, now: int, dwell: int) -> int:
    """Grade to show for the true one: each that the air is below waits for the dwell, but not behind gray."""
    shown = min(true, 1)
    for level in range(below.size):
        if true == 0:
            below[level] = NEVER
        elif true >= level + 2:
            below[level] = ALWAYS
        else:
            below[level] = min(below[level], now)
        if now - below[level] < dwell:
            shown += 1
    return shown


@jitable
def _smaller(number: F64, coverage: F64) -> float:
    """Smaller coverage of the two numbers; NaN where there is none."""
    smaller = np.nan
    for p in range(2):
        if not np.isnan(number[p]):
            smaller = np.fmin(smaller, coverage[p])
    return smaller


@jitable
def _note_change(changed: I64, before: int, shown: int, now: int) -> None:
    """Note that a light changes its color; its first is no change."""
    if before >= 0 and shown != before:
        for i in range(changed.size - 1, 0, -1):
            changed[i] = changed[i - 1]
        changed[0] = now


@compiled(f"int64({_RULES}, {_AIRS}, {_TEXTS}, {_STATE}, {_OUT})")
def _decide(rules: Arrays, airs: Arrays, texts: Arrays, state: Arrays, out: Arrays) -> int:
    """Decide slot by slot, light by light; return the number of states to be sent.

    Args:
        rules: candidates, life, bands, needs, coverage, gray_life, heartbeat and dwell.
        airs: slots, numbers as published, coverage, as_of, what cannot be trusted, and numbers beside.
        texts: sets, ends and index.
        state: grade, seq, sent, decided, below, ends, changed, and codes of texts, -1 for one without. Written to.
        out: takes the columns of ``Sent`` from ``at`` to ``station`` and the code of the text, shape (n * L, 12),
            and those from ``pm10`` to ``humidity``, shape (n * L, 6).
    """
    candidates, life, bands, _, _, gray_life, heartbeat, dwell = rules
    (slots, _, coverage, as_of, _, beside), (sets, set_ends, index) = airs, texts
    grade, seq, sent, decided, below, ends, changed, text = state
    whole, measured = out
    number, usable = np.full((life.size + 1, 2), np.nan), np.empty(life.size, np.bool_)  # number[-1] is gray's
    rows = 0
    for at in range(slots.size):
        now = slots[at]
        _trust(rules, airs, at, number, usable)
        for light in range(grade.size):
            if now <= decided[light]:
                continue
            decided[light] = now
            choice = _first_usable(candidates, light, usable)
            station = candidates[light, choice] if choice >= 0 else -1
            coarse, fine = _grade(number[station, 0], bands[0]), _grade(number[station, 1], bands[1])
            true = max(coarse, fine)
            waits = CHANGES_SLOTS - (now - changed[light, CHANGES - 1])
            if grade[light] == 0 and true > 0 and waits > 0:
                choice, station, shown = -1, -1, 0
            else:
                shown = _color(below[light], true, now, dwell)
                waits = now - below[light, shown - 2] if true < shown else 0
            mark = GRAY if choice < 0 else FIRST_STATION if choice == 0 else ANOTHER_STATION
            code, text_end = sets[index[at], light, mark], set_ends[index[at], light]
            same = shown == grade[light] and code == text[light] and text_end == ends[light]
            if same and now - sent[light] < heartbeat:
                continue
            _note_change(changed[light], grade[light], shown, now)
            grade[light], sent[light], text[light], ends[light] = shown, now, code, text_end
            seq[light] += 1
            pm25 = 1 if coarse <= fine > 0 else 0
            end, lasts = (as_of[at, station], life[station]) if choice >= 0 else (now, gray_life)
            until = min(end + lasts, text_end)
            whole[rows] = (at, light, seq[light], shown, true, waits, pm25, end, until, choice, station, code)
            measured[rows, :2] = number[station]
            measured[rows, 2] = _smaller(number[station], coverage[at, station])
            for i in range(beside.shape[2]):
                measured[rows, 3 + i] = beside[at, station, i] if station >= 0 else np.nan
            rows += 1
    return rows


def snapshot(rules: Rules, state: State) -> dict[str, dict[str, Any]]:
    """What to keep of each light, by its id: plain data."""
    return {
        light: {
            **{name: getattr(state, name)[i].tolist() for name in _NUMBERS},
            "text": state.text[i],
        }
        for i, light in enumerate(rules.lights)
    }


def restore(rules: Rules, kept: Mapping[str, Mapping[str, Any]]) -> State:
    """State from a snapshot; lights that it does not know start new, those that are gone are forgotten.

    One of before lights knew the ends of texts and their changes lacks these.
    """
    state = start(rules)
    for i, light in enumerate(rules.lights):
        if light in kept:
            was = kept[light]
            for name in _NUMBERS:
                if name in was:
                    getattr(state, name)[i] = was[name]
            state.text[i] = was["text"]
    return state


def pass_over(rules: Rules, state: State, seqs: Mapping[str, int]) -> State:
    """Go on above seqs that the topic has and that say nothing; what follows is sent at once."""
    seq, sent = state.seq.copy(), state.sent.copy()
    for i, light in enumerate(rules.lights):
        if seqs.get(light, -1) > seq[i]:
            seq[i], sent[i] = seqs[light], NEVER
    return replace(state, seq=seq, sent=sent)


def adopt(rules: Rules, state: State, newest: Iterable[LightState]) -> State:
    """Go on from what lights were told: newest messages of the topic, after a lost or older snapshot.

    A message with a seq not above the state's changes nothing. Otherwise the light goes on from it: higher seqs,
    decisions later than its ``as_of`` alone, and its grade, below which the dwell begins anew.
    """
    row = {light: i for i, light in enumerate(rules.lights)}
    grade, seq, sent, decided, below, ends, changed = (getattr(state, name).copy() for name in _NUMBERS)
    text = list(state.text)
    for message in newest:
        i = row.get(message.light_id)
        if i is None or message.seq <= seq[i]:
            continue
        as_of = slot_at(message.as_of)
        _note_change(changed[i], grade[i], message.grade or 0, as_of)
        grade[i], seq[i], sent[i], text[i] = message.grade or 0, message.seq, as_of, message.text or ""
        lasts = message.valid_until.astimezone(UTC) - message.as_of.astimezone(UTC)
        cut_short = message.grade is None and lasts <= (rules.gray_life - 1) * SLOT
        ends[i] = slot_at(message.valid_until) if cut_short else ALWAYS
        decided[i] = max(decided[i], as_of)
        below[i] = np.where(grade[i] >= GRADES, ALWAYS, NEVER)
    return State(grade, seq, sent, decided, below, text, ends, changed)
