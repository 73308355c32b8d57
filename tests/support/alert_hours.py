"""Rules of alerts, hours of air around their levels, and the stages that a kernel makes of them."""

import numpy as np
from hypothesis import strategies as st

from flows.kernels import alerts
from flows.kernels.alerts import STAGES, start
from flows.signals.alerts import rules
from schemas.city_rules import AlertSettings

RULES = rules(AlertSettings())
EXACT = rules(AlertSettings(as_published=False))
NAN = np.nan
LEVELS = {
    "pm10": [0, 99, 99.4, 99.5, 100, 149, 149.4, 149.5, 150, 299, 299.5, 300, 305, 337],
    "pm25": [0, 34, 34.4, 34.5, 35, 74, 74.5, 75, 149, 149.5, 150, 200],
    "o3": [0, 0.119, 0.1194, 0.1195, 0.12, 0.299, 0.2995, 0.3, 0.301, 0.499, 0.4995, 0.5, 0.6],
}


def slots(hours, first=0):
    return 60 * np.arange(first, first + hours)


def column(values):
    return np.array(values, float).reshape(-1, 1)


def evaluate(rule, state, ended, values):
    """The state after the last hour, and all changes."""
    judged = list(alerts.evaluate(rule, state, ended, values))
    return judged[-1][0] if judged else state, [change for _, change in judged if change]


def stages(parameter, values, rule=None):
    """The stage after each hour, one station."""
    rule, state, out = rule or RULES[parameter], None, []
    state = start(rule)
    for slot, value in zip(slots(len(values)).tolist(), values, strict=True):
        state, _ = evaluate(rule, state, np.array([slot]), column([value]))
        out.append(STAGES[state["stage"]][:3])
    return " ".join(out)


@st.composite
def hours(draw):
    parameter = draw(st.sampled_from(["pm10", "pm25", "o3"]))
    value = st.sampled_from([*LEVELS[parameter], NAN])
    n, s = draw(st.integers(0, 30)), draw(st.integers(1, 4))
    return parameter, np.array(draw(st.lists(value, min_size=n * s, max_size=n * s)), float).reshape(n, s)
