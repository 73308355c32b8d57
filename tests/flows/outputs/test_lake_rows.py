"""Rows that land: every batch as its table says, every message accounted for."""

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import air
from flows.decode.batch import OffsetRange, Record, SourceBatch, no_readings
from flows.outputs.lake_rows import LakeRows, ledger
from flows.zone.result import AcceptedRecord, ZoneResult
from flows.zone.zone import DEFAULT
from schemas.measured import AIR, Recorded
from schemas.odor import OdorReport
from schemas.rejected import REASONS, Reject
from schemas.tables import NAME, TABLES, TIME, Table
from tests.support.results import PARTS, RECEIVED, few_readings
from tests.support.zones import START, new_zone


def at(second):
    return datetime.fromtimestamp(second, UTC)


@pytest.fixture(scope="module")
def city(make_city):
    return make_city(("1m", "1m", "1h"), zones="yyx")


def rows_of(city):
    return LakeRows("air", AIR, air.instruments(city))


def landed(city, readings, zone="y", *, end_of_input=True):
    """What the lake gets of readings that a zone takes."""
    state = new_zone(city, DEFAULT, zone)
    result = state.take(readings, PARTS, end_of_input=end_of_input)
    return rows_of(city).of_zone(zone, state.stations, result, RECEIVED)


def table(landing, name):
    """All rows of a table in a landing, as plain data."""
    return [row for table_name, batch in landing.rows if table_name == name for row in batch.to_pylist()]


def check(landing):
    """Every batch is as its table says, and no batch is empty of columns or nameless."""
    for name, batch in landing.rows:
        assert isinstance(batch, pa.RecordBatch)
        assert batch.schema.equals(TABLES[name].schema)
        batch.validate(full=True)
        nullable = {"pm10", "pm25", "o3", "no2", "co", "so2", "temperature", "humidity", "notes", "why_invalid"}
        assert all(batch[column].null_count == 0 for column in batch.schema.names if column not in nullable)


def test_readings_land_as_sent(city, make_readings):
    landing = landed(city, few_readings(make_readings))
    check(landing)
    rows = {row["koff"]: row for row in table(landing, "air_readings")}
    assert len(rows) == 43
    assert rows[0] == {
        "zone": "y", "station_id": "a", "observed_at": at(START + 60), "received_at": datetime.fromtimestamp(RECEIVED // 10**6, UTC).replace(microsecond=7),
        "pm10": 10.0, "pm25": None, "o3": None, "no2": None, "co": None, "so2": None, "temperature": None, "humidity": 50.0,
        "flag_pm10": 1, "flag_pm25": 9, "flag_o3": 9, "flag_no2": 9, "flag_co": 9, "flag_so2": 9,
        "notes": None, "topic": "day-2.ndjson", "kpart": 1, "koff": 0,
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
    landing = landed(city, few_readings(make_readings))
    rows = {
        (row["station_id"], row["parameter"], row["window_length"], row["ended_at"]): row
        for row in table(landing, "rolling")
    }
    assert rows["b", "pm10", "10m", at(START + 1200)] == {
        "zone": "y", "station_id": "b", "parameter": "pm10", "window_length": "10m", "ended_at": at(START + 1200),
        "mean": 156.0, "count": 10, "expected": 10, "coverage": 1.0, "suspect": 0, "valid": True, "why_invalid": None, "revision": 0,
    }  # fmt: skip
    two = rows["b", "pm10", "2h", at(START + 1200)]
    assert (two["count"], two["expected"], two["coverage"], two["suspect"]) == (20, 120, 20 / 120, 1)
    assert (two["valid"], two["why_invalid"]) == (False, "coverage")
    assert rows["a", "o3", "10m", at(START + 600)]["coverage"] == 0.1
    assert ("b", "pm25", "10m", at(START + 600)) not in rows, "a failing value is in no mean"


def test_a_zone_s_columns_are_the_city_s_stations(city, make_readings):
    hourly = make_readings([(2, START + 3600 * h, {"pm10": 10.0, "pm25": 90.0}) for h in (1, 2)])
    landing = landed(city, hourly, "x")
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


def flags_of(landing):
    """What is found, by station and minute since the start."""
    return {
        (row["station_id"], (row["ended_at"] - at(START)).total_seconds() / 60): (row["flag"], row["tests"])
        for row in table(landing, "flags")
    }


def test_a_finding_withdrawn_lands_as_good(city, make_readings):
    """A jump from minute 4 to 5 is none any more when a late value makes minute 4 as high."""
    zone = new_zone(city, DEFAULT, "y")
    rows = [(s, START + 60 * m, {"co": 9.0 if m >= 5 and s == 0 else 1.0}) for m in range(1, 13) for s in (0, 1)]
    first = rows_of(city).of_zone("y", zone.stations, zone.take(make_readings(rows), PARTS), RECEIVED)
    assert flags_of(first) == {("a", 4): (3, "spike"), ("a", 5): (3, "spike,rate_of_change")}
    late = [(0, START + 230, {"co": 17.0}), *((s, START + 60 * m, {}) for m in range(13, 22) for s in (0, 1))]
    landing = rows_of(city).of_zone("y", zone.stations, zone.take(make_readings(late, 100), PARTS), RECEIVED)
    check(landing)
    assert flags_of(landing) == {("a", 3): (3, "spike"), ("a", 4): (3, "spike,rate_of_change"), ("a", 5): (1, "")}
    assert all(row["revision"] > 0 for row in table(landing, "flags"))
    rolling = [row for row in table(landing, "rolling") if row["revision"] > 0]
    assert {row["station_id"] for row in rolling} == {"a"}


@pytest.mark.parametrize("reason", REASONS)
def test_what_was_refused_before_a_zone_lands(city, reason):
    reject = Reject(1, 7, reason, "because \ud800 of $.x", b"\xff\x00")
    landing = rows_of(city).of_source(
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
    assert {row["flow"] for row in rows} == {"air"}
    column = reason if reason in ("duplicate", "too_late") else "rejected"
    assert landing.dispositions == {(PARTS[1], column): 1, (PARTS[0], column): 1}
    assert landing.offsets == [(PARTS[1], OffsetRange(1, 0, 9, 10)), (PARTS[0], OffsetRange(0, 3, 3, 1, 2))]
    assert (landing.received, landing.waiting) == (RECEIVED, None)


def test_what_another_flow_takes_is_counted_and_lands_nowhere(city):
    rejects = [Reject(1, 7, "other", "", b"{}"), Reject(1, 8, "other", "", b"{}"), Reject(1, 9, "contract", "", b"{}")]
    landing = rows_of(city).of_source(SourceBatch(PARTS, RECEIVED, rejects=rejects))
    assert [row["koff"] for row in table(landing, "rejects")] == [9]
    assert landing.dispositions == {(PARTS[1], "other"): 2, (PARTS[1], "rejected"): 1}
    assert rows_of(city).of_source(SourceBatch(PARTS, RECEIVED, rejects=rejects[:2])).rows == []


def test_nothing_lands_nothing(city):
    landing = landed(city, air.decoder(city).lines(0, 0, b"")[0])
    assert (landing.rows, landing.dispositions, landing.waiting) == ([], Counter(), ("y", Counter()))
    assert rows_of(city).of_source(SourceBatch(PARTS, RECEIVED)).rows == []


def test_who_waits_is_counted_by_partition(city, make_readings):
    readings = make_readings([(0, START, {}), (1, START, {}), *((0, START + 86400 * 9 + i, {}) for i in range(5))])
    readings.part[:] = [0, 0, 1, 1, 0, 1, 2]
    landing = landed(city, readings, end_of_input=False)
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
    landing = landed(city, readings)
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
    landing = landed(city, make_readings(rows))
    [row] = [
        r
        for r in table(landing, "rolling")
        if (r["window_length"], r["ended_at"], r["station_id"]) == (length, at(START + 60 * minutes), "a")
    ]
    assert (row["count"], row["valid"], row["coverage"]) == (filled, valid, filled / minutes)
    assert max(r["coverage"] for r in table(landing, "rolling")) <= 1


def test_a_reading_of_many_a_minute_covers_it_once(make_city, make_readings):
    city = make_city(("10s",))
    rows = [(0, START + 10 * i, {"co": 1.0}) for i in range(1, 31)]
    landing = landed(city, make_readings([*rows, (0, START + 600, {})]), "city")
    [row] = [r for r in table(landing, "rolling") if r["window_length"] == "10m"]
    assert (row["count"], row["expected"], row["coverage"]) == (30, 60, 0.5)


def test_no_empty_batch_lands(city, make_readings):
    assert landed(city, no_readings(), end_of_input=False).rows == []
    assert all(batch.num_rows for _, batch in landed(city, few_readings(make_readings), end_of_input=False).rows)


def test_indices_lights_and_alerts_land_as_their_tables_say(watched, make_readings):
    city = watched(("1m", "1m", "1h"))
    rows = [
        (s, START + 60 * m, {"pm10": 320.0, "pm25": 90.0, "o3": 0.05, "no2": 0.02})
        for m in range(1, 241)
        for s in ((0, 1) if m % 60 else (0, 1, 2))
    ]
    zone = new_zone(city, DEFAULT)
    result = zone.take(make_readings(rows), PARTS, end_of_input=True)
    landing = rows_of(city).of_zone("city", zone.stations, result, RECEIVED)
    for name, batch in landing.rows:
        assert batch.schema.equals(TABLES[name].schema)
        batch.validate(full=True)
    assert {name for name, _ in landing.rows} >= {"cai", "aqi", "light_states", "alerts", "rolling"}
    states, alerts = table(landing, "light_states"), table(landing, "alerts")
    assert len(states) == len(result.signals.states)
    assert {row["light_id"] for row in states} == {light.id for light in city.lights}
    assert {row["color"] for row in states if row["light_id"] == "light-far"} == {"gray"}
    assert all((row["grade"] is None) == (row["color"] == "gray") for row in states)
    assert [row["alert_id"] for row in alerts] == [alert.alert_id for alert in result.signals.alerts]
    assert {(row["kind"], *row["stations"]) for row in alerts} == {("official", "c"), ("early_sign", "a", "b")}
    [hour] = [row for row in table(landing, "cai") if (row["station_id"], row["ended_at"]) == ("a", at(START + 7200))]
    assert (hour["zone"], hour["cai"], hour["main_parameter"], hour["missing_pm10"]) == ("city", None, None, 10)
    assert hour["o3"] == pytest.approx(0.05)


REPORT = Recorded("env.odor.report.v1", "odor_reports", "report_id", "reported_at", OdorReport)
REPORTS = Table(
    "a report",
    "reported_at",
    ("topic", "kpart", "koff"),
    pa.schema(
        [
            ("report_id", pa.string()),
            ("reported_at", TIME),
            ("received_at", TIME),
            ("lat", pa.float64()),
            ("intensity", pa.int8()),
            ("text", pa.string()),
            ("topic", NAME),
            ("kpart", pa.int32()),
            ("koff", pa.int64()),
        ]
    ),
)


def test_records_land_as_sent_and_are_accounted_for(city, monkeypatch):
    monkeypatch.setitem(TABLES, "odor_reports", REPORTS)
    reports = [
        OdorReport(report_id="r-1", reported_at=at(START), lat=35.2, lon=128.9, intensity=4, text="계란 썩는 냄새"),
        OdorReport(report_id="r-2", reported_at=at(START + 1), lat=35.3, lon=128.9),
    ]
    records = [AcceptedRecord(Record(REPORT, report), i, 7 + i) for i, report in enumerate(reports)]
    landing = rows_of(city).of_zone("y", np.array([0, 1], np.int32), ZoneResult(PARTS, records=records), RECEIVED)
    first, second = table(landing, "odor_reports")
    assert first == {
        "report_id": "r-1", "reported_at": at(START), "received_at": at(RECEIVED // 10**6).replace(microsecond=7),
        "lat": 35.2, "intensity": 4, "text": "계란 썩는 냄새", "topic": "day-2.ndjson", "kpart": 1, "koff": 7,
    }  # fmt: skip
    assert (second["report_id"], second["intensity"], second["text"], second["koff"]) == ("r-2", None, "", 8)
    assert landing.dispositions == {(PARTS[0], "stored"): 1, (PARTS[1], "stored"): 1}


def test_entries_of_the_ledger():
    numbers = {name: i for i, name in enumerate(TABLES["ledger"].schema.names) if name not in ("flow", "topic")}
    entries = [{"flow": "air", "topic": topic, **numbers} for topic in ("air", "day")]
    entries[1]["first_offset"] = 2**40
    batch = ledger(entries)
    assert batch.schema.equals(TABLES["ledger"].schema)
    batch.validate(full=True)
    assert [(row["flow"], row["topic"], row["first_offset"], row["waiting"]) for row in batch.to_pylist()] == [
        ("air", "air", numbers["first_offset"], numbers["waiting"]),
        ("air", "day", 2**40, numbers["waiting"]),
    ]
