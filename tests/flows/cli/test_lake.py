"""``cityair lake``: reports for people and scripts, and the errors that end them."""

import json
from datetime import UTC, datetime

import pytest

from schemas.errors import ContractError, UsageError
from sinks.maintenance.check import MANY_FILES
from tests.support.commands import invoke, stdout_of

NOON = datetime(2026, 3, 2, 3, tzinfo=UTC)


def run(lake, *words):
    return stdout_of("lake", *words, "--lake", lake.root)


def failing(lake, *words):
    """Run a command that must fail; return its error, and what it printed before."""
    result = invoke("lake", *words, "--lake", lake.root, check=False)
    assert result.exception is not None
    return result.exception, result.stdout


def test_audit_tells_the_books_of_each_partition(lake):
    lake.books([0, 1, 2], rejects=[(3, "duplicate"), (4, "contract"), (5, "contract")])
    assert run(lake, "audit").splitlines() == [
        "air[0]: offsets 0..5, gap 0, waiting 0",
        "  received 6 = stored 3 + rejected 2 + duplicate 1 + too late 0",
        "  air_readings holds 3",
        "  rejects holds 2 contract",
        "  rejects holds 1 duplicate",
        "nothing is missing, nothing is there twice",
    ]


def test_audit_as_json(lake):
    lake.books([0, 1])
    report = json.loads(run(lake, "audit", "--json"))
    assert report["faults"] == []
    assert report["partitions"][0]["received"] == 2


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_audit_that_fails_reports_and_raises(lake, form):
    lake.books([0, 2], last=2)
    error, printed = failing(lake, "audit", *form)
    assert isinstance(error, ContractError)
    assert error.status == 4
    assert "epoch 0..2 lacks 1 offsets (1), its gap is 0" in str(error)
    if form:
        assert json.loads(printed)["faults"]
    else:
        assert "faults" in printed.splitlines()[-1]


def test_check(lake):
    lake.books([0, 1])
    out = run(lake, "check")
    assert "air_readings: 1 files, 2 rows," in out
    assert out.splitlines()[-1] == "0 faults, 0 warnings"
    assert json.loads(run(lake, "check", "--json"))["tables"]["ledger"]["rows"] == 1
    next((lake.root / "ledger").glob("dt=*/*.parquet")).unlink()
    error, printed = failing(lake, "check")
    assert isinstance(error, ContractError)
    assert "1 faults" in printed


def test_warnings_do_not_fail_a_check(lake):
    for _ in range(MANY_FILES + 1):
        lake.epoch(flags=[{}])
    assert "warning: flags: 1 days of more than 8 files" in run(lake, "check")


def test_compact(lake):
    for i in range(3):
        lake.epoch(rolling=[{"revision": i}])
    assert run(lake, "compact", "--before", "2026-03-02") == "no files joined\n"
    assert run(lake, "compact", "--before", "2026-03-03", "--vacuum") == "rolling: 3 files joined\nno files removed\n"
    with pytest.raises(UsageError, match="2026-11-22"):
        run(lake, "compact", "--before", "yesterday")


def test_views_are_printed(lake):
    lake.epoch(rolling=[{}])
    out = run(lake, "views")
    assert "CREATE OR REPLACE VIEW rolling AS" in out
    assert f"delta_scan('{lake.root}/rolling')" in out
