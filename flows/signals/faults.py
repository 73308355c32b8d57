"""Values that are not to be trusted, as decisions see them: what was found at a step is known at the slots after it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from flows.analyses.base import Fault
from flows.arrays import B1


class FaultLog:
    """Faults in force, and those that a decision to come may not see yet.

    Args:
        instruments, parameters: of the zone.

    >>> log = FaultLog(1, 6)
    >>> log.add([Fault(since=10, column=0, parameter=1, faulty=True, firing=3)])
    >>> bool(log.at(10, 3)[0, 1]), bool(log.at(11, 3)[0, 1])
    (False, True)
    """

    def __init__(self, instruments: int, parameters: int) -> None:
        self._in_force: B1 = np.zeros((instruments, parameters), bool)
        self._ahead: list[Fault] = []

    @property
    def empty(self) -> bool:
        """Whether there is no fault."""
        return not self._ahead and not self._in_force.any()

    def add(self, faults: Sequence[Fault]) -> None:
        """Take faults that were found since the last decision."""
        if faults:
            self._ahead = sorted([*self._ahead, *faults], key=lambda fault: (fault.firing, fault.since))

    def at(self, slot: int, firing: int) -> B1:
        """Faults that a decision sees, shape (S, P): found at a step before its slot, in a firing up to its own.

        Decisions go forward in time: what one sees all later ones do.
        """
        if self._ahead:
            visible = [fault for fault in self._ahead if fault.firing <= firing and fault.since < slot]
            if visible:
                self._in_force = self._in_force.copy()
                self._ahead = [fault for fault in self._ahead if fault not in visible]
            for fault in visible:
                self._in_force[fault.column, fault.parameter] = fault.faulty
        return self._in_force

    def snapshot(self, instruments: Sequence[str]) -> dict[str, Any]:
        """Plain data; instruments by their ids."""
        return {
            "in_force": [(instruments[s], int(p)) for s, p in np.argwhere(self._in_force).tolist()],
            "ahead": [
                (instruments[fault.column], fault.since, fault.parameter, fault.faulty, fault.firing)
                for fault in self._ahead
            ],
        }

    def restore(self, kept: dict[str, Any], instruments: Sequence[str]) -> None:
        """Go on from a snapshot; instruments that are gone are forgotten."""
        column = {name: i for i, name in enumerate(instruments)}
        for name, parameter in kept["in_force"]:
            if name in column:
                self._in_force[column[name], parameter] = True
        self._ahead = [
            Fault(since, column[name], parameter, faulty, firing)
            for name, since, parameter, faulty, firing in kept["ahead"]
            if name in column
        ]
