"""The kill script, shortened: a file played under kill -9 gives what an undisturbed run gives."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_kill_9_loses_nothing_and_doubles_nothing():
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.kill", "--kills", "4"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    *_, figures = done.stdout.splitlines()
    assert figures.startswith("4 kills"), figures
    assert figures.endswith("means: equal"), figures
