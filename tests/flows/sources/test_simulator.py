"""The simulator: deterministic, plausible, and true to what it says about itself."""

import gzip
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from flows import air
from flows.simulate.air import PM25, days, distances, kilometres
from flows.simulate.scenarios import SCENARIOS, resolve
from flows.simulate.simulator import Simulation, Truth, simulate, write
from schemas.city import parse
from schemas.errors import UsageError
from schemas.measured import AIR

ROOT = Path(__file__).parents[3]
START = datetime.fromisoformat("2026-11-22T00:00:00+09:00")
MINUTE = 60_000_000


@pytest.fixture(scope="module")
def city():
    return parse((ROOT / "config" / "gimhae.toml").read_bytes())


@pytest.fixture(scope="module")
def tiny():
    return parse(b"""
        city = { id = "tiny", name = "Tiny", timezone = "Asia/Kolkata" }
        stations = [
            { id = "ten-seconds", lat = 35.20, lon = 128.90, every = "10s" },
            { id = "minute", lat = 35.20, lon = 128.90 },
            { id = "seven", lat = 35.21, lon = 128.91, every = "7m" },
            { id = "hour", lat = 35.25, lon = 128.80, every = "1h", kind = "reference" },
        ]""")


@pytest.fixture(scope="module")
def trouble(city, tmp_path_factory):
    """A day with everything in it: its truth, its clean twin and itself as (station, observed) → values."""
    folder = tmp_path_factory.mktemp("simulated")
    summary = write(city, START, 1, 7, ["trouble"], folder / "trouble.ndjson")
    write(city, START, 1, 7, [], folder / "clear.ndjson")
    return summary, values_of(city, folder / "clear.ndjson"), values_of(city, folder / "trouble.ndjson")


def values_of(city, path):
    """First values of each station and time, shape (minutes, stations, 8), NaN where nothing was sent."""
    readings, _, _ = air.decoder(city).lines(0, 0, path.read_bytes())
    grid = np.full((1440, len(city.stations), len(AIR.values)), np.nan)
    slot = (readings.observed - round(START.timestamp() * 1e6)) // MINUTE - 1
    inside = slot < 1440
    grid[slot[inside], readings.station[inside]] = readings.values[inside]
    return grid


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


def test_the_same_seed_gives_the_same_bytes(city, tmp_path):
    one, two, other = (
        write(city, START, 0.1, seed, ["trouble"], tmp_path / f"{name}.ndjson.gz").path.read_bytes()
        for name, seed in (("one", 5), ("two", 5), ("other", 6))
    )
    assert one == two
    assert one != other


@pytest.mark.parametrize("shorter", [1, 1.4])
def test_a_longer_run_begins_with_the_shorter_one(tiny, shorter):
    end = START + timedelta(days=shorter)
    short = [m for m in simulate(tiny, START, shorter, 3, ["trouble"]) if m.ended_at <= end]
    long = [m for m in simulate(tiny, START, 3, 3, ["trouble"]) if m.ended_at <= end]
    assert len(short) > 1000
    assert short == long


def test_what_is_sampled_by_the_end_arrives_after_it(tiny):
    *_, last = simulate(tiny, START, 1, 3, [])
    assert last.ended_at > START + timedelta(days=1, minutes=9)
    assert [msgspec.json.decode(line)["observed_at"] for line in last.lines] == ["2026-11-22T20:30:00+05:30"]


def test_lines_arrive_in_order_and_scenarios_leave_the_rest_alone(tiny):
    minutes = list(simulate(tiny, START, 1, 3, []))
    assert minutes == sorted(minutes, key=lambda m: m.ended_at)
    clear = Counter(line for minute in minutes for line in minute.lines)
    copied = Counter(line for minute in simulate(tiny, START, 1, 3, ["duplicates", "garbage"]) for line in minute.lines)
    assert not clear - copied


def test_cadences(tiny):
    simulation = Simulation(tiny, START, 1, 0)
    sent = Counter(station for lines in simulation.days() for station in lines.station.tolist())
    start = round(START.timestamp())
    due = {0: 8640, 1: 1440, 2: (start + 86400) // 420 - start // 420, 3: 24}
    assert simulation.truth.totals.lost == sum(due.values()) - sum(sent.values())
    for station, count in due.items():
        assert 0.9 * count < sent[station] <= count
    assert 0.01 < simulation.truth.totals.lost / sum(due.values()) < 0.02


def test_an_hourly_station_sends_the_mean_of_its_hour(tiny):
    *_, lines = Simulation(tiny, START, 1, 0).days()
    hourly, minute = lines.take(lines.station == 3), lines.take(lines.station == 1)
    assert set((hourly.observed // MINUTE % 60).tolist()) == {0}
    assert ((hourly.arrival - hourly.observed >= 10 * MINUTE) & (hourly.arrival - hourly.observed <= 20 * MINUTE)).all()
    assert (minute.arrival - minute.observed <= 8_000_000).all()


def test_values_look_as_devices_send_them(trouble):
    _, clear, _ = trouble
    for column, decimals in enumerate((1, 1, 4, 4, 2, 4, 1, 1)):
        sent = clear[..., column][~np.isnan(clear[..., column])]
        np.testing.assert_array_equal(sent, np.round(sent, decimals))
        assert np.unique(sent).size > 10
    low, high = np.nanmin(clear, axis=(0, 1)), np.nanmax(clear, axis=(0, 1))
    assert (low[:6] > [2, 1, 0, 0, 0, 0]).all()
    assert (high[:6] < [300, 200, 0.2, 0.2, 5, 0.05]).all()


def test_the_day_has_its_rhythm(city):
    """Ozone peaks in the afternoon, NO2 at the rush hours, on working days more than on Sundays."""
    run = list(Simulation(city, START, 14, 1).days())
    observed = np.concatenate([lines.observed for lines in run])
    local = observed // MINUTE // 60 + 9
    values = np.concatenate([lines.values for lines in run])
    hour, weekday = local % 24, (local // 24 + 3) % 7
    o3, no2 = (np.array([np.nanmean(values[hour == h, AIR.values.index(p)]) for h in range(24)]) for p in ("o3", "no2"))
    assert o3[12:15].mean() > 1.5 * o3[2:5].mean()
    assert no2[[8, 18, 19]].mean() > 1.3 * no2[[2, 3, 13]].mean()
    rush = (hour == 8) & ~np.isnan(values[:, 3])
    assert values[rush & (weekday < 5), 3].mean() > values[rush & (weekday == 6), 3].mean()


def test_neighbours_share_more_noise_than_strangers(city):
    stations = city.stations
    air = days(stations, START.tzinfo, round(START.timestamp() * 1e6), 1)
    log = np.log(np.concatenate([next(air)[::10, :, PM25] for _ in range(4)]))
    own = log - log.mean(axis=1, keepdims=True)
    correlation, apart = np.corrcoef(own.T), distances(kilometres(stations))
    near, middle, far = (correlation[(apart > a) & (apart <= b)].mean() for a, b in ((0, 2), (4, 8), (12, 30)))
    assert near > middle + 0.1 > far + 0.2
    assert np.corrcoef(log.T).min() > 0.3, "the region's noise is common to all"


def test_the_truth_counts_what_is_in_the_file(city, trouble):
    summary, _, _ = trouble
    totals = summary.truth.totals
    assert msgspec.json.decode(summary.truth_path.read_bytes(), type=Truth) == summary.truth
    lines = summary.path.read_bytes().splitlines()
    readings, rejects, count = air.decoder(city).lines(0, 0, summary.path.read_bytes())
    assert totals.lines == len(lines) == count
    end = round((START + timedelta(days=2)).timestamp() * 1e6)
    good = readings.observed < end
    assert totals.future == np.count_nonzero(~good) > 0
    keys = set(zip(readings.station[good].tolist(), readings.observed[good].tolist(), strict=True))
    assert totals.readings == len(keys)
    assert totals.duplicates == np.count_nonzero(good) - len(keys)
    assert totals.garbage == len(rejects)
    reasons = Counter(reject.reason for reject in rejects)
    assert set(reasons) == {"undecodable", "contract", "unknown_station"}
    reasons |= {"duplicate": totals.duplicates, "future": totals.future}
    assert reasons == {reason: n for reason, n in totals.refused.items() if n}
    assert totals.lines == totals.readings + sum(totals.refused.values())
    assert totals.duplicates == pytest.approx(0.05 * totals.readings, rel=0.1)
    assert totals.garbage == pytest.approx(0.01 * totals.lines, rel=0.1)


def test_duplicates_are_copies_that_come_within_an_hour(tiny):
    first, delays = {}, []
    for minute in simulate(tiny, START, 1, 3, ["duplicates"]):
        for line in minute.lines:
            if line in first:
                delays.append((minute.ended_at - first[line]) / timedelta(minutes=1))
            first.setdefault(line, minute.ended_at)
    assert len(delays) == pytest.approx(0.05 * len(first), rel=0.15)
    assert min(delays) >= 0
    assert 55 < max(delays) <= 61


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
        for minute in simulate(city, START, 1, 7, ["outage"])
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


def test_parquet_holds_the_same_readings(tiny, tmp_path):
    scenarios = ["stuck", "duplicates", "outage"]
    table = pq.read_table(write(tiny, START, 0.5, 2, scenarios, tmp_path / "a.parquet").path)
    text = gzip.decompress(write(tiny, START, 0.5, 2, scenarios, tmp_path / "a.ndjson.gz").path.read_bytes())
    lines = [msgspec.json.decode(line) for line in text.splitlines()]
    assert table.column_names == list(lines[0])
    for row in (rows := table.to_pylist()):
        row["observed_at"] = row["observed_at"].astimezone(UTC)
    for line in lines:
        line["observed_at"] = datetime.fromisoformat(line["observed_at"]).astimezone(UTC)
    assert rows == lines


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"start": datetime(2026, 11, 22)}, "has no offset"),
        ({"start": datetime(1960, 1, 1, tzinfo=UTC)}, "between 1970"),
        ({"days": 0}, "between a minute"),
        ({"days": float("nan")}, "between a minute"),
        ({"seed": -1}, "must not be negative"),
        ({"scenarios": ["flood"]}, "known: clear, trouble, dust_front"),
        ({"scenarios": ["trouble"]}, "cannot hold garbage"),
    ],
)
def test_arguments_that_do_not_fit(tiny, tmp_path, change, complaint):
    given = {"city": tiny, "start": START, "days": 1, "seed": 0, "scenarios": [], "path": tmp_path / "x.parquet"}
    with pytest.raises(UsageError, match=complaint):
        write(**given | change)
    assert list(tmp_path.iterdir()) == []


def test_a_run_cut_short_leaves_nothing(tiny, tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(tiny, START, 2, 0, [], tmp_path / "x.ndjson", stop)
    assert list(tmp_path.iterdir()) == []


def test_mixes_and_single_scenarios_join_in_one_order():
    assert resolve(["clear"]) == ()
    assert resolve(["stuck", "dust_front", "stuck"]) == ("dust_front", "stuck")
    assert resolve(["stuck", "trouble"]) == tuple(SCENARIOS)
