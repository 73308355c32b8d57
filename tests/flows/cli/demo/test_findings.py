"""What the demo looks for."""

from datetime import UTC, datetime, timedelta

import pytest

from flows.cli.demo.findings import CHECKS, silent_hours
from flows.simulate.scenarios import SCENARIOS


def test_every_scenario_with_events_has_a_check() -> None:
    assert {*CHECKS} == {*SCENARIOS} - {"duplicates", "garbage"}


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ((9, 9), (12, 9), [10, 11, 12]),
        ((9, 50), (12, 16), [11, 12, 13]),
        ((22, 44), (24, 0), [23, 24]),
    ],
)
def test_silent_hours_are_those_with_a_quarter_missing(
    start: tuple[int, int], end: tuple[int, int], hours: list[int]
) -> None:
    midnight = datetime(2026, 11, 21, tzinfo=UTC)
    begun, ended = (midnight + timedelta(hours=h, minutes=m) for h, m in (start, end))
    assert silent_hours(begun, ended) == [midnight + timedelta(hours=h) for h in hours]
