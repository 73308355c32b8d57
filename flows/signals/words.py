"""Words of lights: texts of people beside a color, reasons, and the messages that carry them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from math import isnan
from typing import Literal

import numpy as np

from flows.arrays import I64
from flows.kernels.light_rules import PM, Rules
from flows.kernels.lights import CHANGES, Airs, Sent, SentRow, Texts
from schemas.alert import Stage
from schemas.light import COLORS, LightState
from schemas.slots import ALWAYS, NEVER, SLOT_S

MAX_TEXT_SETS = 64
"""Text sets that ``TextSets`` keeps from batch to batch; a zone has one or two at a time."""
Stages = Mapping[Literal["pm10", "pm25", "o3"], Stage]
OperatorMessages = Mapping[str, tuple[str, int]]
"""By light: an operator's text, and the slot from which on it is gone."""


def join(*parts: str) -> str:
    """Set the parts of a light's text side by side; empty ones are left out.

    >>> join("오존 주의보", "", "점검중")
    '오존 주의보 · 점검중'
    """
    return " · ".join(part for part in parts if part)


def texts(rules: Rules, stages: Stages, messages: OperatorMessages) -> list[str]:
    """Text of people for each light: alerts in force in its zone, the gravest first, then an operator's message.

    Args:
        rules: of the zone.
        stages: of the zone's official alerts.
        messages: of operators, those that are shown.
    """
    gravest = ("serious", "warning", "advisory")
    words = rules.words
    alerts = join(
        *(
            f"{getattr(words, parameter)} {getattr(words, stage)}"
            for stage in gravest
            for parameter in ("pm25", "pm10", "o3")
            if stages.get(parameter, "none") == stage
        )
    )
    none = ("", NEVER)
    of_lights = (messages.get(light, none) for light in rules.lights)
    return [join(alerts, text) for text, _ in of_lights]


class TextSets:
    """Codes of the texts of a zone's lights: joined once for each combination of alerts, messages and marks.

    The slots of a batch ask for their text sets with ``at``; ``texts`` then ends the batch. No text stays past its own
    end: the states that bear it end with it, and the last decision before its end leaves it out, so that no light is
    gray until the next.

    Args:
        rules: of the zone.
        every: slots from one decision to the next.

    >>> from flows.signals import light_rules
    >>> from schemas.city import City, Identity, Light
    >>> lights = [Light(id="school", lat=35.2, lon=128.9)]
    >>> city = City(city=Identity(id="c", name="C", timezone="UTC"), stations=[], lights=lights)
    >>> sets = TextSets(light_rules.rules(city, city.light_rules, np.empty((2, 3)), ""))
    >>> fire = {"school": ("산불 조심", 101)}
    >>> index = [sets.at({"pm10": "warning"}, fire, now) for now in (98, 99, 100, 101)]
    >>> index
    [0, 0, 1, 1]
    >>> texts = sets.texts(np.array(index))
    >>> texts.ends.tolist() == [[101], [ALWAYS]]
    True
    >>> [text for text in texts.codes if "산불" in text]
    ['미세먼지 경보 · 산불 조심', '미세먼지 경보 · 산불 조심 · 인근 측정소', '미세먼지 경보 · 산불 조심 · 점검중']
    """

    def __init__(self, rules: Rules, every: int = 1) -> None:
        self._rules, self._every = rules, every
        self._marks = ("", rules.words.nearby, rules.words.out_of_service)
        self._clear()

    def _clear(self) -> None:
        self._codes = {"": 0}
        self._sets: list[list[list[int]]] = []
        self._ends: list[list[int]] = []
        self._index: dict[object, int] = {}

    def last_slot(self, until: int) -> int:
        """Newest slot at which a text is shown that ends at ``until``."""
        return until - self._every - 1

    def at(self, stages: Stages, messages: OperatorMessages, now: int) -> int:
        """Index of the text set of a slot: of alerts in force, and of messages that do not end before the next slot.

        Args:
            stages: of the zone's official alerts.
            messages: of operators.
            now: the slot of the decision.
        """
        shown = {light: (text, end) for light, (text, end) in messages.items() if text and now <= self.last_slot(end)}
        key = (tuple(stages.items()), tuple(shown.items()))
        index = self._index.get(key)
        if index is None:
            ends = [shown[light][1] if light in shown else ALWAYS for light in self._rules.lights]
            index = self._index[key] = self.add(texts(self._rules, stages, shown), ends)
        return index

    def add(self, people: Sequence[str], ends: Sequence[int] | None = None) -> int:
        """Index of a new text set, from the text of people for each light, and the slots at which these end."""
        codes = self._codes
        whole = [[join(text, mark) for mark in self._marks] for text in people]
        self._sets.append([[codes.setdefault(text, len(codes)) for text in of_light] for of_light in whole])
        self._ends.append([*(ends or [ALWAYS] * len(people))])
        return len(self._sets) - 1

    def texts(self, index: I64) -> Texts:
        """Texts of the slots of a batch, by the text set of each; indices given before hold for them alone."""
        shape = len(self._sets), len(self._rules.lights)
        sets, ends = np.array(self._sets, np.int64).reshape(*shape, 3), np.array(self._ends, np.int64).reshape(shape)
        made = Texts(self._codes, sets, ends, index)
        if len(self._sets) > MAX_TEXT_SETS:
            self._clear()
        return made


def messages(rules: Rules, sent: Sent, airs: Airs, timezone: tzinfo) -> list[LightState]:
    """Make the messages of new states.

    Args:
        rules: of the zone.
        sent: of ``lights.decide``.
        airs: of the same call.
        timezone: in which times are written.
    """
    slots = {*sent.as_of.tolist(), *sent.valid_until.tolist()}  # few, and shared by many lights
    times = {slot: datetime.fromtimestamp(slot * SLOT_S, timezone) for slot in slots}
    return [
        _colored(rules, row, times) if row.grade else _gray(rules, row, times, _why_gray(rules, row, airs))
        for row in sent.rows()
    ]


def _colored(rules: Rules, row: SentRow, times: Mapping[int, datetime]) -> LightState:
    station, words = rules.stations[row.station], rules.words
    reason = f"{PM[row.parameter]} 1 h mean {row.pm25 if row.parameter else row.pm10:.0f} µg/m³"
    if row.true < row.grade:
        reason += f", better than {COLORS[row.grade]} for {row.waits} of {rules.dwell} min"
    if row.choice:
        reason += f", {words.nearby} {station}"
    if rules.low_cost[row.station]:
        reason += f", {words.low_cost}"
    return LightState(
        light_id=rules.lights[row.light],
        seq=row.seq,
        color=COLORS[row.grade],
        grade=row.grade,
        parameter=PM[row.parameter],
        pm10=None if isnan(row.pm10) else row.pm10,
        pm25=None if isnan(row.pm25) else row.pm25,
        as_of=times[row.as_of],
        valid_until=times[row.valid_until],
        stations=[station],
        coverage=row.coverage,
        reason=reason,
        text=row.text or None,
        o3=None if isnan(row.o3) else row.o3,
        temperature=None if isnan(row.temperature) else row.temperature,
        humidity=None if isnan(row.humidity) else row.humidity,
    )


def _gray(rules: Rules, row: SentRow, times: Mapping[int, datetime], reason: str) -> LightState:
    return LightState(
        light_id=rules.lights[row.light],
        seq=row.seq,
        color="gray",
        grade=None,
        parameter=None,
        pm10=None,
        pm25=None,
        as_of=times[row.as_of],
        valid_until=times[row.valid_until],
        stations=[],
        coverage=None,
        reason=reason,
        text=row.text or None,
    )


def _why_gray(rules: Rules, row: SentRow, airs: Airs) -> str:
    """Reason of a light without air, by its first station; of one with air that changes too often."""
    if row.true:
        return f"its color changed {CHANGES} times within the hour; no color for {row.waits} min"
    order = rules.candidates[row.light]
    first = int(order[0]) if order.size else -1
    if first < 0:
        return "no station is near enough"
    as_of = int(airs.as_of[row.at, first])
    age = row.as_of - as_of
    if as_of == NEVER:
        cause = "no closed hour yet"
    elif age >= rules.life[first]:
        cause = f"newest air is {age} min old"
    elif (airs.fault[row.at, first] & rules.needs).any():
        cause = "labelled a fault"
    else:
        covered = np.where(np.isnan(airs.mean[row.at, first]), 0.0, airs.coverage[row.at, first])[rules.needs]
        cause = f"{covered.min():.0%} of the hour covered"
        if covered.min() >= rules.coverage:
            cause = "every value of the hour is suspect by zeros or a flat line, or below zero"
    others = order.size > 1 and order[1] >= 0
    return f"{rules.stations[first]}: {cause}" + ("; nor can any other of its stations be used" if others else "")
