"""Faults as decisions see them, against a list that is gone through for each: however they came, over restarts."""

import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flows.analyses.base import Fault
from flows.signals.faults import FaultLog

S, P = 3, 2
NAMES = ["a", "b", "c"]

FAULTS = st.lists(
    st.builds(
        Fault,
        since=st.integers(0, 30),
        column=st.integers(0, S - 1),
        parameter=st.integers(0, P - 1),
        faulty=st.booleans(),
        firing=st.integers(1, 5),
    ),
    max_size=12,
)


class SlowLog:
    """All faults, and those that a decision has seen; what is seen once stays seen."""

    def __init__(self, faults):
        self.ahead = sorted(faults, key=lambda fault: (fault.firing, fault.since))
        self.in_force = np.zeros((S, P), bool)

    def at(self, slot, firing):
        for fault in [f for f in self.ahead if f.firing <= firing and f.since < slot]:
            self.ahead.remove(fault)
            self.in_force[fault.column, fault.parameter] = fault.faulty
        return self.in_force.tolist()


@given(FAULTS, st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1), st.booleans()), max_size=20))
def test_decisions_see_what_was_found_before_their_slot_in_a_firing_up_to_their_own(faults, steps):
    """Faults of a firing come when it is evaluated; decisions go forward, in slots and in firings."""
    log, slow, slot, firing = FaultLog(S, P), SlowLog(faults), 0, 0
    for ahead, next_firing, restart in steps:
        slot, firing = slot + ahead, firing + next_firing
        if next_firing:
            log.add([fault for fault in faults if fault.firing == firing])
        assert log.at(slot, firing).tolist() == slow.at(slot, firing)
        if restart:
            kept = pickle.dumps(log.snapshot(NAMES))
            log = FaultLog(S, P)
            log.restore(pickle.loads(kept), NAMES)


def test_a_fault_holds_from_the_slot_after_its_step_until_it_is_lifted():
    log = FaultLog(S, P)
    assert log.empty
    log.add([Fault(10, 1, 0, True, 3), Fault(40, 1, 0, False, 7)])
    assert not log.empty
    seen = [bool(log.at(slot, firing)[1, 0]) for slot, firing in ((10, 3), (11, 2), (11, 3), (40, 7), (41, 7))]
    assert seen == [False, False, True, True, False]
    assert log.empty


def test_what_a_decision_was_given_does_not_change_behind_it():
    log = FaultLog(S, P)
    log.add([Fault(10, 1, 0, True, 1)])
    before = log.at(10, 1)
    log.at(11, 1)
    assert not before.any()


def test_instruments_are_known_by_their_ids():
    log, again = FaultLog(S, P), FaultLog(2, P)
    log.add([Fault(10, 0, 0, True, 1), Fault(10, 2, 1, True, 1), Fault(50, 1, 0, True, 2), Fault(50, 2, 0, True, 2)])
    log.at(11, 1)
    again.restore(pickle.loads(pickle.dumps(log.snapshot(NAMES))), ["c", "a"])
    assert again.at(11, 1).tolist() == [[False, True], [True, False]]
    assert again.at(51, 2).tolist() == [[True, True], [True, False]], "of the one that is gone nothing is left"
