"""The simulated runs of the tests."""

from datetime import datetime

START = datetime.fromisoformat("2026-11-22T00:00:00+09:00")
