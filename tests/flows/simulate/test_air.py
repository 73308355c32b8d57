"""The air of an invented city is plausible."""

import numpy as np

from flows.simulate.air import PM25, days_of_air, distances, kilometres
from flows.simulate.simulator import Simulation
from schemas.measured import AIR
from schemas.slots import SLOT_US
from tests.support.simulated import START


def test_the_day_has_its_rhythm(city):
    """Ozone peaks in the afternoon, NO2 at the rush hours, on working days more than on Sundays."""
    run = list(Simulation(city, START, 14, 1).days())
    observed = np.concatenate([lines.observed for lines in run])
    local = observed // SLOT_US // 60 + 9
    values = np.concatenate([lines.values for lines in run])
    hour, weekday = local % 24, (local // 24 + 3) % 7
    o3, no2 = (np.array([np.nanmean(values[hour == h, AIR.values.index(p)]) for h in range(24)]) for p in ("o3", "no2"))
    assert o3[12:15].mean() > 1.5 * o3[2:5].mean()
    assert no2[[8, 18, 19]].mean() > 1.3 * no2[[2, 3, 13]].mean()
    rush = (hour == 8) & ~np.isnan(values[:, 3])
    assert values[rush & (weekday < 5), 3].mean() > values[rush & (weekday == 6), 3].mean()


def test_neighbours_share_more_noise_than_strangers(city):
    stations = city.stations
    air = days_of_air(stations, START.tzinfo, round(START.timestamp() * 1e6), 1)
    log = np.log(np.concatenate([next(air)[::10, :, PM25] for _ in range(4)]))
    own = log - log.mean(axis=1, keepdims=True)
    correlation, apart = np.corrcoef(own.T), distances(kilometres(stations))
    near, middle, far = (correlation[(apart > a) & (apart <= b)].mean() for a, b in ((0, 2), (4, 8), (12, 30)))
    assert near > middle + 0.1 > far + 0.2
    assert np.corrcoef(log.T).min() > 0.3, "the region's noise is common to all"
