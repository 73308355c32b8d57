"""What an analysis says unless it has something of its own to say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.analyses.base import Analysis, Fault, LocalDay, Results, Span
from tests.support.grids import START, cadence_of, new_grid, view_of


@given(st.integers(-300, 300), st.integers(-300, 300), st.sampled_from([(60, 10), (60, 1), (900, 10), (3600, 10)]))
def test_steps_end_at_multiples_of_their_length(first, last, case):
    every, step = case
    cadence = cadence_of(every, step=step)
    ends = Analysis.steps(cadence, START + first, START + last).tolist()
    expected = [slot for slot in range(START + first + 1, START + last + 1) if slot % cadence.step == 0]
    assert ends == expected


def test_an_analysis_that_says_nothing():
    grid, cadence = new_grid(), cadence_of()
    view, silent = view_of(grid, cadence), Analysis()
    silent.attach(view)
    assert silent.measure(view, Span(cadence, np.array([0]), START, START, 1, 1)) is None
    for results in (
        silent.revise(view, Span(cadence, np.array([0]), START, START, 1, 1), None),
        silent.learn(view, LocalDay(0, 0, 1440, 2880)),
    ):
        assert (results.rows, results.messages, results.faults, results.reconsider.size) == ([], [], [], 0)
    assert (silent.snapshot(), silent.restore(2, {}, {})) == ({}, None)
    assert (silent.lookback, silent.history, silent.learns) == (0, 0, False)
    with pytest.raises(NotImplementedError):
        silent.close(view, cadence, START, START + 10, 1)


def test_results_take_over_what_others_say_in_their_order():
    results, faults = Results(), [Fault(START, 0, 1, True), Fault(START + 10, 0, 1, False)]
    results.add(Results(rows=["one"], messages=["first"], faults=faults[:1], reconsider=np.array([3])))
    results.add(Results(rows=["two"], messages=["second"], faults=faults[1:]))
    assert (results.rows, results.messages, results.faults) == (["one", "two"], ["first", "second"], faults)
    assert results.reconsider.size == 0, "that is for the one who asked"
    assert Results().rows is not results.rows
