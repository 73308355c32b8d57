"""Triggers against asking after each row, in plain Python, which slots have fired: however the rows are cut."""

from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.state.cadence import Cadence
from flows.zone.triggers import Triggers
from schemas.slots import NEVER
from tests.support.watermarks import SlowWatermark, arrivals, batches, new_watermark, traces

HORIZON = 120


def cadences_of(members):
    """Cadences by their slots, each with the columns of its instruments."""
    return [Cadence(60 * slots, np.array(sorted(of)), 10, ZoneInfo("UTC")) for slots, of in sorted(members.items())]


class Asked:
    """Newest slot of each cadence that has fired, found out after every row."""

    def __init__(self, instruments, cadences, lengths):
        self._watermark, self._cadences = SlowWatermark(instruments), cadences
        self._steps, self._lengths = [{cadence.step} for cadence in cadences], lengths
        self.steps = self.signals = [NEVER] * len(cadences)
        self.number = 0

    def start(self, steps, signals):
        self.steps = [cadence.floor(steps) for cadence in self._cadences]
        self.signals = [signals] * len(self._cadences)

    def count(self, column, slot):
        """Count a row: steps and signals that have fired then, and the number of the firing."""
        self._watermark.count(column, slot)
        if self._watermark.current == NEVER:
            return
        newest = [self._fired(i) for i in range(len(self._cadences))]
        before = self.steps
        self.steps = self._multiples(self._steps, newest, self.steps)
        self.signals = self._multiples(self._lengths, newest, self.signals)
        self.number += self.steps != before

    def _fired(self, i):
        """Newest slot of a cadence, a step or one that signals want, that has fired: those before it have too."""
        cadence, lengths = self._cadences[i], self._steps[i] | self._lengths[i]
        for slot in range(self._watermark.current, min(self.steps[i], self.signals[i]), -1):
            asked = any(slot % length == 0 for length in lengths)
            if asked and self._watermark.has_fired(slot, cadence.columns.tolist(), cadence.slots):
                return slot
        return NEVER

    @staticmethod
    def _multiples(lengths, newest, before):
        return [
            max([of, *(slot // length * length for length in own)])
            for of, slot, own in zip(before, newest, lengths, strict=True)
        ]


@st.composite
def zones(draw):
    """Rows of a zone, where they are cut, its cadences, and the lengths that signals want of each."""
    instruments, rows, cuts = draw(arrivals())
    slots = [draw(st.sampled_from([1, 10, 15, 60])) for _ in range(instruments)]
    members = {of: [i for i, each in enumerate(slots) if each == of] for of in set(slots)}
    wanted = draw(st.sampled_from(["none", "hours", "lights"]))
    lengths = [{"none": set(), "hours": {60}, "lights": {60, of}}[wanted] for of in sorted(members)]
    return rows, cuts, members, lengths


@settings(max_examples=100)
@given(zones())
def test_slots_fire_as_if_asked_after_every_row(case):
    rows, cuts, members, lengths = case
    instruments = sum(map(len, members.values()))
    cadences, watermark = cadences_of(members), new_watermark(instruments)
    cadence_of = np.array([i for _, i in sorted((column, i) for i, c in enumerate(cadences) for column in c.columns)])
    asked, since, number = Asked(instruments, cadences, lengths), np.full(len(cadences), NEVER), 0
    for begin, trace in (
        (begin + first, trace)
        for begin, column, slot in batches(rows, cuts)
        for first, trace in traces(watermark, column, slot)
    ):
        column, slot = trace.column, trace.slot
        if (trace.watermark > NEVER).any() and watermark.current == NEVER:
            first = int(trace.watermark[np.argmax(trace.watermark > NEVER)])
            for cadence in cadences:
                cadence.start(first - HORIZON - 1)
            since[:] = first - 1
            asked.start(first - HORIZON - 1, first - 1)
        if cadences[0].fired_until == NEVER:
            asked_rows(asked, rows, begin, column.size)
            continue
        triggers = Triggers(cadences, lengths, since, watermark, trace, column.size - 1)
        before, after = asked_rows(asked, rows, begin, column.size)
        late, for_any, decisions = slow_late_and_decisions(before, slot.tolist(), cadence_of[column].tolist())
        row = np.arange(column.size)
        assert triggers.late(slot, row, cadence_of[column]).tolist() == late
        assert triggers.late_for_any(slot, row).tolist() == for_any
        if lengths[0]:
            assert triggers.decision_rows(slot, row, cadence_of[column]).tolist() == decisions
        first_number = number
        for row, (steps, signals, asked_number) in enumerate(after):
            assert triggers.firings_until(row) == asked_number - number
            number = triggers.fire(row, number)
            assert number == asked_number
            assert [cadence.fired_until for cadence in cadences] == steps
            for i, fired in enumerate(triggers.signals):
                newest = fired.slots[fired.rows <= row]
                assert (int(newest[-1]) if newest.size else since[i]) == (signals[i] if lengths[i] else since[i])
        numbers = {n for cadence in cadences for _, n in cadence.snapshot()[2]}
        assert numbers == set(range(first_number + 1, number + 1)), "each firing has a number of its own"
        for i, cadence in enumerate(cadences):
            cadence.evaluated(cadence.fired_until)
            since[i] = after[-1][1][i]


def asked_rows(asked, rows, begin, n):
    """What had fired before each row of a batch, and what after it."""
    before, after = [], []
    for column, slot in rows[begin : begin + n]:
        before.append((asked.steps, asked.signals))
        asked.count(column, slot)
        after.append((asked.steps, asked.signals, asked.number))
    return before, after


def slow_late_and_decisions(before, slot, cadence_of):
    late, for_any, decisions, looked_at = [], [], [], None
    for row, ((steps, signals), own, i) in enumerate(zip(before, slot, cadence_of, strict=True)):
        late.append(own <= steps[i])
        for_any.append(any(own <= newest for newest in steps))
        if own <= signals[i] and signals != looked_at:
            decisions.append(row)
            looked_at = signals
    return late, for_any, decisions


def two_steps(stop=3):
    """Two instruments by ten minutes reach slot 10 with the second row and slot 20 with the fourth."""
    cadence = Cadence(600, np.array([0, 1]), 10, ZoneInfo("UTC"))
    cadence.start(0)
    watermark = new_watermark(2)
    watermark.advance(watermark.preview(np.array([0, 1], np.int32), np.array([1, 1])), 2)
    trace = watermark.preview(np.array([0, 1, 0, 1], np.int32), np.array([10, 10, 20, 20]))
    return cadence, Triggers([cadence], [{10}], np.array([0]), watermark, trace, stop)


def test_steps_fire_one_by_one_up_to_a_row():
    cadence, triggers = two_steps()
    assert (triggers.firing_rows(0), triggers.firing_rows(2), triggers.firing_rows(3)) == ([], [1], [1, 3])
    assert triggers.fire(2, 5) == 6
    assert (cadence.fired_until, triggers.firing_rows(3)) == (10, [3])
    assert triggers.fire(3, 6) == 7
    assert cadence.snapshot() == (20, 0, [(10, 6), (20, 7)])
    assert triggers.fire(3, 7) == 7, "once"


def test_what_lies_behind_the_last_row_taken_does_not_fire():
    cadence, triggers = two_steps(stop=2)
    assert triggers.fire(3, 0) == 1
    assert cadence.fired_until == 10
    assert triggers.signals[0].slots.tolist() == [10]


def test_only_steps_before_a_slot():
    cadence, triggers = two_steps()
    assert triggers.fire(3, 0, below=20) == 1
    assert cadence.fired_until == 10
    assert triggers.fire(3, 1) == 2
    assert cadence.fired_until == 20


@pytest.mark.parametrize(("row", "late"), [(1, False), (2, True)])
def test_a_reading_is_late_behind_the_row_that_fires_its_slot(row, late):
    _, triggers = two_steps()
    assert triggers.late(np.array([10]), np.array([row]), np.array([0])).tolist() == [late]
    assert triggers.late_for_any(np.array([10]), np.array([row])).tolist() == [late]
    assert triggers.decision_rows(np.array([10]), np.array([row]), np.array([0])).size == late


def test_of_late_readings_behind_the_same_firings_the_first_is_enough():
    _, triggers = two_steps()
    slot, row = np.array([5, 6, 15, 7]), np.array([2, 3, 3, 4])
    assert triggers.decision_rows(slot, row, np.zeros(4, int)).tolist() == [0, 3]
