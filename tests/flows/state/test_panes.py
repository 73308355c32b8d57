"""Running totals of panes against the cells themselves, whatever was added, moved or restored in between."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels.rolling import slot_mean
from flows.state.grid import Grid
from flows.state.panes import PANE_SLOTS
from schemas.measured import AIR
from schemas.quality import Flag

P, STATIONS = len(AIR.gridded), ["a", "b", "c"]
START = 29_453_760
BEHIND, AHEAD = 240, 120
LAYERS = ("sums", "counts", "suspects", "found")


def anything(random, low, high, rows=40):
    station = random.integers(0, len(STATIONS), rows).astype(np.int32)
    flags = random.choice([Flag.GOOD, Flag.SUSPECT, Flag.FAIL, Flag.MISSING], (rows, P)).astype(np.uint8)
    return station, random.integers(low, high + 1, rows), random.integers(-(10**12), 10**12, (rows, P)), flags


def oracle(grid, first, last):
    """Totals of each ten minutes, added up cell by cell."""
    cells = {name: grid.layer(name, first + 1, last) for name in LAYERS}
    doubt = np.where(cells["found"] > 0, cells["counts"], cells["suspects"])
    means = np.vectorize(slot_mean, otypes=[np.int64])(cells["sums"], cells["counts"].astype(np.int64))
    layers = (means, cells["counts"], cells["counts"] > 0, doubt)
    return [
        np.stack([run.astype(np.int64).sum(axis=0) for run in np.split(layer, len(layer) // PANE_SLOTS)])
        for layer in layers
    ]


@given(st.integers(0, 2**32), st.lists(st.sampled_from(["add", "find", "move", "restore", "ask"]), max_size=12))
@settings(max_examples=150, deadline=None)
def test_panes_are_the_sums_of_their_cells(seed, steps):
    random = np.random.default_rng(seed)
    grid = Grid(AIR, STATIONS, BEHIND, AHEAD)
    now = START
    grid.move(now)
    for step in [*steps, "ask"]:
        oldest = grid.oldest + 1
        if step == "add":
            grid.add(*anything(random, oldest, now + AHEAD))
        elif step == "find":
            slot = int(random.integers(oldest, now + AHEAD))
            grid.layer("found", slot, slot + 1)[:, 1] = random.integers(0, 3, P)
            grid.touch(np.arange(slot, slot + 2))
        elif step == "move":
            now += int(random.choice([1, 60, 400, 5000]))
            grid.move(now)
        elif step == "restore":
            kept, grid = grid.snapshot(), Grid(AIR, STATIONS, BEHIND, AHEAD)
            grid.restore(kept)
        else:
            low = grid.oldest + PANE_SLOTS * int(random.integers(0, 20))
            high = low + PANE_SLOTS * int(random.integers(1, 15))
            layers = tuple(grid.layer(name, grid.oldest, grid.reach) for name in LAYERS)
            first, last = ((slot - grid.oldest) // PANE_SLOTS for slot in (low, high))
            running = grid._panes.running(high - grid.oldest, layers)
            for totals, expected in zip(running, oracle(grid, low, high), strict=True):
                np.testing.assert_array_equal(np.diff(totals[first : last + 1], axis=0), expected)


def one_cell(grid, slot, quanta):
    """Put one good value of every parameter in a slot of the first instrument."""
    flags = np.full((1, P), Flag.GOOD, np.uint8)
    grid.add(np.zeros(1, np.int32), np.array([slot]), np.full((1, P), quanta), flags)


def layers_of(grid):
    return tuple(grid.layer(name, grid.oldest, grid.reach) for name in LAYERS)


def test_a_pane_holds_the_ten_slots_up_to_its_end():
    grid = Grid(AIR, STATIONS, BEHIND, AHEAD)
    grid.move(START)
    for slot, quanta in ((1, 1), (10, 20), (11, 300), (20, 4000)):
        one_cell(grid, grid.oldest + slot, quanta)
    running = grid._panes.running(25, layers_of(grid))
    assert running.sums[:3, 0, 0].tolist() == [0, 21, 4321]
    assert running.counts[:3, 0, 0].tolist() == running.filled[:3, 0, 0].tolist() == [0, 2, 4]


def test_the_last_slots_of_the_grid_make_no_whole_pane():
    grid = Grid(AIR, STATIONS, BEHIND, AHEAD)
    grid.move(START)
    one_cell(grid, grid.reach, 7)
    last = grid.length - 1
    assert not grid._panes.running(last, layers_of(grid)).sums[: last // PANE_SLOTS + 1].any()


def test_a_finding_makes_every_value_of_its_slot_suspect():
    grid = Grid(AIR, STATIONS, BEHIND, AHEAD)
    grid.move(START)
    for _ in range(3):
        one_cell(grid, grid.oldest + 5, 1)
    assert grid._panes.running(10, layers_of(grid)).suspect[1, 0, 0] == 0
    grid.layer("found", grid.oldest + 5, grid.oldest + 5)[:, 0] = 1
    grid.touch(np.array([grid.oldest + 5]))
    assert grid._panes.running(10, layers_of(grid)).suspect[1, 0, 0] == 3
