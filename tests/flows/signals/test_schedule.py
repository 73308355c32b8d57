"""When lights are decided: against a plain loop over rows, however often it is asked."""

from typing import NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flows.signals.schedule import GAP_EDGE_SLOTS, LightSchedule
from flows.state.cadence import Cadence
from flows.zone.triggers import Firings

CADENCES = [Cadence(every, np.array([i]), 10, ZoneInfo("UTC")) for i, every in enumerate((60, 300, 3600))]


class Run(NamedTuple):
    """Firings of each cadence in a run of rows."""

    firings: list[Firings]
    rows: int


def row_by_row(schedule_at, firings, rows):
    """Moments as ``LightSchedule.take`` gives them: row, fired, slots."""
    fired, moments = list(schedule_at), []
    for row in range(rows):
        newest = [
            max([*fires.slots[fires.rows == row].tolist(), was]) for fires, was in zip(firings, fired, strict=True)
        ]
        if any((fires.rows == row).any() for fires in firings):
            slots = range(fired[0] + 1, newest[0] + 1)
            near = [s for s in slots if s <= fired[0] + GAP_EDGE_SLOTS or s > newest[0] - GAP_EDGE_SLOTS]
            fired = newest
            moments.append((row, fired, near))
    return moments


def plainly(moments):
    return [
        (row, fired, moments.slots[moments.at == i].tolist())
        for i, (row, fired) in enumerate(zip(moments.rows.tolist(), moments.fired.tolist(), strict=True))
    ]


@st.composite
def runs(draw):
    rows = draw(st.integers(1, 12))
    firings = []
    for cadence in CADENCES:
        steps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 90, 400, 1000]), max_size=8))
        after = sorted(draw(st.lists(st.integers(0, rows - 1), min_size=len(steps), max_size=len(steps))))
        slots = 3600 + np.cumsum(np.array(steps, np.int64)) * cadence.slots
        firings.append(Firings(slots, np.array(after, np.int64)))
    return Run(firings, rows)


@given(runs(), st.lists(st.integers(0, 12), max_size=4))
def test_moments_are_what_a_loop_over_rows_gives_however_they_are_taken(run, cuts):
    schedule = LightSchedule(CADENCES)
    schedule.start(3600)
    schedule.add(run.firings)
    taken = [plainly(schedule.take(before)) for before in [*sorted(cuts), run.rows]]
    assert [moment for part in taken for moment in part] == row_by_row([3600] * 3, run.firings, run.rows)
    assert schedule.empty


def test_a_gap_is_looked_into_before_the_row_that_ends_it():
    schedule = LightSchedule(CADENCES[:1])
    schedule.start(0)
    slots = np.arange(1, 1001)
    schedule.add([Firings(slots, np.where(slots < 3, 0, 1))])
    assert plainly(schedule.take(before=1)) == [(0, [2], [1, 2])]
    head = schedule.take_gap(1, until=999)
    assert plainly(head) == [(1, [999], list(range(3, 3 + GAP_EDGE_SLOTS)))]
    assert plainly(schedule.take(before=2)) == [(1, [1000], list(range(1001 - GAP_EDGE_SLOTS, 1001)))]


def test_at_the_end_of_the_input_whole_intervals_are_taken():
    schedule = LightSchedule(CADENCES)
    assert not schedule.take_rest(newest=3700).rows.size
    schedule.start(3660)
    assert plainly(schedule.take_rest(newest=3664)) == [(0, [3664, 3660, 3660], [3661, 3662, 3663, 3664])]


def test_a_cadence_that_a_snapshot_does_not_know_is_as_far_as_the_others():
    schedule, again = LightSchedule(CADENCES[:2]), LightSchedule(CADENCES)
    schedule.start(3660)
    schedule.add([Firings(np.array([3661, 3664]), np.array([0, 1])), Firings(np.array([3665]), np.array([1]))])
    schedule.take(before=2)
    again.restore(schedule.snapshot(), schedule.begin)
    assert (again.fired.tolist(), again.begin, again.newest) == ([3664, 3665, 3665], 3660, 3664)
    assert again.empty
