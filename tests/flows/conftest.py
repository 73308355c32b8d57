"""What the tests of zones share."""

import pytest

from flows import grid as grid_module
from flows import zone as zone_module
from flows.grid import PAGE


@pytest.fixture(scope="module")
def small_rooms():
    """A grid that moves every hour or so, and evaluations of three hours at most, so that hours are like weeks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid_module, "ROOM", PAGE)
        patch.setattr(zone_module, "DAY", 180)
        yield
