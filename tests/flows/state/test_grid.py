"""The grid against dictionaries of sets and of Python's own integers, moved and restored at any point."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.kernels.quality import ABOVE, BELOW
from flows.kernels.rolling import slot_mean
from flows.state import grid as grid_module
from flows.state.grid import PAGE_SLOTS, Grid, slot_of
from schemas.measured import AIR
from schemas.quality import Flag

P = len(AIR.gridded)
START = 29_000_000
"""A slot in 2025."""
BEHIND, AHEAD = 90, 60
LAYERS = 8
CODES = [*Flag, BELOW, ABOVE]
COUNTS = ("sums", "counts", "suspects", "below", "above")
COUNTED = (Flag.GOOD, Flag.NOT_EVALUATED, Flag.SUSPECT)


class Written:
    """What the grid is to say, as it is written: a second is taken once per station and value, and sums are exact."""

    def __init__(self):
        self.taken, self.cells, self.found = {}, {}, {}

    def take(self, station, second, measured):
        """Values of one row that are fresh, those that differ, and whether the row repeats what was taken."""
        fresh, differs = [], []
        for p, value in sorted(measured.items()):
            of_slot = self.taken.setdefault((station, int(slot_of(second)), p), {})
            if second not in of_slot:
                of_slot[second] = value
                fresh.append(p)
            elif len(of_slot) == 1 and of_slot[second] != value:
                differs.append(p)
        of_slot = self.taken.setdefault((station, int(slot_of(second)), "row"), {})
        seen = second in of_slot
        of_slot[second] = None
        return fresh, differs, not fresh if measured else seen

    def add(self, station, slot, quanta, flags):
        for p, (value, flag) in enumerate(zip(quanta, flags, strict=True)):
            counts = flag in COUNTED
            added = value * counts, counts, flag == Flag.SUSPECT, flag == BELOW, flag == ABOVE
            if any(added):
                before = self.cells.get((station, slot, p), (0,) * 5)
                self.cells[station, slot, p] = tuple(map(sum, zip(before, added, strict=True)))

    def forget(self, base):
        for cells in (self.taken, self.cells, self.found):
            for key in [key for key in cells if key[1] < base]:
                del cells[key]


def cells_of(grid):
    """Every cell that holds a value, by station, slot and parameter."""
    layers = [grid.layer(name, grid.oldest, grid.reach) for name in COUNTS]
    return {
        (grid.instruments[s], grid.oldest + int(t), int(p)): tuple(int(layer[t, s, p]) for layer in layers)
        for t, s, p in np.argwhere(np.any([layer != 0 for layer in layers], axis=0)).tolist()
    }


def found_of(grid):
    layer = grid.layer("found", grid.oldest, grid.reach)
    return {(grid.instruments[s], grid.oldest + t, p): int(layer[t, s, p]) for t, s, p in np.argwhere(layer).tolist()}


def feed(grid, written, rows):
    """Take rows of (station id, second, {value: (quanta, flag)}) in one go, and add the fresh ones."""
    if not rows:
        return
    station = np.array([grid.instruments.index(row[0]) for row in rows], np.int32)
    second = np.array([row[1] for row in rows])
    values = np.full((len(rows), len(AIR.values)), np.nan, order="F")
    for i, (_, _, measured) in enumerate(rows):
        values[i, list(measured)] = [quanta / 1e9 for quanta, _ in measured.values()]
    taken = grid.take(station, second, values)
    expected = [written.take(row[0], row[1], {p: quanta for p, (quanta, _) in row[2].items()}) for row in rows]
    assert [np.flatnonzero(row).tolist() for row in taken.fresh] == [row[0] for row in expected]
    assert [np.flatnonzero(row).tolist() for row in taken.differs] == [row[1] for row in expected]
    assert taken.repeated.tolist() == [row[2] for row in expected]
    quanta, flags = np.zeros((len(rows), P), np.int64), np.full((len(rows), P), Flag.MISSING, np.uint8)
    for i, (row, (now, *_)) in enumerate(zip(rows, expected, strict=True)):
        for p in now:
            if p < P:
                quanta[i, p], flags[i, p] = row[2][p]
        written.add(row[0], int(slot_of(row[1])), quanta[i].tolist(), flags[i].tolist())
    grid.add(station, slot_of(second), quanta, flags)


def rows(ids, first, last):
    """Rows in slots first..last, crowded, so that seconds meet."""
    second = st.builds(
        lambda slot, second: (slot - 1) * 60 + second,
        st.sampled_from([first, first + 1, last]) | st.integers(first, last),
        st.sampled_from([1, 2, 59, 60]),
    )
    value = st.tuples(st.integers(-(10**14), 10**14), st.sampled_from([1, 1, 2, 3, 4, 9, BELOW, ABOVE]))
    return st.lists(
        st.tuples(
            st.sampled_from(ids), second, st.dictionaries(st.integers(0, len(AIR.values) - 1), value, max_size=3)
        ),
        max_size=12,
    )


def new_grid(ids):
    return Grid(AIR, list(ids), BEHIND, AHEAD, spare=PAGE_SLOTS)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_seconds_in_any_batches(data):
    grid, written = new_grid("abc"), Written()
    grid.move(START)
    for _ in range(data.draw(st.integers(1, 4))):
        feed(grid, written, data.draw(rows("abc", START - 2, START + 2)))
    assert cells_of(grid) == written.cells


def live(data, *, ids="abc"):
    """Rows, moves, findings and crashes in any order; a crash may come with a new city file."""
    grid, written, at = new_grid(ids), Written(), START
    grid.move(at)
    for step in data.draw(
        st.lists(st.sampled_from(["rows", "rows", "snapshot", "crash", "move", "found"]), min_size=1, max_size=12)
    ):
        if step == "rows":
            feed(grid, written, data.draw(rows(grid.instruments, at - 60, at + 60)))
        elif step == "found":
            slot, station = data.draw(st.integers(at - 60, at + 60)), data.draw(st.sampled_from(grid.instruments))
            grid.layer("found", slot, slot)[0, grid.instruments.index(station), 2] = 5
            grid.touch(np.array([slot]))
            written.found[station, slot, 2] = 5
        elif step == "snapshot":
            grid.snapshot()
        elif step == "crash":
            kept = pickle.loads(pickle.dumps(grid.snapshot()))
            left = data.draw(st.permutations("abcde")) if data.draw(st.booleans()) else grid.instruments
            left = list(left)[: data.draw(st.integers(1, 5))] if left != grid.instruments else left
            gone = set(grid.instruments) - set(left)
            grid = new_grid(left)
            grid.restore(kept)
            written.taken = {key: of_slot for key, of_slot in written.taken.items() if key[0] not in gone}
            written.cells = {key: cell for key, cell in written.cells.items() if key[0] not in gone}
            written.found = {key: bits for key, bits in written.found.items() if key[0] not in gone}
        else:
            at += data.draw(st.sampled_from([1, 30, 59, 60, 61, 200, 5000]))
            grid.move(at)
            written.forget(grid.oldest)
        assert grid.oldest % PAGE_SLOTS == 0
        assert grid.oldest <= at - 60
        assert grid.reach >= at + 60
        assert cells_of(grid) == written.cells
        assert found_of(grid) == written.found


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_moves_and_crashes_anywhere(data):
    live(data)


def test_a_move_before_the_snapshot_loses_nothing():
    grid = new_grid("a")
    grid.move(START)
    feed(grid, Written(), [("a", START * 60, {0: (7, 1)})])
    before = cells_of(grid)
    grid.move(START + 60)
    again = new_grid("a")
    again.restore(pickle.loads(pickle.dumps(grid.snapshot())))
    assert cells_of(again) == cells_of(grid) == before


def test_a_page_lives_until_the_grid_has_left_it_whole():
    grid, written = new_grid("a"), Written()
    grid.move(START)
    feed(grid, written, [("a", (START // PAGE_SLOTS * PAGE_SLOTS + 30) * 60, {0: (7, 1)})])
    grid.snapshot()
    grid.move(START // PAGE_SLOTS * PAGE_SLOTS + BEHIND)
    assert grid.oldest == START // PAGE_SLOTS * PAGE_SLOTS
    again = new_grid("a")
    again.restore(pickle.loads(pickle.dumps(grid.snapshot())))
    assert cells_of(again) == cells_of(grid) == written.cells
    grid.move(START // PAGE_SLOTS * PAGE_SLOTS + BEHIND + PAGE_SLOTS)
    assert cells_of(grid) == {}
    assert grid.snapshot()["pages"] == {}


def test_a_second_snapshot_packs_only_what_changed(monkeypatch):
    grid, written = new_grid("ab"), Written()
    grid.move(START)
    feed(grid, written, [("a", (START - 60) * 60, {0: (7, 1)}), ("b", START * 60, {1: (8, 1)})])
    first = grid.snapshot()
    packed = []
    compress = grid_module.pa.compress
    monkeypatch.setattr(
        grid_module.pa, "compress", lambda *given, **named: packed.append(1) or compress(*given, **named)
    )
    feed(grid, written, [("b", START * 60 - 1, {1: (8, 1)})])
    second = grid.snapshot()
    assert len(packed) == LAYERS, "the layers of one page"
    assert len(first["pages"]) == len(second["pages"]) == 2
    grid.snapshot()
    assert len(packed) == LAYERS, "nothing changed"
    again = new_grid("ab")
    again.restore(second)
    again.snapshot()
    assert len(packed) == LAYERS, "restored as it was, there is nothing to pack"
    assert cells_of(again) == written.cells


def test_an_empty_grid_comes_back_empty():
    grid = new_grid("a")
    kept = pickle.loads(pickle.dumps(grid.snapshot()))
    again = new_grid("ab")
    again.restore(kept)
    assert again.reach == np.iinfo(np.int64).max


def test_a_slot_holds_a_value_of_every_second():
    grid, written = new_grid("a"), Written()
    grid.move(START)
    batch = [("a", (START - 1) * 60 + s, dict.fromkeys(range(P), (10**14, 3))) for s in range(1, 61)]
    feed(grid, written, batch[::2])
    feed(grid, written, batch)
    assert cells_of(grid) == {("a", START, p): (60 * 10**14, 60, 60, 0, 0) for p in range(P)}


def test_moving_back_or_nowhere_keeps_everything():
    grid, written = new_grid("a"), Written()
    grid.move(START)
    feed(grid, written, [("a", START * 60, {0: (7, 1)})])
    base = grid.oldest
    for slot in (START, START - 500):
        grid.move(slot)
        assert grid.oldest == base
        assert cells_of(grid) == written.cells


def test_slots_that_the_grid_does_not_hold_are_a_bug_of_ours():
    grid = new_grid("a")
    grid.move(START)
    for slot in (grid.oldest - 1, grid.reach + 1):
        with pytest.raises(AssertionError):
            grid.layer("sums", slot, slot)
        with pytest.raises(AssertionError):
            grid.touch(np.array([slot]))


def test_the_newest_slot_is_that_of_a_reading():
    grid = new_grid("a")
    grid.move(START)
    empty = np.zeros((1, P), np.int64), np.full((1, P), Flag.MISSING, np.uint8)
    for slot, newest in ((START, START), (START - 5, START), (START + 9, START + 9)):
        grid.add(np.zeros(1, np.int32), np.array([slot]), *empty)
        assert grid.newest == newest
    assert cells_of(grid) == {}


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32),
    st.lists(st.integers(0, 400), min_size=1, max_size=6, unique=True),
    st.lists(st.sampled_from([1, 7, 10, 60, 180]), min_size=1, max_size=3, unique=True),
    st.sets(st.sampled_from([0, 1, 2]), min_size=1),
)
def test_windows_are_the_sums_of_their_cells(seed, ends, lengths, columns):
    random = np.random.default_rng(seed)
    grid = Grid(AIR, list("abc"), 1000, 2000)
    grid.move(START)
    n = 3000
    flags = random.choice(CODES, (n, P)).astype(np.uint8)
    slot = random.integers(START - 300, START + 420, n)
    grid.add(random.integers(0, 3, n).astype(np.int32), slot, random.integers(-(10**12), 10**12, (n, P)), flags)
    grid.layer("found", START + 5, START + 6)[:, 1] = 3
    grid.touch(np.array([START + 5, START + 6]))
    at, chosen = START + np.array(sorted(ends)), np.array(sorted(columns))
    windows = grid.windows(at, np.array(lengths), chosen)
    for e, end in enumerate(at.tolist()):
        for w, length in enumerate(lengths):
            names = (*COUNTS, "found")
            layers = {name: grid.layer(name, end - length + 1, end)[:, chosen].astype(np.int64) for name in names}
            counts = layers["counts"]
            expected = (
                np.vectorize(slot_mean)(layers["sums"], counts),
                counts,
                counts > 0,
                np.where(layers["found"] > 0, counts, layers["suspects"]),
                layers["below"],
                layers["above"],
            )
            for total, layer in zip(windows, expected, strict=True):
                np.testing.assert_array_equal(total[:, w, :, e], layer.sum(axis=0, dtype=np.int64).T)
