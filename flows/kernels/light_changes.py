"""When lights have to be decided: between such slots a decision would say nothing new.

A year of minutes has half a million slots and a city few changes: what is known to change nothing is not computed.
"""

import numpy as np

from flows.arrays import B1, F64, I64
from flows.kernels.alerts import published
from flows.kernels.light_rules import Rules
from flows.kernels.lights import State
from schemas.slots import ALWAYS, NEVER


def changed(rules: Rules, slots: I64, mean: F64, coverage: F64, as_of: I64) -> B1:
    """Tell at which of n slots some light's station or grade differs from the slot before; the first always does.

    Args:
        rules: of the zone.
        slots: shape (n,).
        mean: of the hours that end at ``as_of``, shape (n, S, 2); NaN where there is none.
        coverage: shape (n, S, 2).
        as_of: shape (n, S).
    """
    valid = (coverage >= rules.coverage) & ~np.isnan(mean)
    usable = (slots[:, None] < as_of + rules.life) & (valid | ~rules.needs).all(axis=2)
    number = np.maximum(published(mean, 0), 0.0)
    grades = np.where(valid, 1 + (number[:, :, :, None] > rules.bands).sum(axis=3), 0).max(axis=2)
    candidates = np.append(usable, np.zeros((slots.size, 1), bool), axis=1)[:, rules.candidates]
    choice: I64 = candidates.argmax(axis=2) if candidates.shape[2] else np.zeros(candidates.shape[:2], np.int64)
    colored = candidates.any(axis=2)
    station = rules.candidates[np.arange(len(rules.lights)), choice] if candidates.size else choice
    shown = np.where(colored, choice * 8 + np.take_along_axis(grades, np.maximum(station, 0), axis=1), -1)
    return np.append(True, (shown[1:] != shown[:-1]).any(axis=1))


def due(rules: Rules, state: State) -> int:
    """Slot from which on a heartbeat, or a better grade that waits, is due though nothing changes."""
    waits = np.where((state.below > NEVER) & (state.below < ALWAYS), state.below + rules.dwell, ALWAYS)
    waits = waits[waits > state.decided[:, None]]
    return int(min((state.sent + rules.heartbeat).min(initial=ALWAYS), waits.min(initial=ALWAYS)))
