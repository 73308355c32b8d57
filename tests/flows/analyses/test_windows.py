"""Rolling means against dictionaries that are built slowly from the cells: rows, messages, and what is said again."""

from datetime import datetime
from itertools import product

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.analyses.base import Span
from flows.analyses.windows import RollingMeans, WindowRows, lengths_of, window_rows
from flows.kernels.quality import ABOVE, BELOW
from flows.kernels.rolling import slot_mean
from schemas.durations import minutes
from schemas.measured import AIR
from schemas.quality import Flag
from schemas.rolling import Rolling
from schemas.slots import SLOT_US
from tests.support.grids import SEOUL, START, P, cadence_of, new_grid, newest_windows, put, view_of

TOPIC = "env.air.rolling.v1"
SPELLED = ("10m", "1h", "2h")
IDS = ["a", "b", "c"]
LAYERS = ("sums", "counts", "suspects", "found", "below", "above")


def rolling_means():
    return RollingMeans(AIR, SPELLED, "rolling", TOPIC, SEOUL)


def scattered(seed, share):
    """A grid of three stations with values of every size in some of its cells, and findings in a few."""
    random = np.random.default_rng(seed)
    grid = new_grid(3)
    cells = np.argwhere(random.random((200, 3)) < share)
    if len(cells):
        flags = random.choice(
            [Flag.GOOD, Flag.GOOD, Flag.SUSPECT, Flag.FAIL, Flag.MISSING, BELOW, ABOVE], (len(cells), P)
        ).astype(np.uint8)
        quanta = (random.normal(size=(len(cells), P)) * 10.0 ** random.integers(0, 15, (len(cells), P))).astype(
            np.int64
        )
        grid.add(cells[:, 1].astype(np.int32), START - 79 + cells[:, 0], quanta, flags)
        grid.layer("found", START + 7, START + 9)[:] = 1
        grid.touch(np.arange(START + 7, START + 10))
    return grid


def slow_windows(grid, cadence, names, first, last):
    """Each window that ends in (first, last] and holds a value, by (end, column, parameter, length)."""
    layers = {name: grid.layer(name, START - 300, START + 200).tolist() for name in LAYERS}
    made = {}
    ends = [end for end in range(START + first + 1, START + last + 1) if end % cadence.step == 0]
    for end, s, p, name in product(ends, cadence.columns.tolist(), range(P), names):
        total = count = filled = suspect = below = above = 0
        for slot in range(end - minutes(name) + 1, end + 1):
            cell = {layer: values[slot - START + 300][s][p] for layer, values in layers.items()}
            count, filled = count + cell["counts"], filled + (cell["counts"] > 0)
            total += slot_mean(cell["sums"], cell["counts"])
            below, above = below + cell["below"], above + cell["above"]
            suspect += cell["counts"] if cell["found"] else cell["suspects"]
        if count:
            coverage = min(1.0, filled * cadence.slots / minutes(name))
            valid = coverage >= 0.75 and max(below, above) * 10 <= count + below + above
            made[end, s, AIR.gridded[p], name] = (total, count, filled, suspect, coverage, valid)
    return made


def slow_messages(windows, number_of):
    """Number of the firing, end, column, and the means as they are to be encoded."""
    steps = {}
    for (end, s, parameter, name), (total, _, filled, _, coverage, valid) in windows.items():
        mean = {"mean": total / (filled * 1e9), "coverage": coverage, "valid": valid}
        steps.setdefault((number_of[end], end, s), {}).setdefault(parameter, {})[name] = mean
    return [(*step, means) for step, means in sorted(steps.items(), key=lambda item: item[0])]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.01, 0.5, 1.0]), st.sampled_from([60, 600, 3600]))
def test_rows_and_messages_are_those_of_the_cells(seed, share, every):
    grid, cadence = scattered(seed, share), cadence_of(every, (0, 2))
    number_of = {START + end: 3 + (end > 60) for end in range(10, 121, 10)}
    for end in (60, 120):
        cadence.fire(START + end, number_of[START + end])
    results = rolling_means().close(view_of(grid, cadence), cadence, START, START + 120, 1)
    names = lengths_of(cadence, SPELLED).names
    expected = slow_windows(grid, cadence, names, 0, 120)

    rows = {(key[3] + START, key[0], key[1], key[2]): row for key, row in newest_windows(results).items()}
    assert rows == {key: row[:4] for key, row in expected.items()}
    assert sum(len(rows.instrument) for rows in window_rows(results.rows)) == len(expected)

    events = sorted((event for of in results.messages for event in of.events(IDS)), key=lambda event: event.order)
    messages = slow_messages(expected, number_of)
    assert [event.order for event in events] == [message[:3] for message in messages]
    for event, (_, end, s, means) in zip(events, messages, strict=True):
        ended_at = datetime.fromtimestamp(end * 60, SEOUL).isoformat()
        assert (event.key, event.id, event.at) == (IDS[s], f"{IDS[s]}:{end * 60}", ended_at)
        data = {"station_id": IDS[s], "ended_at": ended_at, "means": means}
        assert msgspec.json.encode(event.data) == msgspec.json.encode(data)
        msgspec.json.decode(msgspec.json.encode(event.data), type=Rolling)


@pytest.mark.parametrize(
    ("every", "names", "expected"),
    [
        (10, ("10m", "1h", "2h"), [60, 360, 720]),
        (60, ("10m", "1h", "2h"), [10, 60, 120]),
        (600, ("10m", "1h", "2h"), [1, 6, 12]),
        (900, ("1h", "2h"), [4, 8]),
        (1800, ("1h", "2h"), [2, 4]),
        (3600, ("1h", "2h"), [1, 2]),
        (4 * 3600, (), []),
    ],
)
def test_windows_that_a_cadence_can_fill(every, names, expected):
    lengths = lengths_of(cadence_of(every), SPELLED)
    assert (lengths.names, lengths.expected.tolist()) == (names, expected)
    assert lengths.slots.tolist() == [minutes(name) for name in names]


def test_the_lookback_is_the_longest_window():
    assert rolling_means().lookback == 120
    assert RollingMeans(AIR, (), "rolling", TOPIC, SEOUL).lookback == 0


def test_a_row_has_the_columns_of_its_table():
    grid, cadence = new_grid(2), cadence_of()
    put(grid, [(1, minute, {"co": 2.0}) for minute in range(1, 9)])
    put(grid, [(1, 9, {"co": 5.0})], Flag.SUSPECT)
    cadence.fire(START + 10, 1)
    [rows] = rolling_means().close(view_of(grid, cadence), cadence, START, START + 10, 1).rows
    columns = rows.columns()
    assert (rows.table, columns["parameter"].names, columns["window_length"].names) == ("rolling", AIR.gridded, SPELLED)
    assert columns["parameter"].code.tolist() == [AIR.gridded.index("co")] * 3
    assert columns["window_length"].code.tolist() == [0, 1, 2]
    plain = {name: column.tolist() for name, column in columns.items() if isinstance(column, np.ndarray)}
    assert plain == {
        "instrument": [1] * 3,
        "ended_at": [(START + 10) * SLOT_US] * 3,
        "mean": [21 / 9] * 3,
        "count": [9] * 3,
        "expected": [10, 60, 120],
        "coverage": [0.9, 9 / 60, 9 / 120],
        "suspect": [1] * 3,
        "valid": [True, False, False],
        "revision": [0] * 3,
    }


def test_windows_are_parted_by_local_day():
    """15:00 UTC is midnight in Seoul; a window that ends then belongs to the day before."""
    grid, cadence = new_grid(2), cadence_of(at=14 * 60 + 50)
    put(grid, [(0, minute, {"co": 1.0}) for minute in range(14 * 60 + 51, 15 * 60 + 21)])
    cadence.fire(START + 15 * 60 + 20, 1)
    results = rolling_means().close(view_of(grid, cadence), cadence, START + 14 * 60 + 50, START + 15 * 60 + 20, 1)
    ends = [sorted(set((rows.ended - START).tolist())) for rows in window_rows(results.rows)]
    assert ends == [[15 * 60], [15 * 60 + 10, 15 * 60 + 20]]
    assert len(results.messages) == 2


def evaluated(rows, until=60):
    """A grid of rows, with a cadence that is evaluated up to a minute, and its means."""
    grid, cadence, means = new_grid(2), cadence_of(), rolling_means()
    put(grid, rows)
    cadence.fire(START + until, 1)
    first = means.close(view_of(grid, cadence), cadence, START, START + until, 1)
    cadence.evaluated(START + until)
    return grid, cadence, means, first


def revise(grid, cadence, means, late, **changes):
    view = view_of(grid, cadence)
    span = Span(cadence, np.array([0]), START + min(row[1] for row in late), cadence.fired_until, 7, 2)
    span = span._replace(**changes)
    before = means.measure(view, span)
    put(grid, late)
    return means.revise(view, span, before)


def test_windows_that_are_said_again_are_no_messages():
    grid, cadence, means, first = evaluated([(0, minute, {"co": 1.0}) for minute in range(1, 61)])
    again = revise(grid, cadence, means, [(0, 25, {"co": 3.0})])
    assert len([event for of in first.messages for event in of.events(IDS)]) == 6
    assert again.messages == []
    windows = newest_windows(again)
    assert {(key[2], key[3]) for key in windows} == {
        ("10m", 30),
        *((name, ended) for name in ("1h", "2h") for ended in (30, 40, 50, 60)),
    }
    assert windows[0, "co", "10m", 30] == (11 * 10**9, 11, 10, 0)
    assert {int(r) for rows in window_rows(again.rows) for r in rows.revision} == {7}


def test_what_did_not_change_is_not_said_again():
    grid, cadence, means, _ = evaluated([(0, 5, {"co": 1.0})])
    assert revise(grid, cadence, means, [(1, 5, {"co": 3.0})]).rows == [], "another station's"
    span = Span(cadence, np.array([0]), START + 61, cadence.fired_until, 7, 2)
    assert means.measure(view_of(grid, cadence), span).sum.shape[-1] == 1, "of a spike, a cell before"
    assert revise(grid, cadence, means, [(0, 5, {"co": 1.0})], records=True).rows == [], "records change no cell"


def test_nothing_ends_nothing_is_said():
    grid, cadence, means = new_grid(2), cadence_of(4 * 3600), rolling_means()
    cadence.fire(START + 480, 1)
    none = means.close(view_of(grid, cadence), cadence, START, START + 480, 1)
    assert (none.rows, none.messages) == ([], []), "no window is long enough"
    fast = cadence_of()
    assert means.close(view_of(grid, fast), fast, START, START + 9, 1).rows == []


def test_rows_of_windows_among_others():
    class OtherRows:
        table, size = "flags", 1

    _, _, _, first = evaluated([(0, 5, {"co": 1.0})])
    mixed = [OtherRows(), *first.rows, OtherRows()]
    assert list(window_rows(mixed)) == first.rows
    assert all(isinstance(rows, WindowRows) for rows in first.rows)
