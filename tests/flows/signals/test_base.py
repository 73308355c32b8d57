"""Signals of a flow that has none."""

import pickle

import numpy as np

from flows.analyses.base import Fault
from flows.signals.base import NoSignals, SignalBatch
from flows.zone.triggers import Firings
from schemas.slots import NEVER


def test_nothing_is_wanted_and_nothing_said():
    silent, out = NoSignals(2), SignalBatch()
    assert (silent.lengths, silent.fired.tolist()) == ([set(), set()], [NEVER, NEVER])
    silent.start(7)
    silent.schedule([Firings(np.array([8]), np.array([0]))] * 2)
    silent.look(5, lambda row: row)
    silent.look_into_gap(3, 900, 1)
    silent.look_at_end(1)
    silent.decide([Fault(10, 0, 0, True, 1)], out)
    silent.on_idle(99, out)
    assert (out.states, out.alerts, silent.fired.tolist()) == ([], [], [7, 7])


def test_there_is_nothing_to_restore():
    silent = NoSignals(1)
    silent.start(7)
    silent.restore(pickle.loads(pickle.dumps(silent.snapshot())))
    assert silent.snapshot() == {}


def test_a_batch_is_its_own():
    one, other = SignalBatch(), SignalBatch()
    one.states.append("state")
    assert (other.states, other.alerts) == ([], [])
