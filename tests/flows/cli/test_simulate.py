"""``cityair simulate`` as a person meets it."""

import gzip

import msgspec
import pytest

from schemas.errors import ConfigurationError, UsageError
from tests.support.commands import invoke

TINY = """
city = { id = "tiny", name = "Tiny", timezone = "Asia/Seoul" }
stations = [{ id = "a", lat = 35.2, lon = 128.9 }, { id = "b", lat = 35.3, lon = 128.9 }]
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command in a folder with a tiny city; an error of ours comes out as itself."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    return lambda *words: invoke("simulate", "--city", "tiny.toml", *words)


def test_a_date_is_the_citys_midnight(run, tmp_path):
    result = run("--start", "2026-11-22", "--days", "0.01", "--output", "day.ndjson")
    assert result.exit_code == 0
    first, *_ = sorted((tmp_path / "day.ndjson").read_bytes().splitlines())
    assert msgspec.json.decode(first)["observed_at"] == "2026-11-22T00:01:00+09:00"
    assert "2026-11-22 00:00 to 2026-11-22 00:14, Asia/Seoul" in result.stdout
    assert "written to day.ndjson, the truth to day.ndjson.truth.json" in result.stdout
    assert result.stderr == "", "no progress where no one looks"


def test_a_time_with_an_offset(run, tmp_path):
    run("--start", "2026-11-22T00:00:00Z", "--days", "0.01", "--output", "day.ndjson")
    assert b"2026-11-22T09:01:00+09:00" in (tmp_path / "day.ndjson").read_bytes()


def test_json_is_the_truth(run, tmp_path):
    asked = ["--scenario", "stuck", "--scenario", "garbage"]
    result = run("--start", "2026-11-22", *asked, "--output", "d.ndjson.gz", "--json")
    told = msgspec.json.decode(result.stdout)
    assert told == msgspec.json.decode((tmp_path / "d.ndjson.gz.truth.json").read_bytes())
    assert told["scenarios"] == ["stuck", "garbage"]
    assert told["totals"]["lines"] == gzip.decompress((tmp_path / "d.ndjson.gz").read_bytes()).count(b"\n")


def test_standard_output_takes_lines_alone(run, tmp_path):
    result = run("--start", "2026-11-22", "--days", "0.01", "--seed", "4", "--output", "-")
    run("--start", "2026-11-22", "--days", "0.01", "--seed", "4", "--output", "day.ndjson")
    assert result.stdout_bytes == (tmp_path / "day.ndjson").read_bytes()
    assert "no truth was written" in result.stderr


def test_what_is_there_is_not_overwritten(run, tmp_path):
    (tmp_path / "day.ndjson").write_text("mine")
    words = ["--start", "2026-11-22", "--days", "0.01", "--output", "day.ndjson"]
    with pytest.raises(UsageError, match="--force overwrites it"):
        run(*words)
    assert (tmp_path / "day.ndjson").read_text() == "mine"
    assert run(*words, "--force").exit_code == 0
    assert (tmp_path / "day.ndjson").read_text() != "mine"


@pytest.mark.parametrize(
    ("words", "error", "complaint"),
    [
        (["--start", "yesterday"], UsageError, "write a date such as"),
        (["--start", "2026-13-01"], UsageError, "write a date such as"),
        (["--start", "2026-11-22T09:00:00"], UsageError, "has no offset"),
        (["--output", "."], UsageError, "is a folder"),
        (["--output", "no/where.ndjson"], UsageError, "make it first"),
        (["--output", "-", "--json"], UsageError, "would mix"),
        (["--scenario", "flood"], UsageError, "no scenario named 'flood'; known: clear, trouble"),
        (["--days", "-1"], UsageError, "must lie between"),
        (["--city", "none.toml"], ConfigurationError, "none.toml cannot be read: No such file"),
    ],
)
def test_errors_name_their_cure(run, words, error, complaint):
    with pytest.raises(error, match=complaint):
        run("--start", "2026-11-22", "--output", "x.ndjson", *words)


def test_help_has_examples_that_hold(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = run("--help").stdout
    assert "cityair simulate --start 2026-11-22 --output day.ndjson" in shown
    assert "dust_front" in shown
