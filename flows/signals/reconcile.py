"""State of a zone's lights, reconciled with what the compacted topic has published already.

The topic is the truth of what a light was told. Where it is ahead of the recovery store, because the pipeline died
between the two, its messages are adopted as they stand, and are not decided a second time.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace

import msgspec
import numpy as np

from flows.arrays import I64
from flows.kernels import lights
from flows.kernels.light_rules import Rules
from flows.kernels.lights import Sent, State
from schemas.light import LightState, WildState
from schemas.slots import end_of

IDLE_REASON = "no air comes: "
"""Begins the reason of a gray that the idle timer published, and not the air."""
ENDED_REASON = "a text has ended: "
"""Begins the reason of a color that the idle timer published again without the text beside it."""


class Reconciler:
    """State of a zone's lights, and published messages that no decision has come to yet.

    Args:
        rules: of the zone.
    """

    def __init__(self, rules: Rules) -> None:
        self._row = {light: i for i, light in enumerate(rules.lights)}
        self._rules = rules
        self.state: State = lights.start(rules)
        self._published: dict[str, dict[int, LightState]] = {}
        """By light and seq, what decisions have not come to."""

    @property
    def is_behind(self) -> bool:
        """Whether the topic holds messages that no decision has come to yet."""
        return bool(self._published)

    def pass_over(self, places: Iterable[WildState]) -> None:
        """Go on above messages that say nothing but their place: lights ignore whatever lies below them."""
        seqs: dict[str, int] = {}
        for wild in places:
            seqs[wild.light_id] = max(wild.seq, seqs.get(wild.light_id, -1))
        self.state = lights.pass_over(self._rules, self.state, seqs)
        for light, seq in seqs.items():
            self._published[light] = {s: state for s, state in self._published.get(light, {}).items() if s > seq}
            if not self._published[light]:
                del self._published[light]

    def reset_to(self, newest: Iterable[LightState | WildState]) -> None:
        """Reset the state to the newest published message of each light, after a rebuild."""
        wild, said = _parted(newest)
        self.state = lights.adopt(self._rules, lights.start(self._rules), said)
        self.pass_over(wild)

    def load(self, messages: Iterable[LightState | WildState]) -> list[LightState]:
        """Load what the topic holds; return messages that no decision will give again and that the lake lacks.

        Where the topic goes on without a hole, messages wait until decisions come to them. Else compaction, or a new
        store, has left the newest alone, and the light goes on from that.
        """
        wild, said = _parted(messages)
        for message in said:
            row = self._row.get(message.light_id)
            if row is not None and message.seq > self.state.seq[row]:
                self._published.setdefault(message.light_id, {})[message.seq] = message
        jumps = [
            by_seq[max(by_seq)]
            for light, by_seq in self._published.items()
            if int(self.state.seq[self._row[light]]) + 1 not in by_seq
        ]
        for newest in jumps:
            del self._published[newest.light_id]
        self.state = lights.adopt(self._rules, self.state, jumps)
        self.pass_over(wild)
        return jumps

    def adopt_timeouts(self, slot: int) -> list[LightState]:
        """Adopt gray states that the idle timer published before a slot.

        They came from wall-clock time, so replaying readings cannot produce them again.
        """
        adopted = []
        for light, by_seq in list(self._published.items()):
            seq = int(self.state.seq[self._row[light]]) + 1
            while seq in by_seq and _by_timer(by_seq[seq]) and by_seq[seq].as_of < end_of(slot):
                adopted.append(by_seq.pop(seq))
                seq += 1
            if not by_seq:
                del self._published[light]
        if adopted:
            self.state = lights.adopt(self._rules, self.state, adopted)
        return adopted

    def prefer_published(self, decided: list[LightState]) -> list[LightState]:
        """Replace decisions by what was published with the same seq."""
        if not self._published:
            return decided
        grade, text = self.state.grade.copy(), list(self.state.text)
        states = []
        for decision in decided:
            by_seq = self._published.get(decision.light_id, {})
            state = by_seq.pop(decision.seq, decision)
            if not by_seq:
                self._published.pop(decision.light_id, None)
            row = self._row[decision.light_id]
            grade[row], text[row] = state.grade or 0, state.text or ""
            states.append(state)
        self.state = replace(self.state, grade=grade, text=text)
        return states

    def take_gray(self, after: State, sent: Sent, ended: Collection[str]) -> I64:
        """Go on from a decision of the idle timer where it is gray, or a text has ended; return those rows of it.

        Args:
            after: state after the decision.
            sent: of it.
            ended: lights whose text has ended.
        """
        of_ended = [row for light, row in self._row.items() if light in ended]
        rows = np.flatnonzero((sent.grade == 0) | np.isin(sent.light, of_ended))
        gray = np.isin(np.arange(len(self._row)), sent.light[rows])
        self.state = State(
            grade=np.where(gray, after.grade, self.state.grade),
            seq=np.where(gray, after.seq, self.state.seq),
            sent=np.where(gray, after.sent, self.state.sent),
            decided=np.where(gray, after.decided, self.state.decided),
            below=np.where(gray[:, None], after.below, self.state.below),
            text=[new if turned else old for new, old, turned in zip(after.text, self.state.text, gray, strict=True)],
            ends=np.where(gray, after.ends, self.state.ends),
            changed=np.where(gray[:, None], after.changed, self.state.changed),
        )
        return rows


def _parted(messages: Iterable[LightState | WildState]) -> tuple[list[WildState], list[LightState]]:
    wild: list[WildState] = []
    said: list[LightState] = []
    for message in messages:
        if isinstance(message, WildState):
            wild.append(message)
        else:
            said.append(message)
    return wild, said


def _by_timer(state: LightState) -> bool:
    """Whether the idle timer may have published a state."""
    return state.grade is None or state.reason.startswith(ENDED_REASON)


def as_idle(states: Iterable[LightState]) -> list[LightState]:
    """Mark states as published by the idle timer."""
    return [
        msgspec.structs.replace(state, reason=(ENDED_REASON if state.grade else IDLE_REASON) + state.reason)
        for state in states
    ]
