"""``cityair sql``: tables for people, JSON and CSV for scripts."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from schemas.errors import ConfigurationError, UsageError
from tests.support.commands import invoke, stdout_of

NOON = datetime(2026, 3, 2, 3, tzinfo=UTC)


def run(lake, *words):
    return stdout_of("sql", *words, "--lake", lake.root)


def test_json_of_every_kind_of_value(lake):
    query = """
    SELECT
        sum(1::BIGINT) AS big, 1180591620717411303424::HUGEINT AS huge, 'NaN'::DOUBLE AS nan, 'inf'::DOUBLE AS inf,
        NULL AS nothing, 1.50::DECIMAL(5, 2) AS money, 'a"b\x01'::BLOB AS bytes, [1, NULL] AS list,
        {'a': [1.5]} AS struct, DATE '2026-03-02' AS day, TIMESTAMPTZ '2026-03-02 03:00:00.25+00' AS at, true AS yes,
        '미세먼지' AS text
    """
    out = run(lake, query, "--json")
    [row] = json.loads(out)
    assert row == {
        "big": 1,
        "huge": 2**70,
        "nan": None,
        "inf": None,
        "nothing": None,
        "money": 1.5,
        "bytes": "YSJiAQ==",
        "list": [1, None],
        "struct": {"a": [1.5]},
        "day": "2026-03-02",
        "at": "2026-03-02T12:00:00.250000+09:00",
        "yes": True,
        "text": "미세먼지",
    }
    assert '"big":1,' in out
    assert type(row["huge"]) is int


def test_json_without_rows_is_an_empty_array(lake):
    assert json.loads(run(lake, "FROM rolling", "--json")) == []
    assert json.loads(run(lake, "CREATE TEMP VIEW mine AS FROM rolling", "--json")) == []


def test_repeated_names_are_told_apart(lake):
    assert json.loads(run(lake, "SELECT 1 AS x, 2 AS x, 3 AS x_1, 4 AS x", "--json")) == [
        {"x": 1, "x_1": 2, "x_1_1": 3, "x_2": 4}
    ]


def test_csv_is_rfc_4180(lake):
    query = """
    SELECT 'a,"b"' AS "te,xt", 'two\nlines' AS t, NULL AS n, 1 < 2 AS b, [1, 2] AS l, DATE '2026-03-02' AS d
    """
    out = invoke("sql", query, "--csv", "--lake", lake.root).stdout_bytes.decode()
    assert out.endswith("\r\n")
    header, row = csv.reader(io.StringIO(out, newline=""))
    assert header == ["te,xt", "t", "n", "b", "l", "d"]
    assert row == ['a,"b"', "two\nlines", "", "true", "[1,2]", "2026-03-02"]


def test_a_table_for_people(lake):
    lake.epoch(rolling=[{"mean": 1 / 3}, {"mean": 1234.5, "station_id": "b", "valid": False}])
    lines = run(lake, "SELECT station_id, ended_at, mean, valid, NULL AS nothing FROM rolling ORDER BY 1").splitlines()
    assert [line.split() for line in lines if line.strip()] == [
        ["station_id", "ended_at", "mean", "valid", "nothing"],
        [lines[1].strip()],
        ["a", "2026-03-02", "12:00:00+09:00", "0.333333", "true", "-"],
        ["b", "2026-03-02", "12:00:00+09:00", "1234.5", "false", "-"],
        ["2", "rows"],
    ]
    header, _, first, second, *_ = lines
    end = header.index("mean") + len("mean")
    assert first[:end].endswith("0.333333")
    assert second[:end].endswith("1234.5")


def test_long_results_are_cut_with_a_word(lake):
    rows = [{"ended_at": NOON + timedelta(minutes=10 * i)} for i in range(120)]
    lake.epoch(rolling=rows)
    cut = run(lake, "FROM rolling ORDER BY ended_at")
    assert cut.count("pm25") == 50
    assert "50 of 120 rows; --all" in cut
    assert "12:00:00+09:00" in cut.splitlines()[2]
    whole = run(lake, "FROM rolling ORDER BY ended_at", "--all")
    assert whole.count("pm25") == 120
    assert "120 rows" in whole
    assert "50 rows" in run(lake, "FROM rolling LIMIT 50")


def test_what_devices_send_does_not_steer_the_terminal(lake):
    lake.epoch(rejects=[{"koff": 0, "payload": b"\x1b[2Jx", "detail": "bad\x1b]0;title\x07 [bold]"}])
    out = run(lake, "SELECT detail, payload FROM rejects")
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "[bold]" in out
    assert "\\x1b[2Jx" in out


def test_statements_without_rows_and_explain(lake):
    assert run(lake, "CREATE TEMP VIEW mine AS FROM rolling") == ""
    assert "stations" in run(lake, "SHOW TABLES")
    assert "PROJECTION" in run(lake, "EXPLAIN SELECT 1")


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
@pytest.mark.parametrize("query", ["SELECT nothing_such", "SELEKT 1", "SELECT 'x'::INT"])
def test_an_error_of_the_query_is_told_in_the_words_of_duckdb(lake, query, form):
    with pytest.raises(UsageError, match="Error") as refused:
        run(lake, query, *form)
    assert refused.value.status == 2


def test_two_forms_at_once_are_refused(lake):
    with pytest.raises(UsageError, match="--json and --csv"):
        run(lake, "SELECT 1", "--json", "--csv")


def test_no_lake(lake):
    lake.root.rename(lake.root.with_name("away"))
    with pytest.raises(ConfigurationError, match="there is no lake here"):
        run(lake, "SELECT 1")


def test_the_lake_may_stand_in_the_environment(lake, monkeypatch):
    monkeypatch.setenv("CITYAIR_LAKE", str(lake.root))
    assert stdout_of("sql", "SELECT 41 + 1 AS n", "--json") == '[{"n":42}]\n'


def test_help_has_examples():
    assert 'cityair sql "SHOW TABLES" --lake lake' in stdout_of("sql", "--help")
