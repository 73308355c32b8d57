"""What lights were told: the state that decisions go on from, and what a topic says was told already.

A topic is the truth of what a light was told. Where it is ahead of the recovery store, because the pipeline died
between the two, its messages are taken over as they stand, and are not decided a second time.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np

from flows.arrays import I64
from flows.kernels import lights
from flows.kernels.light_rules import Rules
from flows.kernels.lights import State
from schemas.light import LightState
from schemas.slots import EPOCH

MINUTE = timedelta(minutes=1)
QUIET = "no air comes: "
"""Begins the reason of a gray that the pipeline's own timer said, and not the air."""


class Told:
    """State of a zone's lights, and messages of the topic that no decision has come to yet.

    Args:
        rules: of the zone.
    """

    def __init__(self, rules: Rules) -> None:
        self._row = {light: i for i, light in enumerate(rules.lights)}
        self.rules = rules
        self.state: State = lights.start(rules)
        self._ahead: dict[str, dict[int, LightState]] = {}

    @property
    def is_ahead(self) -> bool:
        """Whether the topic holds messages that no decision has come to yet."""
        return bool(self._ahead)

    def begin_with(self, newest: Iterable[LightState]) -> None:
        """Forget what was decided, and go on from what lights were told last."""
        self.state = lights.adopt(self.rules, lights.start(self.rules), newest)

    def recall(self, messages: Iterable[LightState]) -> list[LightState]:
        """Take what the topic holds; return what of it is not to be decided again, but lacks in the lake.

        Where the topic goes on without a hole, the messages wait until decisions come to them. Else compaction, or a
        new store, has left the newest alone, and the light goes on from that.
        """
        for message in messages:
            row = self._row.get(message.light_id)
            if row is not None and message.seq > self.state.seq[row]:
                self._ahead.setdefault(message.light_id, {})[message.seq] = message
        jumps = [
            of[max(of)] for light, of in self._ahead.items() if int(self.state.seq[self._row[light]]) + 1 not in of
        ]
        for newest in jumps:
            del self._ahead[newest.light_id]
        self.state = lights.adopt(self.rules, self.state, jumps)
        return jumps

    def before(self, slot: int) -> list[LightState]:
        """Take over the grays of before ``slot`` that the topic has: the timer's, which no air decides again."""
        taken = []
        for light, of in list(self._ahead.items()):
            seq = int(self.state.seq[self._row[light]]) + 1
            while seq in of and of[seq].grade is None and of[seq].as_of < EPOCH + slot * MINUTE:
                taken.append(of.pop(seq))
                seq += 1
            if not of:
                del self._ahead[light]
        if taken:
            self.state = lights.adopt(self.rules, self.state, taken)
        return taken

    def as_said(self, states: list[LightState]) -> list[LightState]:
        """Put what the topic says in the place of decisions that bear the same number."""
        if not self._ahead:
            return states
        grade, text = self.state.grade.copy(), list(self.state.text)
        said = []
        for state in states:
            of = self._ahead.get(state.light_id, {})
            found = of.pop(state.seq, state)
            if not of:
                self._ahead.pop(state.light_id, None)
            row = self._row[state.light_id]
            grade[row], text[row] = found.grade or 0, found.text or ""
            said.append(found)
        self.state = replace(self.state, grade=grade, text=text)
        return said

    def turned_gray(self, after: State, sent: lights.Sent) -> I64:
        """Go on from a decision of the timer where it says gray; return those rows of it."""
        rows = np.flatnonzero(sent.grade == 0)
        gray = np.isin(np.arange(len(self._row)), sent.light[rows])
        self.state = State(
            grade=np.where(gray, after.grade, self.state.grade),
            seq=np.where(gray, after.seq, self.state.seq),
            sent=np.where(gray, after.sent, self.state.sent),
            decided=np.where(gray, after.decided, self.state.decided),
            below=np.where(gray[:, None], after.below, self.state.below),
            text=[new if turned else old for new, old, turned in zip(after.text, self.state.text, gray, strict=True)],
        )
        return rows


def quiet(states: Iterable[LightState]) -> list[LightState]:
    """Mark states as said by the timer."""
    return [msgspec.structs.replace(state, reason=QUIET + state.reason) for state in states]
