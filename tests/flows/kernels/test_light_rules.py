"""Distances between lights and stations."""

import numpy as np
import pytest

from flows.kernels.light_rules import distance_km


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        ((35.236667, 128.883333), (35.202364, 128.807221), 7.898),  # by the spherical law of cosines
        ((0, 0), (0, 180), 20015.115),
        ((0, 0), (0, 1), 111.195),
        ((60, 0), (60, 1), 55.597),
        ((35.2, 128.9), (35.2, 128.9), 0),
        ((10, 20), (-10, -160), 20015.115),
    ],
)
def test_distances(a, b, km):
    assert distance_km(np.array([a], float), *b)[0] == pytest.approx(km, abs=2e-3)
    assert distance_km(np.array([b], float), *a)[0] == pytest.approx(km, abs=2e-3)
