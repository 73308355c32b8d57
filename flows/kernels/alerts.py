"""Stages of a zone's air alerts, hour by hour.

Rules: the table of the Gyeongnam health-environment institute (``schemas.city_rules``). PM is judged by the mean of
the zone's stations and needs two hours in a row; ozone by the highest station, at once. A stage ends below its own
level, and a zone steps down one stage an hour (a choice: the table names no other way down than to the next stage).
Times are slots, minutes since 1970, so that hours may end at any minute of a UTC hour.

An alert is history. An hour is judged once, with what was known when it closed: a late reading revises means and
indices, never a stage, and an hour not later than the newest judged is ignored.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypedDict

import numpy as np

from flows.arrays import F64, I64
from flows.kernels import rolling
from schemas.alert import Stage
from schemas.slots import HOUR_SLOTS, NEVER

STAGES: tuple[Stage, ...] = ("none", "advisory", "warning", "serious")
AlertParameter = Literal["pm10", "pm25", "o3"]


class Rule(NamedTuple):
    """The rule of one pollutant; levels of the advisory first."""

    parameter: AlertParameter
    issue: tuple[float, ...]
    clear: tuple[float, ...]
    hours: int
    highest: bool
    """The zone's highest station decides, instead of the mean of all."""
    decimals: int | None
    """Digits of the figure that is compared; none: as exact as means are."""


class AlertState(TypedDict):
    """Where the alert of one zone, pollutant and kind stands: plain data, as snapshots keep it."""

    ended: int
    """Newest hour judged: the slot of its end."""
    stage: int
    """Index in ``STAGES``."""
    runs: list[int]
    """Hours in a row at or above the level of each stage."""
    started: int
    """Hour in which the stage last left ``none``; NEVER before that."""


class Change(NamedTuple):
    """A stage reached."""

    ended: int
    """The hour that decided: the slot of its end."""
    stage: Stage
    value: float
    """The figure that was compared."""
    stations: list[int]
    """Columns of those whose values went into it; where ozone rises, of those at or above the stage's level."""
    started: int
    """The hour in which this alert began."""


def start(rule: Rule) -> AlertState:
    """State before the first hour."""
    return {"ended": NEVER, "stage": 0, "runs": [0] * len(rule.issue), "started": NEVER}


def published(values: F64, decimals: int) -> F64:
    """Round to so many decimals, halves up, as a figure is published; NaN stays.

    Values are taken in quanta of 1e-9, so that 0.1195 is a half although no float is.

    >>> published(np.array([149.5, 149.4999, 0.5]), 0), published(np.array([0.1195]), 3)
    (array([150., 149.,   1.]), array([0.12]))
    """
    unit = rolling.PER_UNIT // 10**decimals
    rounded: F64 = np.floor((2 * np.rint(values * rolling.PER_UNIT) + unit) / (2 * unit)) / 10**decimals
    return rounded


def figures(rule: Rule, values: F64) -> F64:
    """What of each hour is compared with the levels, in the pollutant's unit, shape (H,); NaN where no station has it.

    The order of stations does not matter: sums are of whole quanta.

    Args:
        rule: of the pollutant.
        values: hourly means of the zone's stations of one kind, shape (H, S), finite; NaN where a station has no
            valid mean of the hour, or it is labelled a fault.

    >>> pm10 = Rule("pm10", issue=(150, 300), clear=(100, 150), hours=2, highest=False, decimals=0)
    >>> figures(pm10, np.array([[149.0, 150.0, np.nan], [np.nan, np.nan, np.nan]]))
    array([150.,  nan])
    """
    known = ~np.isnan(values)
    if rule.highest:
        highest = np.where(known, values, -np.inf).max(axis=1, initial=-np.inf)
        exact = np.where(known.any(axis=1), highest, np.nan)
    else:
        total = rolling.quantise(np.where(known, values, 0.0)).sum(axis=1, dtype=np.int64)
        exact = rolling.mean(total, known.sum(axis=1))
    return exact if rule.decimals is None else published(exact, rule.decimals)


def step(rule: Rule, state: AlertState, ended: int, figure: float) -> AlertState:
    """Judge one hour.

    Causal and final. Hours that were left out count as hours without a figure: they break the row and end nothing.
    An hour not later than the newest judged changes nothing.

    Args:
        rule: of the pollutant.
        state: after the hours before; not written to.
        ended: slot of the hour's end.
        figure: of ``figures``; NaN is none.

    >>> pm25 = Rule("pm25", issue=(75, 150), clear=(35, 75), hours=2, highest=False, decimals=0)
    >>> state = start(pm25)
    >>> for hour, figure in enumerate([80, 90, 40, 34]):
    ...     state = step(pm25, state, HOUR_SLOTS * hour, figure)
    ...     print(STAGES[state["stage"]])
    none
    advisory
    advisory
    none
    """
    if ended <= state["ended"]:
        return state
    runs = state["runs"] if ended == state["ended"] + HOUR_SLOTS else [0] * len(rule.issue)
    runs = [run + 1 if figure >= level else 0 for run, level in zip(runs, rule.issue, strict=True)]
    before = state["stage"]
    stage = sum(run >= rule.hours for run in runs)  # levels rise, so a stage is never reached without the one below
    if stage <= before:
        down = before > 0 and figure < rule.clear[before - 1]
        stage = before - 1 if down else before
    started = ended if stage and not before else state["started"]
    return {"ended": ended, "stage": stage, "runs": runs, "started": started}


def evaluate(
    rule: Rule, state: AlertState, ended: I64, values: F64, judged: F64 | None = None
) -> Iterator[tuple[AlertState, Change | None]]:
    """Judge a range of hours, one by one.

    Args:
        rule: of the pollutant.
        state: after the hours before; not written to.
        ended: slots of the hours' ends, rising, shape (H,).
        values: as for ``figures``, shape (H, S).
        judged: their ``figures``, where they are at hand.

    Yields:
        The state after each hour, and a change where it changed the stage.
    """
    judged = figures(rule, values) if judged is None else judged
    for i, (slot, figure) in enumerate(zip(ended.tolist(), judged.tolist(), strict=True)):
        before = state["stage"]
        state = step(rule, state, slot, figure)
        stage, change = state["stage"], None
        if stage != before:
            among = ~np.isnan(values[i])
            if rule.highest and stage > before:
                single = values[i] if rule.decimals is None else published(values[i], rule.decimals)
                among = single >= rule.issue[stage - 1]
            stations = np.flatnonzero(among).tolist()
            change = Change(slot, STAGES[stage], figure, stations, state["started"])
        yield state, change
