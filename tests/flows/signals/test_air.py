"""Lights and alerts of a zone are the same however readings came: cut, crashed, late, or around a gap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.zone.zone import DEFAULT
from tests.support.signals import CITIES, HEAVY, air, anyhow, play, steady, when
from tests.support.zones import HOUR, START, handling, shuffled


@HEAVY
@given(anyhow(), st.data())
def test_no_cut_and_no_crash_changes_what_is_said(watched, make_readings, case, data):
    every, rows = case
    city = watched(every, flat_lines=True)
    ends = range(1, len(rows))
    one = play(city, make_readings, rows)
    two = play(city, make_readings, rows, **data.draw(handling(len(rows))))
    crashes = data.draw(st.sets(st.integers(0, len(rows))))
    every_row = play(city, make_readings, rows, ends, crash=crashes)
    wide = play(city, make_readings, rows, settings=DEFAULT)
    assert two.signals() == one.signals()
    assert every_row.signals() == one.signals()
    assert wide.signals() == one.signals()


@HEAVY
@given(st.integers(0, 2**32), st.sampled_from(CITIES), st.sampled_from([0, 0, 5, 30, 100]), st.data())
def test_no_cut_of_a_day_changes_what_is_said(watched, make_readings, seed, every, delay, data):
    city = watched(every, flat_lines=True)
    hours = 20 if every[0] == "1h" else 6 if "10s" not in every and "1m" not in every else 3
    rows = shuffled(air(seed, every, hours), seed, delay * 60)
    one = play(city, make_readings, rows)
    two = play(city, make_readings, rows, **data.draw(handling(len(rows))))
    assert two.signals() == one.signals()


@pytest.mark.parametrize(("every", "hours"), [(("1h",), 240), (("1m",), 40), (("10m",), 100)])
def test_the_grid_moves_on_without_losing_the_reading_that_moved_it(watched, make_readings, every, hours):
    """A station alone closes its slot with its own reading, which may be the first for which there is no room."""
    log = play(watched(every), make_readings, steady(every, hours))
    sure = [state for state in log.of("light-0") if state.as_of >= when(START + HOUR)]
    assert {(state.color, state.coverage) for state in sure} == {("green", 1.0)}
    assert len(sure) > hours // 2


@pytest.mark.parametrize(
    ("every", "gap"),
    [*((("1h",), gap) for gap in (3, 5, 8, 30, 1000)), *((("1m",), gap) for gap in (4, 6, 8, 30)), (("1m",) * 3, 8)],
)
def test_no_cut_around_a_gap_changes_what_is_said(watched, make_readings, every, gap):
    city = watched(every)
    length, blocks = (4, 4) if every == ("1h",) else (1.2, 2)
    rows = [
        row
        for k in range(blocks)
        for row in steady(every, length, 20.0 + 60 * (k % 2), start=START + int(k * (gap + length) * 60) * 60)
    ]
    n = len(rows)
    one = play(city, make_readings, rows)
    near = [i for i in range(1, n) if rows[i][1] - rows[i - 1][1] > HOUR] if every != ("1h",) else range(1, n)
    cuts = sorted({i for at in near for i in range(max(1, at - 3), min(n, at + 4))})
    whole = play(city, make_readings, rows, cuts)
    each = play(city, make_readings, rows, cuts, crash=range(0, n, 2))
    assert one.signals() == whole.signals() == each.signals()
    later = [state for state in one.of("light-0") if state.grade and state.as_of > when(START + (gap + length) * HOUR)]
    assert {state.grade for state in later} >= ({2, 4} if every == ("1h",) else {4})
    if every == ("1h",):
        colored = {state.as_of for state in one.of("light-0") if state.grade}
        assert colored == {when(second) for _, second, _ in rows}, "the reading that ends a gap counts too"


@pytest.mark.parametrize("minute", range(60, 65))
def test_a_reading_late_for_what_a_waiting_one_closed(watched, make_readings, minute):
    """A wild stamp of a station closes the slot; its true one comes after, and first of what goes on the grid."""
    city = watched(("1m",) * 3)
    rows = steady(("1m",) * 3, 2)
    at = next(i for i, row in enumerate(rows) if row[:2] == (2, START + 60 * minute))
    rows.insert(at, (2, START + 40 * 24 * HOUR, {"pm25": 1.0}))
    each = play(city, make_readings, rows, range(1, len(rows)))
    assert play(city, make_readings, rows).signals() == each.signals()
    assert play(city, make_readings, rows, [at]).signals() == each.signals()


def test_a_late_reading_gets_in_between_two_closings_of_waiting_ones(watched, make_readings):
    """Two wild stamps in a row, and each closes a step; what was late comes in at the first."""
    city = watched(("1m",) * 5)
    rows = [row for row in steady(("1m",) * 5, 70 / 60) if row[0] != 1 or not 40 <= (row[1] - START) // 60 <= 60]
    clean, wild = {"pm10": 30.0, "pm25": 20.0}, START + 40 * 24 * HOUR
    rows += [(1, START + m * 60, clean) for m in range(45, 55)]
    rows += [(0, START + 90 * 60, clean), (1, START + 80 * 60, clean)]
    first = len(rows)
    rows += [(2, wild, clean), (3, wild, clean), (4, START + 71 * 60, clean), (4, START + 91 * 60, clean)]
    each = play(city, make_readings, rows, range(1, len(rows)), last=False)
    assert play(city, make_readings, rows, last=False).signals() == each.signals()
    assert play(city, make_readings, rows, [first], last=False).signals() == each.signals()
    assert max(state.as_of for state in each.of("light-1")) > when(START + 85 * 60)
