"""Rows that land: every batch as its table says, every message accounted for, every message out as its contract."""

import json
from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import air
from flows.decode.batch import InMemory, InputPartition, OffsetRange, Readings, SourceBatch
from flows.outputs.events import Events
from flows.outputs.lake_rows import Rows, coverage
from flows.zone.zone import Zone
from schemas.rejected import REASONS, Reject
from schemas.rolling import Rolling
from schemas.tables import TABLES

SEOUL = ZoneInfo("Asia/Seoul")
START = 1_767_225_600
PARTS = [InputPartition("day-2.ndjson", 1), InputPartition("day-1.ndjson", 0), InputPartition("empty.ndjson", 2)]
RECEIVED = (START + 9999) * 1_000_000 + 7


def at(second):
    return datetime.fromtimestamp(second, UTC)


@pytest.fixture(scope="module")
def city(make_city):
    return make_city(("1m", "1m", "1h"), zones="yyx")


def outcome_of(city, readings, zone="y", **named):
    state = Zone(city, zone)
    return state, state.take(readings, **named)


def table(landing, name):
    """All rows of a table in a landing, as plain data."""
    return [row for table_name, batch in landing.rows if table_name == name for row in batch.to_pylist()]


def check(landing):
    """Every batch is as its table says, and no batch is empty of columns or nameless."""
    for name, batch in landing.rows:
        assert isinstance(batch, pa.RecordBatch)
        assert batch.schema.equals(TABLES[name].schema)
        batch.validate(full=True)
        nullable = {"pm10", "pm25", "o3", "no2", "co", "so2", "temperature", "humidity"}
        assert all(batch[column].null_count == 0 for column in batch.schema.names if column not in nullable)


def some_readings(make_readings):
    """Two stations for twenty minutes, with a duplicate, a partly new, a failing and an empty message; two partitions."""
    rows = [(s, START + 60 * m, {"pm10": 10.0 * m + s, "humidity": 50.0}) for m in range(1, 21) for s in (0, 1)]
    rows += [
        (0, START + 60, {"pm10": 1.0}),
        (0, START + 60, {"pm10": 1.0, "o3": 0.03}),
        (1, START + 59, {"pm25": 5000.0}),
        (1, START + 58, {}),
    ]
    readings = make_readings(rows)
    readings.part[:] = np.arange(len(rows)) % 2
    readings.status[3] = 1
    return readings


def test_readings_land_as_sent(city, make_readings):
    zone, outcome = outcome_of(city, some_readings(make_readings), last=True)
    landing = Rows(city).outcome("y", zone.stations, outcome, PARTS, RECEIVED)
    check(landing)
    rows = {row["koff"]: row for row in table(landing, "air_readings")}
    assert len(rows) == 43
    assert rows[0] == {
        "zone": "y", "station_id": "a", "observed_at": at(START + 60), "received_at": datetime.fromtimestamp(RECEIVED // 10**6, UTC).replace(microsecond=7),
        "pm10": 10.0, "pm25": None, "o3": None, "no2": None, "co": None, "so2": None, "temperature": None, "humidity": 50.0,
        "flag_pm10": 1, "flag_pm25": 9, "flag_o3": 9, "flag_no2": 9, "flag_co": 9, "flag_so2": 9,
        "topic": "day-2.ndjson", "kpart": 1, "koff": 0,
    }  # fmt: skip
    assert (rows[3]["topic"], rows[3]["kpart"], rows[3]["station_id"], rows[3]["flag_pm10"]) == (
        "day-1.ndjson",
        0,
        "b",
        3,
    )
    assert (rows[41]["pm10"], rows[41]["o3"], rows[41]["flag_pm10"], rows[41]["flag_o3"]) == (None, 0.03, 9, 1)
    assert (rows[42]["pm25"], rows[42]["flag_pm25"]) == (5000.0, 4)
    assert landing.dispositions == {(PARTS[0], "stored"): 21, (PARTS[1], "stored"): 22, (PARTS[0], "duplicate"): 1}
    [duplicate] = table(landing, "rejects")
    assert (duplicate["koff"], duplicate["topic"], duplicate["reason"], duplicate["payload"]) == (
        40,
        "day-2.ndjson",
        "duplicate",
        b"reading 40",
    )
    assert landing.waiting == ("y", Counter())


def test_means_and_flags_land_under_their_names(city, make_readings):
    zone, outcome = outcome_of(city, some_readings(make_readings), last=True)
    landing = Rows(city).outcome("y", zone.stations, outcome, PARTS, RECEIVED)
    rows = {
        (row["station_id"], row["parameter"], row["window_length"], row["ended_at"]): row
        for row in table(landing, "rolling")
    }
    assert rows["b", "pm10", "10m", at(START + 1200)] == {
        "zone": "y", "station_id": "b", "parameter": "pm10", "window_length": "10m", "ended_at": at(START + 1200),
        "mean": 156.0, "count": 10, "expected": 10, "coverage": 1.0, "suspect": 0, "valid": True, "revision": 0,
    }  # fmt: skip
    two = rows["b", "pm10", "2h", at(START + 1200)]
    assert (two["count"], two["expected"], two["coverage"], two["valid"], two["suspect"]) == (
        20,
        120,
        20 / 120,
        False,
        1,
    )
    assert rows["a", "o3", "10m", at(START + 600)]["coverage"] == 0.1
    assert ("b", "pm25", "10m", at(START + 600)) not in rows, "a failing value is in no mean"


def test_a_zone_s_columns_are_the_city_s_stations(city, make_readings):
    hourly = make_readings([(2, START + 3600 * h, {"pm10": 10.0, "pm25": 90.0}) for h in (1, 2)])
    zone, outcome = outcome_of(city, hourly, "x", last=True)
    landing = Rows(city).outcome("x", zone.stations, outcome, PARTS, RECEIVED)
    check(landing)
    assert {
        (row["zone"], row["station_id"])
        for name in ("air_readings", "rolling", "flags")
        for row in table(landing, name)
    } == {("x", "c")}
    flags = {
        (row["parameter"], row["ended_at"]): (row["flag"], row["tests"], row["revision"])
        for row in table(landing, "flags")
    }
    assert flags == {(p, at(START + 3600 * h)): (3, "pm25_above_pm10", 0) for p in ("pm10", "pm25") for h in (1, 2)}
    [row] = [
        row
        for row in table(landing, "rolling")
        if row["window_length"] == "2h" and row["ended_at"] == at(START + 7200) and row["parameter"] == "pm25"
    ]
    assert (row["mean"], row["count"], row["expected"], row["coverage"], row["valid"], row["suspect"]) == (
        90.0,
        2,
        2,
        1.0,
        True,
        2,
    )
    assert {row["window_length"] for row in table(landing, "rolling")} == {"1h", "2h"}


def test_a_finding_withdrawn_lands_as_good(city, make_readings):
    zone = Zone(city, "y")
    zone.take(
        make_readings(
            [
                (s, START + 60 * m, {"co": 9.0 if m == 5 and s == 0 else 1.0})
                for m in range(1, 13)
                for s in (0, 1)
                if m != 4 or s
            ]
        )
    )
    late = make_readings(
        [(0, START + 270, {"co": 17.0}), *((s, START + 60 * m, {}) for m in range(13, 22) for s in (0, 1))], 100
    )
    landing = Rows(city).outcome("y", zone.stations, zone.take(late), PARTS, RECEIVED)
    check(landing)
    flags = [(row["station_id"], row["ended_at"], row["flag"], row["tests"]) for row in table(landing, "flags")]
    assert all((flag == 1) == (tests == "") for _, _, flag, tests in flags)
    rolling = [row for row in table(landing, "rolling") if row["revision"] > 0]
    assert {row["station_id"] for row in rolling} == {"a"}


@pytest.mark.parametrize("reason", REASONS)
def test_what_was_refused_before_a_zone_lands(city, reason):
    reject = Reject(1, 7, reason, "because \ud800 of $.x", b"\xff\x00")
    landing = Rows(city).arrived(
        SourceBatch(
            PARTS,
            RECEIVED,
            rejects=[reject, Reject(0, 2**40, reason, "", b"")],
            offsets=[OffsetRange(1, 0, 9, 10), OffsetRange(0, 3, 3, 1, 2)],
        )
    )
    check(landing)
    rows = table(landing, "rejects")
    assert [
        (row["topic"], row["kpart"], row["koff"], row["reason"], row["detail"], row["payload"]) for row in rows
    ] == [
        ("day-1.ndjson", 0, 7, reason, "because ? of $.x", b"\xff\x00"),
        ("day-2.ndjson", 1, 2**40, reason, "", b""),
    ]
    column = reason if reason in ("duplicate", "too_late") else "rejected"
    assert landing.dispositions == {(PARTS[1], column): 1, (PARTS[0], column): 1}
    assert landing.offsets == [(PARTS[1], OffsetRange(1, 0, 9, 10)), (PARTS[0], OffsetRange(0, 3, 3, 1, 2))]
    assert (landing.received, landing.waiting) == (RECEIVED, None)


def test_nothing_lands_nothing(city):
    zone, outcome = outcome_of(city, air.decoder(city).lines(0, 0, b"")[0], last=True)
    landing = Rows(city).outcome("y", zone.stations, outcome, PARTS, RECEIVED)
    assert (landing.rows, landing.dispositions, landing.waiting) == ([], Counter(), ("y", Counter()))
    assert Rows(city).arrived(SourceBatch(PARTS, RECEIVED)).rows == []


def test_who_waits_is_counted_by_partition(city, make_readings):
    readings = make_readings([(0, START, {}), (1, START, {}), *((0, START + 86400 * 9 + i, {}) for i in range(5))])
    readings.part[:] = [0, 0, 1, 1, 0, 1, 2]
    zone, outcome = outcome_of(city, readings)
    landing = Rows(city).outcome("y", zone.stations, outcome, PARTS, RECEIVED)
    assert landing.waiting == ("y", Counter({PARTS[1]: 3, PARTS[0]: 1, PARTS[2]: 1}))
    assert landing.dispositions == {(PARTS[0], "stored"): 2}


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.integers(0, 200),
            st.sampled_from([{}, {"pm10": 1.0}, {"co": 90.0}, {"o3": 0.1, "pm10": 2.0}]),
        ),
        max_size=40,
    )
)
def test_every_reading_is_judged_once(city, make_readings, rows):
    readings = make_readings([(s, START + 60 * m, measured) for s, m, measured in rows])
    readings.part[:] = np.arange(len(rows)) % 3
    zone, outcome = outcome_of(city, readings, last=True)
    landing = Rows(city).outcome("y", zone.stations, outcome, PARTS, RECEIVED)
    check(landing)
    by_part = Counter(PARTS[i % 3] for i in range(len(rows)))
    assert (
        Counter({part: sum(n for (p, _), n in landing.dispositions.items() if p == part) for part in by_part})
        == by_part
    )
    assert len(table(landing, "air_readings")) == sum(
        n for (_, what), n in landing.dispositions.items() if what == "stored"
    )
    keys = [
        (row["topic"], row["kpart"], row["koff"])
        for name in ("air_readings", "rejects")
        for row in table(landing, name)
    ]
    assert len(set(keys)) == len(keys) == len(rows)


def sent(city, outcome, zone):
    return Events(city, "air").rolling(outcome.evaluated.means, zone.stations).messages


def test_messages_keep_their_contract(city, make_readings):
    zone, outcome = outcome_of(city, some_readings(make_readings), last=True)
    out = sent(city, outcome, zone)
    decoded = [msgspec.json.decode(message.value, type=Rolling) for message in out]
    assert [(one.station_id, one.ended_at) for one in decoded] == [
        (s, at(START + t)) for t in (600, 1200) for s in ("a", "b")
    ], "in time order"
    assert json.loads(out[0].value)["ended_at"] == "2026-01-01T09:10:00+09:00"
    assert [one.key for one in out] == [b"a", b"b", b"a", b"b"]
    assert [one.id for one in out] == [f"{s}:{START + t}" for t in (600, 1200) for s in ("a", "b")]
    headers = dict(out[0].headers)
    assert headers["ce_id"] == out[0].id.encode()
    assert headers["ce_type"] == b"env.air.rolling.v1"
    assert headers["ce_time"] == b"2026-01-01T09:10:00+09:00"
    last = decoded[-1]
    assert set(last.means) == {"pm10"}
    assert set(last.means["pm10"]) == {"10m", "1h", "2h"}
    assert msgspec.to_builtins(last.means["pm10"]["10m"]) == {"mean": 156.0, "coverage": 1.0, "valid": True}
    assert msgspec.to_builtins(last.means["pm10"]["2h"]) == {"mean": 106.0, "coverage": 20 / 120, "valid": False}


def test_what_late_readings_change_is_not_sent(city, make_readings):
    zone, outcome = outcome_of(city, some_readings(make_readings))
    before = sent(city, outcome, zone)
    assert [msgspec.json.decode(message.value, type=Rolling).ended_at for message in before] == [
        at(START + t) for t in (600, 600, 1200, 1200)
    ]
    again = zone.take(
        make_readings([(0, START + 90, {"pm10": 500.0}), (0, START + 1260, {}), (1, START + 1260, {})], 100), last=True
    )
    assert again.evaluated.means, "much is said again"
    assert sent(city, again, zone) == []


@pytest.mark.parametrize(
    ("filled", "length", "valid"), [(89, "2h", False), (90, "2h", True), (7, "10m", False), (8, "10m", True)]
)
def test_valid_from_three_quarters(city, make_readings, filled, length, valid):
    minutes = 120 if length == "2h" else 10
    rows = [
        (s, START + 60 * (minutes - m), {"co": 1.0} if m < filled else {})
        for m in reversed(range(minutes))
        for s in (0, 1)
    ]
    zone, outcome = outcome_of(city, make_readings(rows), last=True)
    landing = Rows(city).outcome("y", zone.stations, outcome, PARTS, RECEIVED)
    [row] = [
        r
        for r in table(landing, "rolling")
        if (r["window_length"], r["ended_at"], r["station_id"]) == (length, at(START + 60 * minutes), "a")
    ]
    assert (row["count"], row["valid"], row["coverage"]) == (filled, valid, filled / minutes)
    [means] = [
        means for means in outcome.evaluated.means if at(START + 60 * minutes) in [at(int(e) * 60) for e in means.ended]
    ]
    assert coverage(means).max() <= 1


def test_a_reading_of_many_a_minute_covers_it_once(make_city, make_readings):
    city = make_city(("10s",))
    rows = [(0, START + 10 * i, {"co": 1.0}) for i in range(1, 31)]
    zone, outcome = outcome_of(city, make_readings([*rows, (0, START + 600, {})]), "city", last=True)
    [row] = [
        r
        for r in table(Rows(city).outcome("city", zone.stations, outcome, PARTS, RECEIVED), "rolling")
        if r["window_length"] == "10m"
    ]
    assert (row["count"], row["expected"], row["coverage"]) == (30, 60, 0.5)


def test_no_empty_batch_lands(city, make_readings):

    none = Readings(
        *(
            np.empty(shape, kind)
            for shape, kind in (
                (0, np.int32),
                (0, np.int64),
                ((0, 8), float),
                ((0, 6), np.uint8),
                (0, np.int32),
                (0, np.int64),
            )
        ),
        InMemory(()),
    )
    zone, outcome = outcome_of(city, none)
    assert Rows(city).outcome("y", zone.stations, outcome, PARTS, RECEIVED).rows == []
    zone, outcome = outcome_of(city, some_readings(make_readings))
    assert all(batch.num_rows for _, batch in Rows(city).outcome("y", zone.stations, outcome, PARTS, RECEIVED).rows)
