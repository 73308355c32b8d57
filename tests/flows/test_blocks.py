"""Windows of a grid against its cells themselves, whatever was added, moved or restored in between."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.analyses import evaluate
from flows.analyses.indices import Scales
from flows.state.cadence import Cadence
from flows.state.grid import Grid
from schemas.measured import AIR
from schemas.quality import Flag

P, STATIONS = len(AIR.gridded), ["a", "b", "c"]
START = 29_453_760
BEHIND, AHEAD = 240, 120


def some(random, low, high, rows=40):
    station = random.integers(0, len(STATIONS), rows).astype(np.int32)
    flags = random.choice([Flag.GOOD, Flag.SUSPECT, Flag.FAIL, Flag.MISSING], (rows, P)).astype(np.uint8)
    return station, random.integers(low, high + 1, rows), random.integers(-(10**12), 10**12, (rows, P)), flags


def oracle(grid, end, length):
    """Sums, counts, filled slots and suspect values of the windows that end with a slot, added up cell by cell."""
    first, last = end - length + 1, min(end, grid.reach())
    if first > last:
        return [np.zeros((len(STATIONS), P), object)] * 4
    layers = ("sums", "counts", "suspects", "found")
    sums, counts, suspects, found = (grid.layer(name, first, last).astype(object) for name in layers)
    return [layer.sum(axis=0) for layer in (sums, counts, counts > 0, np.where(found > 0, counts, suspects))]


@given(st.integers(0, 2**32), st.lists(st.sampled_from(["add", "find", "move", "restore", "ask"]), max_size=12))
@settings(max_examples=150, deadline=None)
def test_windows_are_the_sums_of_their_cells(seed, steps):
    random = np.random.default_rng(seed)
    grid = Grid(STATIONS, BEHIND, AHEAD)
    now = START
    grid.move(now)
    for step in [*steps, "ask"]:
        oldest = grid.base + 1
        if step == "add":
            grid.add(*some(random, oldest, now + AHEAD))
        elif step == "find":
            slot = int(random.integers(oldest, now + AHEAD))
            grid.layer("found", slot, slot + 1)[:, 1] = random.integers(0, 3, P)
            grid.touch(np.arange(slot, slot + 2))
        elif step == "move":
            now += int(random.choice([1, 60, 400, 5000]))
            grid.move(now)
        elif step == "restore":
            kept, grid = grid.snapshot(), Grid(STATIONS, BEHIND, AHEAD)
            grid.restore(kept)
        else:
            lengths = np.unique(random.choice([1, 7, 10, 60, 150], 2))
            ends = grid.base + np.unique(random.integers(lengths.max(), grid.length + 20, 4))
            columns = random.permutation(3)[: random.integers(1, 4)]
            windows = grid.windows(ends, lengths, columns)
            for e, end in enumerate(ends.tolist()):
                for k, length in enumerate(lengths.tolist()):
                    totals = oracle(grid, end, length)
                    for name, total in zip(("sum", "count", "filled", "suspect"), totals, strict=True):
                        np.testing.assert_array_equal(getattr(windows, name)[:, k, :, e], total[columns].T)


@pytest.mark.parametrize("windows", [("10m", "1h", "3h"), ("7m", "10m", "3h")])
@given(st.integers(0, 2**32), st.integers(1, 400), st.integers(1, 3), st.sets(st.sampled_from([0, 1, 2]), min_size=1))
@settings(max_examples=60, deadline=None)
def test_few_windows_are_those_of_a_long_range(make_city, windows, seed, first, few, columns):
    random = np.random.default_rng(seed)
    city = make_city(("1m", "1m", "1m"), step="1m", windows=windows)
    grid = Grid(STATIONS, 1000, 2000)
    grid.move(START)
    grid.add(*some(random, START - 300, START + 420, rows=3000))
    group = Cadence(city, np.arange(3), 60, Scales())
    some_columns = np.array(sorted(columns))
    many, ends = evaluate._windows(grid, group, some_columns, START, START + 410)
    one, ends_of_few = evaluate._windows(grid, group, some_columns, START + first, START + first + few)
    assert ends.size == 410
    assert ends_of_few.tolist() == ends[first : first + few].tolist()
    for name in ("sum", "count", "filled", "suspect"):
        np.testing.assert_array_equal(getattr(one, name), getattr(many, name)[..., first : first + few])
