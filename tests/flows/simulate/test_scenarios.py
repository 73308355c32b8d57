"""What goes wrong, found again in the readings."""

from collections import Counter
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from flows import air
from flows.simulate.air import PM25
from flows.simulate.scenarios import SCENARIOS, resolve
from flows.simulate.simulator import Simulation, iter_minutes
from tests.support.simulated import START


def slots(event):
    """Slots of an event's minutes."""
    first = round((event.started_at - START).total_seconds() / 60)
    last = 1440 if event.ended_at is None else round((event.ended_at - START).total_seconds() / 60)
    return slice(first, last)


def events(trouble, name):
    found = [event for event in trouble[0].truth.events if event.scenario == name]
    assert found, f"no {name} in the truth"
    return found


def columns(city, event):
    return [i for i, station in enumerate(city.stations) if station.id in event.station_ids]


def test_dust_sweeps_from_west_to_east(city, trouble):
    [event] = events(trouble, "dust_front")
    assert len(event.station_ids) == 48
    ratio = trouble[2][..., 0] / trouble[1][..., 0]
    inside = ratio[slots(event)]
    faulty = {event.station_ids[0] for name in ("spikes", "dead") for event in events(trouble, name)}
    well = [i for i, s in enumerate(city.stations) if s.every == "1m" and s.id not in faulty]
    well.sort(key=lambda i: city.stations[i].lon)
    assert np.nanmax(np.nanmedian(inside, axis=1)) == pytest.approx(5, rel=0.1)
    arrival = np.argmax(np.nan_to_num(inside[:, well]) > 3, axis=0)
    assert arrival[-3:].mean() - arrival[:3].mean() == pytest.approx(150, abs=40)
    before = ratio[slots(events(trouble, "plume")[0]).stop : slots(event).start]
    assert (np.nan_to_num(before[:, well], nan=1) == 1).all()


def test_a_plume_is_local(city, trouble):
    [event] = events(trouble, "plume")
    ratio = np.nanmedian(trouble[2][slots(event), :, PM25] / trouble[1][slots(event), :, PM25], axis=0)
    center = [station.id for station in city.stations].index(event.detail["center"])
    assert ratio[center] == pytest.approx(4, rel=0.1)
    faulty = [events(trouble, name)[0].station_ids[0] for name in ("stuck", "drift")]
    well = [i for i, s in enumerate(city.stations) if s.every == "1m" and s.id not in faulty]
    touched = set(columns(city, event))
    assert {i for i in well if ratio[i] > 1.6} <= touched
    assert touched.intersection(well) <= {i for i in well if ratio[i] > 1.4}
    assert 1 <= len(touched) <= 8


def test_a_stuck_sensor_repeats_itself(city, trouble):
    [event] = events(trouble, "stuck")
    [column] = columns(city, event)
    stuck = trouble[2][slots(event), column, PM25]
    assert np.unique(stuck[~np.isnan(stuck)]).size == 1
    assert np.count_nonzero(~np.isnan(stuck)) > 450
    assert np.unique(trouble[2][slots(event), column, 0]).size > 20, "only PM2.5 is stuck"


def test_a_drifting_sensor_grows(city, trouble):
    [event] = events(trouble, "drift")
    ratio = (trouble[2] / trouble[1])[:, columns(city, event), PM25][slots(event), 0]
    assert np.nanmedian(ratio[:30]) == pytest.approx(1, abs=0.02)
    lasted = (event.ended_at - event.started_at) / timedelta(days=1)
    assert np.nanmedian(ratio[-30:]) == pytest.approx(1 + 0.6 * lasted, rel=0.03)


def test_spikes_stand_alone(city, trouble):
    found = events(trouble, "spikes")
    assert len(found) == 6
    for event in found:
        [column] = columns(city, event)
        assert event.ended_at - event.started_at == timedelta(minutes=1)
        added = trouble[2][slots(event), column, 0] - np.nan_to_num(trouble[1][slots(event), column, 0])
        assert added >= 399.9


@pytest.mark.parametrize("name", ["dead", "silent"])
def test_silence(city, trouble, name):
    [event] = events(trouble, name)
    column = columns(city, event)
    assert (event.ended_at is None) == (name == "dead")
    assert np.isnan(trouble[2][slots(event), column]).all()
    assert not np.isnan(trouble[2][: slots(event).start, column]).all()
    if name == "silent":
        assert not np.isnan(trouble[2][slots(event).stop :, column]).all()


def test_an_outage_ends_in_a_burst_and_loses_nothing(city, trouble):
    [event] = events(trouble, "outage")
    assert len(event.station_ids) == 8
    clear, spoilt = (grid[slots(event), columns(city, event), 4] for grid in trouble[1:])
    np.testing.assert_array_equal(np.isnan(clear), np.isnan(spoilt))
    arrived = [
        minute.ended_at
        for minute in iter_minutes(Simulation(city, START, 1, 7, ["outage"]))
        for line in minute.lines
        if msgspec.json.decode(line)["station_id"] in event.station_ids
    ]
    while_out = [at for at in arrived if event.started_at + timedelta(minutes=1) < at <= event.ended_at]
    burst = [at for at in arrived if event.ended_at < at <= event.ended_at + timedelta(minutes=5)]
    assert not while_out
    assert len(burst) >= trouble[0].truth.totals.late > 8 * 170


def test_a_clock_ahead_hides_the_hour(city, trouble):
    [event] = events(trouble, "future_clock")
    assert np.isnan(trouble[2][slots(event), columns(city, event)]).all()
    readings, _, _ = air.decoder(city).lines(0, 0, trouble[0].path.read_bytes())
    early = readings.station[readings.observed > (START + timedelta(days=100)).timestamp() * 1e6]
    ahead = Counter(city.stations[i].id for i in early)
    assert ahead == {event.station_ids[0]: trouble[0].truth.totals.future}


def test_events_of_later_days_meet_other_stations(city):
    run = Simulation(city, START, 7, 1, ["trouble"])
    for _ in run.days():
        pass
    told = Counter(event.scenario for event in run.truth.events)
    first_day = {"dust_front": 1, "drift": 1, "dead": 1, "blackout": 1}
    again = {"plume": 3, "stuck": 3, "spikes": 24, "silent": 4, "outage": 3, "future_clock": 2}
    assert told == first_day | again
    lasting = {e.station_ids[0] for e in run.truth.events if e.scenario in ("dead", "drift")}
    brief = ("stuck", "silent", "spikes", "future_clock")
    passing = {e.station_ids[0] for e in run.truth.events if e.scenario in brief}
    assert len(lasting) == 2
    assert not lasting & passing
    assert all(e.ended_at is None or e.ended_at <= run.truth.ended_at for e in run.truth.events)


def test_mixes_and_single_scenarios_join_in_one_order():
    assert resolve(["clear"]) == ()
    assert resolve(["stuck", "dust_front", "stuck"]) == ("dust_front", "stuck")
    assert resolve(["stuck", "trouble"]) == tuple(SCENARIOS)
