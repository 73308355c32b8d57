"""The kill script, shortened: a file played under kill -9 gives what an undisturbed run gives."""

import subprocess
import sys
from pathlib import Path


def test_kill_9_loses_nothing_and_doubles_nothing():
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "tests.kill", "--kills", "6", "--minutes", "1500"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    *_, figures = done.stdout.splitlines()
    assert figures.startswith("6 kills"), figures
    assert figures.endswith("means: equal"), figures
