"""The words of lights: texts of people beside a color, reasons, and the messages that carry them."""

from collections.abc import Mapping
from datetime import datetime, tzinfo
from math import isnan
from typing import Literal

import numpy as np

from flows.kernels.light_rules import PM, Rules, join
from flows.kernels.lights import MINUTE, Air, Sent
from schemas.alert import Stage
from schemas.light import COLORS, LightState
from schemas.slots import EPOCH, NEVER


def texts(
    rules: Rules,
    stages: Mapping[Literal["pm10", "pm25", "o3"], Stage],
    messages: Mapping[str, tuple[str, int]],
    now: int,
) -> list[str]:
    """Text of people for each light: alerts in force in its zone, the gravest first, then what an operator says.

    Args:
        rules: of the zone.
        stages: of the zone's official alerts.
        messages: by light id: an operator's text, and the slot from which on it is gone.
        now: the slot of the decision.
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
    said = (messages.get(light, none) for light in rules.lights)
    return [join(alerts, text if now < until else "") for text, until in said]


def messages(rules: Rules, sent: Sent, air: Air, timezone: tzinfo) -> list[LightState]:
    """Make the messages of new states.

    Args:
        rules: of the zone.
        sent: of ``lights.decide``.
        air: what it was decided on.
        timezone: in which times are written.
    """
    rows = zip(*(getattr(sent, name).tolist() for name in Sent.__slots__ if name != "text"), sent.text, strict=True)
    slots = {*sent.as_of.tolist(), *sent.valid_until.tolist()}  # few, and shared by many lights
    times = {slot: (EPOCH + slot * MINUTE).astimezone(timezone) for slot in slots}
    return [_message(rules, air, times, *row) for row in rows]


def _message(
    rules: Rules,
    air: Air,
    times: Mapping[int, datetime],
    light: int,
    seq: int,
    grade: int,
    true: int,
    waits: int,
    parameter: int,
    number: list[float],
    as_of: int,
    until: int,
    choice: int,
    station: int,
    coverage: float,
    text: str,
) -> LightState:
    """Make the message of one light; columns as in ``Sent``."""
    if not grade:
        reason = _why_gray(rules, light, as_of, air)
    else:
        reason = f"{PM[parameter]} 1 h mean {number[parameter]:.0f} µg/m³"
        if true < grade:
            reason += f", better than {COLORS[grade]} for {waits} of {rules.dwell} min"
        if choice:
            reason += f", {rules.words.nearby} {rules.stations[station]}"
        if rules.low_cost[station]:
            reason += f", {rules.words.low_cost}"
    pm10, pm25 = (_known(value) if grade else None for value in number)
    return LightState(
        light_id=rules.lights[light],
        seq=seq,
        color=COLORS[grade],
        grade=grade or None,
        parameter=PM[parameter] if grade else None,
        pm10=pm10,
        pm25=pm25,
        as_of=times[as_of],
        valid_until=times[until],
        stations=[rules.stations[station]] if grade else [],
        coverage=_known(coverage),
        reason=reason,
        text=text or None,
    )


def _why_gray(rules: Rules, light: int, now: int, air: Air) -> str:
    """Say why a light has no air, by the station it likes best."""
    order = rules.candidates[light]
    first = int(order[0]) if order.size else -1
    if first < 0:
        return "no station is near enough"
    age = now - int(air.as_of[first])
    if air.as_of[first] == NEVER:
        cause = "no closed hour yet"
    elif age >= rules.life[first]:
        cause = f"newest air is {age} min old"
    elif (air.fault[first] & rules.needs).any():
        cause = "labelled a fault"
    else:
        covered = np.where(np.isnan(air.mean[first]), 0.0, air.coverage[first])[rules.needs]
        cause = f"{covered.min():.0%} of the hour covered"
    others = order.size > 1 and order[1] >= 0
    return f"{rules.stations[first]}: {cause}" + ("; nor can any other of its stations be used" if others else "")


def _known(value: float) -> float | None:
    return None if isnan(value) else value
