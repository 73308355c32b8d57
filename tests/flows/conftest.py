"""What the tests of zones and of decoding share."""

import pytest
from msgspec import structs

from flows import air
from schemas.city import Light
from schemas.city_rules import LightSettings

pytest.register_assert_rewrite("tests.support.zones")  # so that what it asserts is explained


@pytest.fixture(scope="module")
def watched(make_city):
    """A city with a light for each station, one that follows all from the last on, and one that has no station near.

    Hourly stations are reference stations. Air that stands still is no stuck sensor, but where ``flat_lines`` says so.
    """

    def make(every, *, kinds=None, flat_lines=False, **rules):
        city = make_city(every)
        if not flat_lines:
            never = {name: structs.replace(of, flat_line=None) for name, of in city.parameters.items()}
            city = structs.replace(city, parameters=never)
        stations = [
            structs.replace(s, kind=kinds[i] if kinds else "reference" if s.every == "1h" else "low_cost")
            for i, s in enumerate(city.stations)
        ]
        names = [s.id for s in stations]
        named = [[name] for name in names] + [names[::-1], [*names[1:], names[0]]]
        known = [Light(id=f"light-{i}", lat=35.2, lon=128.9, stations=of) for i, of in enumerate(named)]
        known += [Light(id="light-near", lat=35.21, lon=128.9), Light(id="light-far", lat=38.0, lon=128.9)]
        return structs.replace(city, stations=stations, lights=known, light_rules=LightSettings(**rules))

    return make


@pytest.fixture(scope="module")
def decoder(make_city):
    return air.decoder(make_city())
