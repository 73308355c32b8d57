"""Rows on their way into a zone: parts of a run hold the rows that a list would."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.kernels.watermark import FIRST, RELEASED
from flows.zone.run import Pending, Run
from tests.support.records import micros_of, report
from tests.support.zones import START


@pytest.fixture(scope="module")
def make_run(make_readings):
    """A run of n readings, a record at some of its rows; each known by its offset."""

    def make(n, records=()):
        readings = make_readings([(0, START + 60 * i, {"pm10": float(i)}) for i in range(n)])
        if records:
            readings.records = np.full(n, None)
            for i in records:
                readings.records[i] = report(f"r-{i}")
                readings.station[i], readings.observed[i] = -1, micros_of(readings.records[i])
        return Run(readings, np.arange(n) + 100, 2 * np.arange(n))

    return make


def rows(run):
    """Offset, slot and number of each row: what has to stay together."""
    assert len(run) == len(run.readings) == run.row.size
    return list(zip(run.readings.offset.tolist(), run.slot.tolist(), run.row.tolist(), strict=True))


def whole(n):
    return [(i, i + 100, 2 * i) for i in range(n)]


@given(st.integers(1, 12), st.data())
def test_parts_and_slices(make_run, n, data):
    chosen = data.draw(st.lists(st.integers(0, n - 1), max_size=n))
    run = make_run(n)
    assert rows(run.part(np.array(chosen, np.int64))) == [whole(n)[i] for i in chosen]
    mask = np.isin(np.arange(n), chosen)
    assert rows(run.part(mask)) == [row for i, row in enumerate(whole(n)) if i in chosen]
    begin = data.draw(st.integers(0, n))
    end = data.draw(st.integers(begin, n))
    assert rows(run.slice(begin, end)) == whole(n)[begin:end]
    assert run.slice(begin, end).readings.payloads.take(range(end - begin)) == [
        b"reading %d" % i for i in range(begin, end)
    ]


@given(st.integers(1, 12), st.lists(st.integers(-5, 15), unique=True))
def test_a_run_without_its_records(make_run, n, at):
    inside = [i for i in at if 0 <= i < n]
    left = make_run(n, inside).without(np.array(at, np.int64))
    assert rows(left) == [row for i, row in enumerate(whole(n)) if i not in inside]
    assert left.readings.records is None
    assert (left.readings.station >= 0).all()


def test_a_whole_slice_is_the_run_itself(make_run):
    run = make_run(3)
    assert run.slice(0, 3) is run
    assert len(run.slice(1, 1)) == 0


def test_readings_on_their_way_say_whether_they_come_for_the_first_time(make_run):
    run = make_run(2)
    assert Pending(run.readings, RELEASED).passage == RELEASED
    assert len(Pending(run.readings, FIRST).readings) == 2
