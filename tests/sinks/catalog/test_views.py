"""Every view on a small lake."""

from datetime import timedelta

from sinks.catalog import connect
from tests.support.lakes import NOON
from tests.support.queries import rows


def test_withdrawn_flags_are_hidden(lake):
    lake.epoch(flags=[{}, {"station_id": "b"}])
    lake.epoch(flags=[{"flag": 1, "tests": "", "revision": 1}])
    with connect(lake.root) as con:
        assert con.sql("SELECT station_id, tests FROM flags").fetchall() == [("b", "spike")]
        assert con.sql("SELECT count(*) FROM flags_history").fetchone() == (3,)


def test_stations_and_lights_come_from_the_city(lake):
    with connect(lake.root) as con:
        a, b = rows(con, "FROM stations ORDER BY station_id")
        assert a == {
            "station_id": "a",
            "name": "Ann's",
            "lat": 35.2,
            "lon": 128.8,
            "kind": "low_cost",
            "every": "1m",
            "expected_per_hour": 60,
            "zone": "city",
            "synthetic": False,
        }
        assert (b["kind"], b["every"], b["expected_per_hour"]) == ("reference", "1h", 1)
        assert con.sql("SELECT light_id, stations FROM lights").fetchall() == [("light-1", ["b", "a"])]


def test_coverage_by_day_counts_what_came_and_what_should_have(lake):
    readings = [
        {"koff": i, "observed_at": NOON + timedelta(minutes=i), "pm25": 5.0, "flag_pm25": 4 if i < 10 else 1}
        for i in range(154)
    ]
    lake.epoch(air_readings=readings)
    with connect(lake.root) as con:
        pm25 = rows(con, "FROM coverage_by_day WHERE parameter = 'pm25' ORDER BY station_id")
        assert [(r["station_id"], r["received"], r["failed"], r["expected"], r["coverage"]) for r in pm25] == [
            ("a", 154, 10, 1440, 0.1),
            ("b", 0, 0, 24, 0.0),
        ]
        assert con.sql("SELECT count(*), sum(received)::INT FROM coverage_by_day").fetchone() == (12, 154)


def test_rejects_by_reason(lake):
    lake.books([0], rejects=[(1, "contract"), (2, "contract"), (3, "duplicate")])
    with connect(lake.root) as con:
        assert con.sql("SELECT topic, reason, messages FROM rejects_by_reason ORDER BY reason").fetchall() == [
            ("air", "contract", 2),
            ("air", "duplicate", 1),
        ]


def test_latest_means_are_the_newest_valid_ones_of_a_week(lake):
    later = NOON + timedelta(hours=1)
    lake.epoch(
        rolling=[
            {"mean": 1.0},
            {"mean": 2.0, "ended_at": later},
            {"mean": 3.0, "ended_at": later + timedelta(hours=1), "valid": False},
        ]
    )
    lake.epoch(
        rolling=[
            {"mean": 2.5, "ended_at": later, "revision": 1},
            {"station_id": "b", "ended_at": NOON - timedelta(days=8)},
        ]
    )
    with connect(lake.root) as con:
        assert con.sql("SELECT station_id, ended_at, mean FROM latest_means").fetchall() == [("a", later, 2.5)]


def test_ledger_totals_say_whether_the_books_balance(lake):
    lake.books([0, 1, 3], rejects=[(2, "duplicate")], waiting=1, last=4)
    with connect(lake.root) as con:
        [total] = rows(con, "FROM ledger_totals")
        assert (total["received"], total["stored"], total["duplicate"], total["waiting"], total["balanced"]) == (
            4,
            3,
            1,
            1,
            True,
        )
    lake.books([4], first=5, last=4)  # what waited is judged; nothing new is taken
    with connect(lake.root) as con:
        [total] = rows(con, "FROM ledger_totals")
        assert (
            total["first_offset"],
            total["last_offset"],
            total["received"],
            total["waiting"],
            total["balanced"],
        ) == (0, 4, 5, 0, True)
    lake.epoch(ledger=[{"first_offset": 5, "last_offset": 9, "received": 4, "stored": 4}])
    with connect(lake.root) as con:
        assert con.sql("SELECT balanced FROM ledger_totals").fetchone() == (False,)
