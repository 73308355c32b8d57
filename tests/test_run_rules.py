"""A run of tests names what it leaves out, and under CI=true a skip is a failure."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = """
import pytest

def test_passes(): pass

def test_skips(): pytest.skip("no broker")

@pytest.mark.xfail(reason="known")
def test_is_known_to_fail(): raise AssertionError

@pytest.mark.data("seoul", "busan")
def test_of_recorded_air(): pass

@pytest.mark.data("seoul")
def test_of_recorded_air_too(): pass
"""


@pytest.fixture
def run_tests(tmp_path):
    """Runs the tests above in a process of their own; returns the exit status and what was printed."""
    (tmp_path / "test_it.py").write_text(TESTS)

    def run(*options, **variables):
        words = ["-c", ROOT / "pyproject.toml", "--rootdir", tmp_path, "-p", "tests.support.run_rules"]
        environment = {name: value for name, value in os.environ.items() if name != "CI"}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words, *options, tmp_path],
            cwd=ROOT,
            env=environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    return run


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "by xdist"])
def test_recorded_air_that_is_missing_is_named_and_no_failure(run_tests, tmp_path, workers):
    status, printed = run_tests(*workers, CITYAIR_DATA=str(tmp_path))
    assert status == 0, printed
    missing = f"{tmp_path / 'busan'}, {tmp_path / 'seoul'}"
    assert f"left out: 2 tests marked 'data'; missing: {missing}; CITYAIR_DATA names" in printed


def test_recorded_air_that_is_there_is_tested(run_tests, tmp_path):
    for name in ("busan", "seoul"):
        (tmp_path / name).touch()
    status, printed = run_tests("-v", CITYAIR_DATA=str(tmp_path))
    assert status == 0, printed
    assert "3 passed" in printed
    assert "left out" not in printed


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "by xdist"])
def test_under_ci_a_skip_is_a_failure(run_tests, tmp_path, workers):
    status, printed = run_tests(*workers, CI="true", CITYAIR_DATA=str(tmp_path))
    assert status == 1, printed
    assert "test_it.py::test_skips - Skipped: no broker" in printed
    assert printed.count("FAILED") == 1
