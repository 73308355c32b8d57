"""One evaluation for live air, late readings and backfill: whatever the range, the same is said of the same cells."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import air
from flows.analyses.base import Analysis, Fault, LocalDay, Results, Span
from flows.analyses.evaluate import Evaluation
from schemas.city import Parameter
from schemas.quality import Test
from tests.support.grids import (
    START,
    cadence_of,
    new_grid,
    newest_flags,
    newest_indices,
    newest_windows,
    put,
    view_of,
)

LAYERS = ("sums", "counts", "suspects", "found")


class Stage:
    """A grid, a cadence and all analyses of a city, and what they have said so far."""

    def __init__(self, city, every=60, columns=(0, 1), *, instruments=2, at=0):
        self.grid, self.cadence = new_grid(instruments), cadence_of(every, columns, at=at)
        self.evaluation = Evaluation(view_of(self.grid, self.cadence), air.analyses(city))
        self.windows, self.flags, self.indices = {}, {}, {}

    def close(self, minute, revision=1):
        """Fire and evaluate the slots up to a minute since the start; the minute is the number of the firing."""
        out = Results()
        self.cadence.fire(START + minute, minute)
        self.evaluation.close(self.cadence, START + minute, revision, out)
        return self._add(out)

    def put_late(self, rows, until, revision=2):
        """Put late rows on the grid, and evaluate again what they touch, looking no further than a minute."""
        columns, first = np.unique([row[0] for row in rows]), START + min(row[1] for row in rows)
        out = Results()
        with self.evaluation.revising(Span(self.cadence, columns, first, START + until, revision, until), out):
            put(self.grid, rows)
        return self._add(out)

    def _add(self, out):
        self.windows = newest_windows(out, self.windows)
        self.flags = newest_flags(out, self.flags)
        self.indices = newest_indices(out, self.indices)
        return out

    def newest(self):
        return self.windows, self.flags, self.indices

    def cells(self, last):
        return [self.grid.layer(name, START + 1, START + last).tolist() for name in LAYERS]


def revisions(results):
    return {int(revision) for rows in results.rows for revision in np.atleast_1d(rows.revision)}


def test_no_window_is_long_enough_for_the_cadence(make_city):
    stage = Stage(make_city(("10m",), windows=("10m", "30m")), 3600, (0,))
    put(stage.grid, [(0, 60, {"pm10": 1.0, "pm25": 50.0})])
    stage.close(120)
    assert stage.windows == {}
    assert stage.flags == {(0, "pm10", 60): Test.PM25_ABOVE_PM10, (0, "pm25", 60): Test.PM25_ABOVE_PM10}
    stage.put_late([(0, 59, {"pm10": 200.0})], 120)
    assert stage.flags == {}, "PM10 of the hour is the mean of two values, and above"
    assert stage.windows == {}


VALUE = st.sampled_from([0.0, 0.0, 20.0, 20.0, 21.0, 23.5, 500.0, 900.0])
ROWS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(1, 180),
        st.dictionaries(st.sampled_from(["pm10", "pm25", "co"]), VALUE, min_size=1, max_size=2),
    ),
    max_size=60,
    unique_by=lambda row: row[:2],
)


@settings(deadline=None, max_examples=40)
@given(ROWS, st.sampled_from([60, 600, 3600]), st.lists(st.integers(1, 180), max_size=6))
def test_steps_one_by_one_say_what_one_evaluation_says(make_city, rows, every, stops):
    slots = max(1, every // 60)
    stops = [*sorted({stop // slots * slots for stop in stops} - {0}), 180]
    whole, steps = (Stage(make_city(), every) for _ in range(2))
    put(whole.grid, rows)
    whole.close(180)
    put(steps.grid, rows)
    for i, stop in enumerate(stops):
        if START + stop > steps.cadence.evaluated_until:
            steps.close(stop, i + 1)
            assert steps.cadence.evaluated_until == START + stop
    assert steps.newest() == whole.newest()
    assert steps.cells(180) == whole.cells(180)


@settings(deadline=None, max_examples=40)
@given(ROWS, ROWS, st.sampled_from([60, 600, 3600]))
def test_late_readings_give_what_timely_ones_would_have(make_city, rows, late, every):
    taken = {row[:2] for row in rows}
    late = [row for row in late if row[:2] not in taken]
    stage, timely = (Stage(make_city(), every) for _ in range(2))
    put(stage.grid, rows)
    stage.close(180)
    if late:
        stage.put_late(late, 180)
    put(timely.grid, rows + late)
    timely.close(180)
    assert stage.newest() == timely.newest()
    assert stage.cells(180) == timely.cells(180)


def test_what_late_readings_make_suspect_is_said(make_city):
    stage = Stage(make_city(("1m",)), columns=(0,), instruments=1)
    put(stage.grid, [(0, 10, {"pm25": 50.0})])
    stage.close(10)
    stage.put_late([(0, 10, {"pm10": 1.0})], 10)
    assert stage.flags == {(0, "pm10", 10): Test.PM25_ABOVE_PM10, (0, "pm25", 10): Test.PM25_ABOVE_PM10}


def test_what_late_readings_make_good_is_withdrawn(make_city):
    stage = Stage(make_city(("1m",) * 2))
    put(stage.grid, [(0, 1, {"co": 1.0}), (0, 2, {"co": 9.0}), (1, 1, {"co": 1.0})])
    stage.close(10)
    assert stage.flags == {(0, "co", 2): Test.RATE_OF_CHANGE}
    assert stage.windows[0, "co", "10m", 10] == (10 * 10**9, 2, 2, 1)
    revised = stage.put_late([(0, 1, {"co": 15.0})], 10, revision=7)
    withdrawn = next(rows for rows in revised.rows if rows.table == "flags")
    columns = (withdrawn.column, withdrawn.ended - START, withdrawn.tests, withdrawn.revision)
    assert [column.tolist() for column in columns] == [[0], [2], [0], [7]]
    assert stage.flags == {}
    assert revised.messages == []
    assert revisions(revised) == {7}
    assert stage.windows[0, "co", "10m", 10] == (17 * 10**9, 3, 2, 0), "8 in the first slot, 9 in the second"
    assert all(key[0] == 0 for key in newest_windows(revised)), "nothing of the other station"


def test_a_window_late_readings_fill_first_has_revision_0(make_city):
    stage = Stage(make_city(("1m",) * 2))
    put(stage.grid, [(0, 15, {"co": 1.0})])
    stage.close(20)
    [rows] = stage.put_late([(0, 5, {"co": 3.0})], 20, revision=9).rows
    names = rows.columns()["window_length"].names
    columns = (rows.window.tolist(), (rows.ended - START).tolist(), rows.revision.tolist())
    assert {(names[w], ended): revision for w, ended, revision in zip(*columns, strict=True)} == {
        ("10m", 10): 0,
        ("1h", 10): 0,
        ("2h", 10): 0,
        ("1h", 20): 9,
        ("2h", 20): 9,
    }


def test_a_spike_shows_in_the_light_of_the_next_cell(make_city):
    spiky = Parameter(unit="ppm", fail=(-0.5, 50.0), suspect=(-0.2, 15.0), spike=3.0)
    stage = Stage(make_city(("1m",) * 2, limits={"co": spiky}))
    put(stage.grid, [(0, 9, {"co": 1.0}), (0, 10, {"co": 9.0})])
    stage.close(10)
    assert stage.flags == {}
    put(stage.grid, [(0, 11, {"co": 1.0})])
    second = stage.close(20, revision=2)
    assert newest_flags(second) == {(0, "co", 10): Test.SPIKE}
    again, first_time = (rows for rows in second.rows if rows.table == "rolling")
    assert set(again.revision.tolist()) == {2}
    assert set(first_time.revision.tolist()) == {0}
    [messages] = second.messages
    assert {event.order for event in messages.events("ab")} == {(20, START + 20, 0)}, "the number of the firing"
    assert newest_windows(second)[0, "co", "10m", 10] == (10 * 10**9, 2, 2, 1)


@pytest.mark.parametrize("every", [600, 3600])
def test_what_is_found_of_a_long_cell_is_in_the_next_snapshot(make_city, every):
    stage = Stage(make_city(("1h",) * 2), every, at=60 - every // 60)
    put(stage.grid, [(0, 55, {"pm10": 1.0, "pm25": 50.0})])
    stage.grid.snapshot()
    stage.close(60)
    assert stage.grid.layer("found", START + 55, START + 55).any()
    again = new_grid(2)
    again.restore(stage.grid.snapshot())
    assert (again.layer("found", START + 1, START + 60) == stage.grid.layer("found", START + 1, START + 60)).all()


def test_a_mean_of_an_unfinished_step_waits(make_city):
    stage = Stage(make_city(("1m",) * 2))
    put(stage.grid, [(0, minute, {"co": 1.0}) for minute in range(1, 26)])
    stage.close(15)
    assert {key[3] for key in stage.windows} == {10}
    stage.close(25, revision=2)
    assert stage.windows[0, "co", "10m", 20] == (10 * 10**9, 10, 10, 0)
    assert {key[3] for key in stage.windows} == {10, 20}


class Probe(Analysis):
    """An analysis that notes what it is asked, finds a fault at each step, and has column 1 looked at again."""

    def __init__(self, name, calls, reconsider=()):
        self.name, self._calls, self._reconsider = name, calls, np.array(reconsider, np.int32)

    def close(self, view, cadence, first, last, revision):
        self._calls.append((self.name, "close", first - START, last - START, revision))
        ends = self.steps(cadence, first, last).tolist()
        return Results(faults=[Fault(end, 0, 1, True) for end in ends], reconsider=self._reconsider)

    def measure(self, view, span):
        self._calls.append((self.name, "measure", span.columns.tolist(), span.first - START))
        return f"{self.name} before"

    def revise(self, view, span, before):
        self._calls.append((self.name, "revise", before))
        return Results(faults=[Fault(span.first, 1, 2, False)])

    def learn(self, view, day):
        self._calls.append((self.name, "learn", day.number))
        return Results(faults=[Fault(day.last, 0, 0, True)])


def probed(reconsider=()):
    calls, cadence = [], cadence_of()
    for minute, number in ((10, 4), (20, 4), (30, 7)):
        cadence.fire(START + minute, number)
    analyses = [Probe("one", calls, reconsider), Probe("two", calls)]
    return calls, cadence, Evaluation(view_of(new_grid(), cadence), analyses)


def test_analyses_are_asked_in_their_order_and_each_measures_before_any_revises():
    calls, cadence, evaluation = probed()
    evaluation.close(cadence, START + 30, 5, Results())
    assert calls == [("one", "close", 0, 30, 5), ("two", "close", 0, 30, 5)]
    assert (cadence.evaluated_until, cadence.due) == (START + 30, False)
    calls.clear()
    with evaluation.revising(Span(cadence, np.array([1]), START + 5, START + 30, 2, 9), Results()):
        calls.append("cells change")
    assert calls == [
        ("one", "measure", [1], 5),
        ("two", "measure", [1], 5),
        "cells change",
        ("one", "revise", "one before"),
        ("two", "revise", "two before"),
    ]


def test_columns_to_reconsider_are_revised_before_the_next_analysis_closes():
    calls, cadence, evaluation = probed(reconsider=[1])
    evaluation.close(cadence, START + 10, 1, Results())
    assert [call[:2] for call in calls] == [
        ("one", "close"),
        ("one", "measure"),
        ("two", "measure"),
        ("one", "revise"),
        ("two", "revise"),
        ("two", "close"),
    ]
    assert calls[1] == ("one", "measure", [1], 0)


def test_a_fault_bears_the_number_of_the_firing_in_whose_wake_it_was_found():
    _, cadence, evaluation = probed()
    out = Results()
    evaluation.close(cadence, START + 30, 1, out)
    assert [(fault.since - START, fault.firing) for fault in out.faults] == [(10, 4), (20, 4), (30, 7)] * 2
    revised = Results()
    with evaluation.revising(Span(cadence, np.array([1]), START + 5, START + 30, 2, 9), revised):
        pass
    assert {(fault.since - START, fault.firing) for fault in revised.faults} == {(5, 9)}


def test_every_analysis_learns_from_a_day():
    calls, _, evaluation = probed()
    out = Results()
    evaluation.learn(LocalDay(20_454, START - 540, START + 900, START + 2340), out)
    assert calls == [("one", "learn", 20_454), ("two", "learn", 20_454)]
    assert len(out.faults) == 2
