"""One evaluation for live air, late readings and backfill: whatever the range, the same is said of the same cells."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.analyses import evaluate
from flows.analyses.evaluate import Results
from flows.analyses.indices import Scales
from flows.kernels import rolling
from flows.state.cadence import Cadence
from flows.state.grid import Grid
from schemas.city import Parameter
from schemas.measured import AIR
from schemas.quality import Flag, Test

P = len(AIR.gridded)
START = 29_453_760
"""A slot: midnight of 2026 in UTC."""


def new_grid(stations=2):
    grid = Grid(list("abcdef"[:stations]), 1000, 2000)
    grid.move(START)
    return grid


def put(grid, rows):
    """Add rows of (column, minutes since the start, {parameter: value}), one by one."""
    for column, minute, measured in rows:
        quanta, flags = np.zeros((1, P), np.int64), np.full((1, P), Flag.MISSING, np.uint8)
        for name, value in measured.items():
            p = AIR.gridded.index(name)
            quanta[0, p], flags[0, p] = rolling.quantise(np.array([value]))[0], Flag.GOOD
        grid.add(np.array([column], np.int32), np.array([START + minute]), quanta, flags)


def group_of(city, every=60, columns=(0, 1), closed=0):
    group = Cadence(city, np.array(columns), every, Scales())
    group.closed = group.due = START + closed
    return group


def close(grid, group, minute, out, revision=1):
    """Close and evaluate the slots up to a minute since the start."""
    group.close_at(START + minute, minute)
    evaluate.close(grid, group, START + minute, revision, out)


def newest(evaluated, rows=None, found=None):
    """Newest rows and findings by key, on top of what was said before."""
    rows, found = dict(rows or {}), dict(found or {})
    for means in evaluated.means:
        columns = (
            means.station,
            means.parameter,
            means.window,
            means.ended - START,
            means.total,
            means.count,
            means.filled,
            means.suspect,
        )
        for s, p, w, ended, *row in zip(*(column.tolist() for column in columns), strict=True):
            rows[s, AIR.gridded[p], means.group.names[w], ended] = tuple(row)
    for finding in evaluated.findings:
        columns = (finding.station, finding.parameter, finding.ended - START, finding.tests)
        for s, p, ended, tests in zip(*(column.tolist() for column in columns), strict=True):
            found[s, AIR.gridded[p], ended] = tests
    return rows, {key: tests for key, tests in found.items() if tests}


@pytest.mark.parametrize(
    ("every", "cadence", "step", "grace", "names", "expected"),
    [
        ("10s", 1, 10, 1, ("10m", "1h", "2h"), [60, 360, 720]),
        ("1m", 1, 10, 1, ("10m", "1h", "2h"), [10, 60, 120]),
        ("10m", 10, 10, 1, ("10m", "1h", "2h"), [1, 6, 12]),
        ("15m", 15, 15, 45, ("1h", "2h"), [4, 8]),
        ("30m", 30, 30, 45, ("1h", "2h"), [2, 4]),
        ("1h", 60, 60, 45, ("1h", "2h"), [1, 2]),
    ],
)
def test_what_a_cadence_is_given(make_city, every, cadence, step, grace, names, expected):
    group = Cadence(
        make_city((every,)), np.arange(1), int(every[:-1]) * {"s": 1, "m": 60, "h": 3600}[every[-1]], Scales()
    )
    assert (group.cadence, group.step, group.grace, group.names, group.expected.tolist()) == (
        cadence,
        step,
        grace,
        names,
        expected,
    )


def test_no_window_is_long_enough_for_the_cadence(make_city):
    city = make_city(("1h",), windows=("10m", "30m"))
    grid, group, out = new_grid(2), group_of(city, 3600, (0,)), Results()
    put(grid, [(0, 60, {"pm10": 1.0, "pm25": 50.0})])
    close(grid, group, 120, out)
    assert newest(out) == ({}, {(0, "pm10", 60): Test.PM25_ABOVE_PM10, (0, "pm25", 60): Test.PM25_ABOVE_PM10})
    evaluate.revise(
        grid, group, np.array([0]), START + 60, START + 120, 2, lambda: put(grid, [(0, 59, {"pm10": 200.0})]), out
    )
    assert newest(out)[1] == {}, "PM10 of the hour is the mean of two values, and above"


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


@settings(deadline=None, max_examples=60)
@given(ROWS, st.sampled_from([60, 600, 3600]), st.lists(st.integers(1, 180), max_size=6))
def test_steps_one_by_one_say_what_one_evaluation_says(make_city, rows, every, stops):
    city = make_city()
    cadence = max(1, every // 60)
    stops = [*sorted({stop // cadence * cadence for stop in stops} - {0}), 180]
    one_grid, one_group, one = new_grid(), group_of(city, every), Results()
    put(one_grid, rows)
    close(one_grid, one_group, 180, one)

    grid, group, steps = new_grid(), group_of(city, every), Results()
    put(grid, rows)
    for i, stop in enumerate(stops):
        if START + stop > group.closed:
            close(grid, group, stop, steps, i + 1)
            assert group.closed == START + stop
    assert newest(steps) == newest(one)
    assert (grid.layer("found", START + 1, START + 180) == one_grid.layer("found", START + 1, START + 180)).all()


@settings(deadline=None, max_examples=60)
@given(ROWS, ROWS, st.sampled_from([60, 600, 3600]))
def test_late_readings_give_what_timely_ones_would_have(make_city, rows, late, every):
    city = make_city()
    taken = {row[:2] for row in rows}
    late = [row for row in late if row[:2] not in taken]
    grid, group, out = new_grid(), group_of(city, every), Results()
    put(grid, rows)
    close(grid, group, 180, out)
    if late:
        columns, first = np.unique([row[0] for row in late]), min(row[1] for row in late)
        evaluate.revise(grid, group, columns, START + first, START + 180, 2, lambda: put(grid, late), out)

    timely_grid, timely_group, timely = new_grid(), group_of(city, every), Results()
    put(timely_grid, rows + late)
    close(timely_grid, timely_group, 180, timely)
    assert newest(out) == newest(timely)
    for layer in ("sums", "counts", "suspects", "found"):
        assert (grid.layer(layer, START + 1, START + 180) == timely_grid.layer(layer, START + 1, START + 180)).all()


def test_what_late_readings_make_suspect_is_said(make_city):
    grid, group, out = new_grid(1), group_of(make_city(("1m",)), columns=(0,)), Results()
    put(grid, [(0, 10, {"pm25": 50.0})])
    close(grid, group, 10, out)
    evaluate.revise(
        grid, group, np.array([0]), START + 10, START + 10, 2, lambda: put(grid, [(0, 10, {"pm10": 1.0})]), out
    )
    assert newest(out)[1] == {(0, "pm10", 10): Test.PM25_ABOVE_PM10, (0, "pm25", 10): Test.PM25_ABOVE_PM10}


def test_what_late_readings_make_good_is_withdrawn(make_city):
    grid, group, out = new_grid(2), group_of(make_city(("1m",) * 2)), Results()
    put(grid, [(0, 1, {"co": 1.0}), (0, 2, {"co": 9.0}), (1, 1, {"co": 1.0})])
    close(grid, group, 10, out)
    assert newest(out)[1] == {(0, "co", 2): Test.RATE_OF_CHANGE}
    assert newest(out)[0][0, "co", "10m", 10] == (10 * 10**9, 2, 2, 1)
    revised = Results()
    evaluate.revise(
        grid, group, np.array([0]), START + 1, START + 10, 7, lambda: put(grid, [(0, 1, {"co": 15.0})]), revised
    )
    [withdrawn] = revised.findings
    assert [
        column.tolist() for column in (withdrawn.station, withdrawn.ended - START, withdrawn.tests, withdrawn.revision)
    ] == [[0], [2], [0], [7]]
    assert [means.closing for means in revised.means] == [None] * len(revised.means)
    assert {int(revision) for means in revised.means for revision in means.revision} == {7}
    assert newest(revised)[0][0, "co", "10m", 10] == (25 * 10**9, 3, 2, 0)
    assert all(key[0] == 0 for key in newest(revised)[0]), "nothing of the other station"


def test_a_window_late_readings_fill_first_has_revision_0(make_city):
    grid, group, out = new_grid(2), group_of(make_city(("1m",) * 2)), Results()
    put(grid, [(0, 15, {"co": 1.0})])
    close(grid, group, 20, out)
    revised = Results()
    evaluate.revise(
        grid, group, np.array([0]), START + 5, START + 20, 9, lambda: put(grid, [(0, 5, {"co": 3.0})]), revised
    )
    [means] = revised.means
    said = {
        (means.group.names[w], int(e) - START): int(r)
        for w, e, r in zip(means.window, means.ended, means.revision, strict=True)
    }
    assert said == {("10m", 10): 0, ("1h", 10): 0, ("2h", 10): 0, ("1h", 20): 9, ("2h", 20): 9}


def test_a_spike_shows_in_the_light_of_the_next_cell(make_city):
    spiky = Parameter(unit="ppm", fail=(-0.5, 50.0), suspect=(-0.2, 15.0), spike=3.0)
    grid, group, out = new_grid(2), group_of(make_city(("1m",) * 2, limits={"co": spiky})), Results()
    put(grid, [(0, 9, {"co": 1.0}), (0, 10, {"co": 9.0})])
    close(grid, group, 10, out)
    assert newest(out)[1] == {}
    put(grid, [(0, 11, {"co": 1.0})])
    second = Results()
    close(grid, group, 20, second, 2)
    assert newest(second)[1] == {(0, "co", 10): Test.SPIKE}
    [again, first_time] = second.means
    assert again.closing is None
    assert set(first_time.closing.tolist()) == {20}, "the number of the closing"
    assert set(again.revision.tolist()) == {2}
    assert newest(second)[0][0, "co", "10m", 10] == (10 * 10**9, 2, 2, 1)


@pytest.mark.parametrize("every", [600, 3600])
def test_what_is_found_of_a_long_cell_is_in_the_next_snapshot(make_city, every):
    grid, group = new_grid(2), group_of(make_city(("1h",) * 2), every, closed=60 - every // 60)
    put(grid, [(0, 55, {"pm10": 1.0, "pm25": 50.0})])
    grid.snapshot()
    close(grid, group, 60, Results())
    assert grid.layer("found", START + 55, START + 55).any()
    again = new_grid(2)
    again.restore(grid.snapshot())
    assert (again.layer("found", START + 1, START + 60) == grid.layer("found", START + 1, START + 60)).all()


def test_a_mean_of_an_unfinished_step_waits(make_city):
    grid, group, out = new_grid(2), group_of(make_city(("1m",) * 2)), Results()
    put(grid, [(0, minute, {"co": 1.0}) for minute in range(1, 26)])
    close(grid, group, 15, out)
    assert {key[3] for key in newest(out)[0]} == {10}
    close(grid, group, 25, out, 2)
    assert newest(out)[0][0, "co", "10m", 20] == (10 * 10**9, 10, 10, 0)
    assert {key[3] for key in newest(out)[0]} == {10, 20}
