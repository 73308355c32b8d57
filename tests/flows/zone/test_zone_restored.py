"""A zone that is restored between any two batches, over days: the grid moves between its snapshots."""

import pytest

from flows import air
from flows.zone.zone import DEFAULT
from schemas.city import parse
from tests.support.grids import newest_windows
from tests.support.runs import CITY, STATIONS, line
from tests.support.zones import crashed, new_zone


@pytest.fixture(scope="module")
def four_days():
    return [line(name, minute, pm10=20 + minute % 7) for minute in range(1, 5761) for name in STATIONS]


def test_a_zone_restored_between_any_two_batches_gives_the_same_means(four_days):
    city = parse(CITY.encode())
    found = []
    for restored in (False, True):
        zone, decoder, newest = new_zone(city, DEFAULT), air.decoder(city), {}
        for begin in range(0, len(four_days), 4096):
            batch = "".join(four_days[begin : begin + 4096]).encode()
            readings, _, count = decoder.lines(0, begin, batch)
            result = zone.take(readings, end_of_input=begin + count == len(four_days))
            newest = newest_windows(result.results, newest)
            if restored:
                zone = crashed(zone, city, DEFAULT)
        found.append(newest)
    assert len(found[0]) > 9000
    assert found[0] == found[1]
