"""A step's means as JSON against the same built as dictionaries."""

import msgspec
import numpy as np
from flows.outputs.means_json import newest_means
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.analyses.indices import Scales
from flows.analyses.windows import Means
from flows.kernels import rolling
from flows.outputs.lake_rows import VALID, coverage
from flows.state.cadence import Cadence
from schemas.measured import AIR


def some_means(random, group, share):
    """Random windows of three stations and four ends."""
    shape = (6, len(group.names), 3, 4)
    there = random.random(shape) < share
    count = np.where(there, random.integers(1, 90, shape), 0).astype(np.int32)
    total = (random.normal(size=shape) * 10.0 ** random.integers(0, 15, shape)).astype(np.int64)
    filled = np.minimum(count, random.integers(1, 70, shape)).astype(np.int32)
    totals = rolling.Windows(total, count, filled, np.zeros(shape, np.int32))
    return Means(group, np.arange(3), totals, 600 + 10 * np.arange(4), there, 0, np.array([0, 0, 1, 1]))


def oracle(means):
    steps = {}
    for one in means:
        values, shares = rolling.mean(one.total, one.count).tolist(), coverage(one).tolist()
        for row in np.lexsort((one.window, one.parameter)).tolist():
            step = steps.setdefault((int(one.closing[row]), int(one.ended[row]), int(one.station[row])), {})
            of_parameter = step.setdefault(AIR.gridded[one.parameter[row]], {})
            of_parameter[one.group.names[one.window[row]]] = {
                "mean": values[row],
                "coverage": shares[row],
                "valid": shares[row] >= VALID,
            }
    return [(*step, steps[step]) for step in sorted(steps)]


@given(st.integers(0, 2**32), st.sampled_from([0.02, 0.5, 1.0]), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_they_are_what_the_dictionaries_encode_to(make_city, seed, share, parts):
    random = np.random.default_rng(seed)
    groups = [Cadence(make_city(("1m", "1m", "1m")), np.arange(3), every, Scales()) for every in (60, 600)]
    means = [some_means(random, groups[i % 2], share) for i in range(parts)]
    for i, one in enumerate(means):
        one.columns = one.columns + 3 * i
    expected = oracle(means)
    steps = newest_means(means)
    assert [step[:3] for step in steps] == [step[:3] for step in expected]
    assert [bytes(step.means) for step in steps] == [msgspec.json.encode(step[3]) for step in expected]


def test_windows_that_are_said_again_are_left_out(make_city):
    group = Cadence(make_city(), np.arange(3), 60, Scales())
    again = some_means(np.random.default_rng(1), group, 1.0)
    again.closings = None
    assert newest_means([again]) == []
