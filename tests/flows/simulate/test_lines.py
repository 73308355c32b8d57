"""Garbage is what a decoder refuses, for the reason that is told."""

from collections import Counter

import numpy as np

from flows import air
from flows.simulate.lines import corrupt


def test_a_corrupt_line_is_refused_for_its_reason(make_city, message):
    decoder, draw, line = air.decoder(make_city()), np.random.default_rng(3), message(pm10=41.0)
    garbage = [corrupt(line, draw) for _ in range(300)]
    readings, rejects, count = decoder.lines(0, 0, b"".join(text + b"\n" for _, text in garbage))
    assert (readings.station.size, count) == (0, 300)
    assert [reject.reason for reject in rejects] == [reason for reason, _ in garbage]
    assert min(Counter(reason for reason, _ in garbage).values()) > 20
