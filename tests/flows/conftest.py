"""What the tests of zones and of decoding share."""

import pytest
from msgspec import structs

from flows.decode.decoder import Decoder
from flows.state import grid as grid_module
from flows.state.grid import PAGE
from flows.zone import zone as zone_module
from schemas.city import Light
from schemas.city_rules import Lights

pytest.register_assert_rewrite("tests.flows.zones")  # what it asserts is told as in a test


@pytest.fixture(scope="module")
def small_rooms():
    """A grid that moves every hour or so, and evaluations of three hours at most, so that hours are like weeks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid_module, "ROOM", PAGE)
        patch.setattr(zone_module, "DAY", 180)
        yield


@pytest.fixture(scope="module")
def watched(make_city):
    """A city with a light for each station, one that follows all from the last on, and one that has no station near.

    Hourly stations are reference stations.
    """

    def make(every, *, kinds=None, **rules):
        city = make_city(every)
        stations = [
            structs.replace(s, kind=kinds[i] if kinds else "reference" if s.every == "1h" else "low_cost")
            for i, s in enumerate(city.stations)
        ]
        names = [s.id for s in stations]
        named = [[name] for name in names] + [names[::-1], [*names[1:], names[0]]]
        known = [Light(id=f"light-{i}", lat=35.2, lon=128.9, stations=of) for i, of in enumerate(named)]
        known += [Light(id="light-near", lat=35.21, lon=128.9), Light(id="light-far", lat=38.0, lon=128.9)]
        return structs.replace(city, stations=stations, lights=known, light_rules=Lights(**rules))

    return make


@pytest.fixture(scope="module")
def decoder(make_city):
    return Decoder(make_city())
