"""The simulator: deterministic, plausible, and true to what it says about itself."""

import hashlib
from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from flows import air
from flows.simulate.files import write_run
from flows.simulate.simulator import Simulation, iter_minutes
from flows.simulate.truth import Truth
from schemas.errors import UsageError
from schemas.slots import SLOT_US
from tests.support.simulated import START


def test_the_same_seed_gives_the_same_bytes(city, tmp_path):
    one, two, other = (
        write_run(Simulation(city, START, 0.1, seed, ["trouble"]), tmp_path / f"{name}.ndjson.gz").path.read_bytes()
        for name, seed in (("one", 5), ("two", 5), ("other", 6))
    )
    assert one == two
    assert one != other


def test_a_seed_gives_the_bytes_of_every_earlier_version(tiny):
    """Whoever has written down a seed finds the same city again. A new numpy may change it: then say so.

    Changed once: garbage no longer holds a value that is no number, because only that value is missing now.
    """
    digest = hashlib.sha256()
    for minute in iter_minutes(Simulation(tiny, START, 1.2, 5, ["trouble"])):
        digest.update(minute.ended_at.isoformat().encode() + b"".join(minute.lines))
    assert digest.hexdigest() == "a9affb9428e524176983f48f0d77bef98ee1fa46e072a24acc9cf16c47b4255c"


@pytest.mark.parametrize("shorter", [1, 1.4])
def test_a_longer_run_begins_with_the_shorter_one(tiny, shorter):
    end = START + timedelta(days=shorter)
    short = [m for m in iter_minutes(Simulation(tiny, START, shorter, 3, ["trouble"])) if m.ended_at <= end]
    long = [m for m in iter_minutes(Simulation(tiny, START, 3, 3, ["trouble"])) if m.ended_at <= end]
    assert len(short) > 1000
    assert short == long


def test_what_is_sampled_by_the_end_arrives_after_it(tiny):
    *_, last = iter_minutes(Simulation(tiny, START, 1, 3, []))
    assert last.ended_at > START + timedelta(days=1, minutes=9)
    assert {msgspec.json.decode(line)["observed_at"] for line in last.lines} == {"2026-11-22T21:00:00+06:00"}


def test_lines_arrive_in_order_and_scenarios_leave_the_rest_alone(tiny):
    minutes = list(iter_minutes(Simulation(tiny, START, 1, 3, [])))
    assert minutes == sorted(minutes, key=lambda m: m.ended_at)
    clear = Counter(line for minute in minutes for line in minute.lines)
    copied = Counter(
        line
        for minute in iter_minutes(Simulation(tiny, START, 1, 3, ["duplicates", "garbage"]))
        for line in minute.lines
    )
    assert not clear - copied


def test_cadences(tiny):
    simulation = Simulation(tiny, START, 1, 0)
    sent = Counter(station for lines in simulation.days() for station in lines.station.tolist())
    due = {0: 8640, 1: 1440, 2: 144, 3: 24}
    assert simulation.truth.totals.lost == sum(due.values()) - sum(sent.values())
    for station, count in due.items():
        assert 0.9 * count < sent[station] <= count
    assert 0.01 < simulation.truth.totals.lost / sum(due.values()) < 0.02


def test_an_hourly_station_sends_the_mean_of_its_hour(tiny):
    *_, lines = Simulation(tiny, START, 1, 0).days()
    hourly, minute = lines.take(lines.station == 3), lines.take(lines.station == 1)
    assert set((hourly.observed // SLOT_US % 60).tolist()) == {0}
    assert (
        (hourly.arrival - hourly.observed >= 10 * SLOT_US) & (hourly.arrival - hourly.observed <= 20 * SLOT_US)
    ).all()
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
    for minute in iter_minutes(Simulation(tiny, START, 1, 3, ["duplicates"])):
        for line in minute.lines:
            if line in first:
                delays.append((minute.ended_at - first[line]) / timedelta(minutes=1))
            first.setdefault(line, minute.ended_at)
    assert len(delays) == pytest.approx(0.05 * len(first), rel=0.15)
    assert min(delays) >= 0
    assert 55 < max(delays) <= 61


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"start": datetime(2026, 11, 22)}, "has no offset"),
        ({"start": datetime(1960, 1, 1, tzinfo=UTC)}, "between 1970"),
        ({"days": 0}, "between a minute"),
        ({"days": float("nan")}, "between a minute"),
        ({"seed": -1}, "must not be negative"),
        ({"scenarios": ["flood"]}, "known: clear, trouble, dust_front"),
    ],
)
def test_arguments_that_do_not_fit(tiny, change, complaint):
    given = {"city": tiny, "start": START, "days": 1, "seed": 0, "scenarios": []}
    with pytest.raises(UsageError, match=complaint):
        Simulation(**given | change)
