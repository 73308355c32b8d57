"""What the tests of the surroundings share: a city with the usual limits, and cells of one station."""

import numpy as np

from schemas.city import City, Identity

CITY = City(city=Identity(id="tiny", name="Tiny", timezone="Asia/Seoul"), stations=[])


def column(*values, parameter=0):
    x = np.full((len(values), 1, 6), np.nan)
    x[:, 0, parameter] = values
    return x
