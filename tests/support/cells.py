"""What the tests of cells share: a city with the usual limits, and cells of one station."""

import numpy as np

from flows.kernels.rolling import quantise
from schemas.city import City, Identity

CITY = City(city=Identity(id="tiny", name="Tiny", timezone="Asia/Seoul"), stations=[])


def column(*values, parameter=0):
    """Values of one parameter of one station, shape (T, 1, 6); all other parameters are missing."""
    x = np.full((len(values), 1, 6), np.nan)
    x[:, 0, parameter] = values
    return x


def as_cells(x):
    """Sums and counts of cells with one value each, NaN where none is."""
    return quantise(np.nan_to_num(x)), ~np.isnan(x) * np.uint8(1)
