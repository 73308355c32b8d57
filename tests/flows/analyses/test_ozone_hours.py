"""Ozone's hours by themselves: what was last taken in, kept, restored, and joined from an earlier version."""

import pickle

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.analyses.base import Span
from flows.analyses.ozone_hours import OzoneHours
from flows.kernels.nowcast_o3 import LOOKBACK, nowcast_o3
from flows.state.grid import Grid
from schemas.measured import AIR
from tests.support import grids


@st.composite
def evaluations(draw):
    """Ranges of hours as a zone evaluates them: on from the newest, after gaps, or again from a while back."""
    newest, made = 0, []
    for _ in range(draw(st.integers(1, 12))):
        gap = draw(st.sampled_from([0, 0, 0, 30, 1000]))
        again_from = draw(st.integers(0, 9)) if not gap else 0
        first = max(1, newest + 1 + gap - again_from)
        last = newest + gap + draw(st.integers(1 if gap or not again_from else 0, 40))
        made.append((max(first, last - 45), max(last, first)))
        newest = max(newest, made[-1][1])
    return made


def hours_of(instruments, kept=60):
    """Ozone's hours of a zone whose grid holds so many hours."""
    view = grids.view_of(Grid(AIR, list(instruments), 0, kept * 60, spare=0))
    hours = OzoneHours()
    hours.attach(view)
    return hours


def restored(hours, instruments, kept=60, columns=None):
    again = hours_of(instruments, kept)
    again.restore(2, pickle.loads(pickle.dumps(hours.snapshot())), columns or {})
    return again


@settings(deadline=None, max_examples=25)
@given(evaluations(), st.integers(0, 2**32), st.data())
def test_hours_are_those_last_taken_in(case, seed, data):
    """Whatever is evaluated again, left out or restored, a NowCast is that of the hours as they were last given."""
    random = np.random.default_rng(seed)
    hours, truth = hours_of("vwxyz"), np.full((5, 13000), np.nan)
    for first, last in case:
        columns = np.array(data.draw(st.sampled_from([[1, 4], [4], [1]])))
        given_now = random.gamma(2, 0.01, (columns.size, last - first + 1))
        given_now[random.random(given_now.shape) < 0.02] = np.nan
        offset = 400
        truth[columns, first + offset : last + 1 + offset] = given_now
        ended = np.arange(first, last + 1, dtype=np.int64) * 60
        hours.put(columns, ended, given_now)
        found = hours.nowcast(columns, ended)
        expected = nowcast_o3(truth[columns, first + offset - LOOKBACK + 1 : last + 1 + offset], LOOKBACK - 1)
        assert found.concentration.tobytes() == np.ascontiguousarray(expected).tobytes()
        lacks = [
            np.isnan(truth[columns, h + offset - 335 : h + offset + 1]).sum(axis=1) for h in range(first, last + 1)
        ]
        assert found.missing.tolist() == np.transpose(lacks).tolist()
        if data.draw(st.booleans()):
            hours = restored(hours, "vwxyz")


def test_an_hour_too_long_ago_is_a_bug():
    hours, column = hours_of("x", 10), np.array([0])
    hours.put(column, np.array([6000]), np.array([[0.03]]))
    hours.put(column, np.array([6000 - 540]), np.array([[0.03]]))
    with pytest.raises(AssertionError, match="forgotten"):
        hours.put(column, np.array([6000 - 600]), np.array([[0.03]]))
    with pytest.raises(AssertionError, match="forgotten"):
        hours.nowcast(column, np.array([6000 - 600]))


def test_a_snapshot_is_of_the_hours_as_they_are():
    """After an hour was changed and no new one came, and after a new one came and nothing changed."""
    random = np.random.default_rng(1)
    column, ended = np.array([0]), np.arange(1, 401, dtype=np.int64) * 60
    values = random.gamma(2, 0.01, (1, 402))
    hours = hours_of("x", 40)
    for k in range(0, 400, 40):
        hours.put(column, ended[k : k + 40], values[:, k : k + 40])
    hours.snapshot()
    values[0, 395], values[0, 400] = 0.09, np.nan
    hours.put(column, ended[395:], values[:, 395:400])
    for last in (400, 401):
        other = restored(hours, "x", 40)
        assert other._means.tobytes() == hours._means.tobytes()
        if last == 400:
            hours.put(column, np.array([401 * 60]), values[:, 400:401])


def test_a_snapshot_in_which_no_hour_changed_is_the_same_object():
    hours, column, ended = hours_of("x"), np.array([0]), np.array([6000])
    assert hours.snapshot() == {}, "no hour was taken in"
    hours.put(column, ended, np.array([[0.03]]))
    first = hours.snapshot()["means"]
    hours.put(column, ended, np.array([[0.03]]))
    assert hours.snapshot()["means"] is first
    hours.put(column, ended, np.array([[0.04]]))
    assert hours.snapshot()["means"] != first


def test_hours_that_version_1_kept_by_cadence_are_joined():
    """Of two cadences, one an hour behind the other; a station that is gone goes, a new one starts empty."""
    fast, slow, ended = hours_of("ab"), hours_of("cd"), np.arange(401, 441, dtype=np.int64) * 60
    random = np.random.default_rng(2)
    of_fast, of_slow = random.gamma(2, 0.01, (2, 40)), random.gamma(2, 0.01, (2, 40))
    fast.put(np.array([0, 1]), ended, of_fast)
    slow.put(np.array([0, 1]), ended - 60, of_slow)
    parts = [
        {**msgspec.json.decode(pages["meta"]), "means": pages["means"]} for pages in (fast.snapshot(), slow.snapshot())
    ]
    joined = hours_of("dxa")
    joined.adopt([*parts, {"stations": ["x"], "newest": None, "hours": 397, "means": b""}])
    expected = hours_of("dxa")
    expected.put(np.array([2]), ended, of_fast[:1])
    expected.put(np.array([0]), ended - 60, of_slow[1:])
    assert joined._means.tobytes() == expected._means.tobytes()
    assert joined.snapshot() == expected.snapshot()


def test_hours_come_from_the_grid_as_they_close_and_again_as_they_change():
    grid, cadence, hours = grids.new_grid(2, behind=1000, ahead=4000), grids.cadence_of(600), OzoneHours()
    view, columns = grids.view_of(grid, cadence), np.array([0, 1])
    hours.attach(view)
    rows = [
        (s, minute, {"o3": 0.02 * (1 + s)}) for minute in range(10, 121, 10) for s in (0, 1) if (s, minute) < (1, 90)
    ]
    grids.put(grid, rows)
    assert hours.close(view, cadence, grids.START, grids.START + 120, 1).rows == []
    cadence.restore((grids.START + 120, grids.START + 120, []))
    ended = grids.START + np.array([60, 120])
    by_surrogate = [0.02 * 0.85 + 0.0045, 0.04 * 0.85 + 0.0045]
    found = hours.nowcast(columns, ended).concentration
    assert found[0].tolist() == pytest.approx([by_surrogate[0]] * 2)
    assert found[1, 0] == pytest.approx(by_surrogate[1])
    assert found[1, 1] == found[1, 0], "an hour of which half is there is none: the newest is of an hour ago"
    span = Span(cadence, np.array([1]), grids.START + 90, grids.START + 120, 1, 1)
    grids.put(grid, [(1, minute, {"o3": 0.08}) for minute in (90, 100, 110, 120)])
    hours.revise(view, span._replace(records=True), None)
    assert hours.nowcast(columns, ended).concentration[1, 1] == found[1, 0], "records change no cell"
    hours.revise(view, span, None)
    late = (2 * 0.04 + 4 * 0.08) / 6 * 0.85 + 0.0045
    assert hours.nowcast(columns, ended).concentration[1].tolist() == pytest.approx([by_surrogate[1], late])
