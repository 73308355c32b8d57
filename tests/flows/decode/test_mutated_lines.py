"""Broken lines by the thousand, decoded fast and slowly; ``python -m tests.chaos.mutated_lines`` takes millions."""

from dataclasses import replace

from schemas.rejected import OTHER
from tests.chaos import mutated_lines
from tests.chaos.mutated_lines import Difference, Tally, Ways, known_lines, search
from tests.support.messages import GOOD, with_pm10


def test_the_fast_path_changes_nothing():
    result = search(20_000, seed=2026)
    assert isinstance(result, Tally), result
    assert result.readings + result.refused.total() >= 20_000
    assert result.plain > 4000
    assert {"undecodable", "contract", "unknown_station"} <= set(result.refused)


def test_lines_known_are_of_both_kinds_and_none_is_refused():
    lines, names = known_lines(seed=1)
    result = Ways(names).compare(lines, 0)
    assert isinstance(result, Tally)
    assert result.readings == len(lines) - result.refused.total()
    assert set(result.refused) == {OTHER}
    assert {b"gimhae-01" in line for line in lines} == {True, False}


def test_the_line_that_differs_is_found_among_others(monkeypatch):
    ways = Ways(["a"])
    slowly = ways._slow.messages

    def wrong(part, offset, payloads):
        readings, rejects = slowly(part, offset, payloads)
        values = readings.values.copy(order="F")
        values[values == 7.0] = -7.0
        return replace(readings, values=values), rejects

    monkeypatch.setattr(ways._slow, "messages", wrong)
    result = ways.compare([GOOD, with_pm10(b"7"), GOOD], 0)
    assert isinstance(result, Difference)
    assert result.lines == [with_pm10(b"7")]
    assert "values at offset 0: fast [7.0" in result.found


def test_a_difference_is_printed_and_ends_with_1(monkeypatch, capsys):
    monkeypatch.setattr(mutated_lines, "search", lambda lines, seed, shown: Difference([b"a line"], "what differs"))
    assert mutated_lines.main(["--lines", "5", "--seed", "9"]) == 1
    assert capsys.readouterr().out.splitlines() == ["seed 9: what differs", "b'a line'"]
