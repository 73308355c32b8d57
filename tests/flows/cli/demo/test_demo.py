"""The demo plays, and its report says what the simulator knows to be true."""

import gzip
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len

from flows import settings
from flows.cli.demo import command, folder, play, report
from flows.cli.demo.facts import Facts
from flows.cli.render import pictures
from flows.resources import shipped
from flows.simulate.truth import Truth
from tests.support.recorded import DATA

# Until sinks.ndjson closes its handles.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "demo"


@pytest.fixture(scope="module")
def facts(place: Path) -> Facts:
    return play.play_all(place)


@pytest.fixture(scope="module")
def truth(place: Path, facts: Facts) -> Truth:
    return msgspec.json.decode((place / folder.TRUTH_FILE).read_bytes(), type=Truth)


def test_counts_are_those_of_the_truth(facts: Facts, truth: Truth) -> None:
    day, totals = facts.day, truth.totals
    assert (day.received, day.stored, day.stations) == (totals.lines, totals.readings, 48)
    assert {row.reason: row.refused for row in day.refused} == {r: n for r, n in totals.refused.items() if n}
    assert day.values == 6 * totals.readings - missing(facts)
    assert day.faults == facts.recorded.faults == []


def missing(facts: Facts) -> int:
    """Values that were null: about three in a thousand."""
    nulls = 6 * facts.day.stored - facts.day.values
    assert 0.001 < nulls / facts.day.values < 0.01
    return nulls


def test_every_trouble_is_found_where_it_must_be(facts: Facts, truth: Truth) -> None:
    found = {each.scenario: each for each in facts.day.findings}
    assert set(found) == {event.scenario for event in truth.events}
    for scenario in ("dust_front", "plume", "spikes", "dead", "silent", "outage", "future_clock", "blackout"):
        assert found[scenario].found == found[scenario].due > 0, scenario
    assert found["spikes"].due == 6
    assert found["outage"].due == truth.totals.late
    assert 0 < found["stuck"].found < found["stuck"].due  # six hours must pass before a flat line shows
    assert facts.day.suspect_elsewhere == 0


def test_gaps_of_the_picture_are_those_of_silence(facts: Facts, truth: Truth) -> None:
    strips = {each.station_id: each.means for each in facts.day.strips}
    assert len(strips) == 48
    assert all(len(means) == 24 for means in strips.values())
    [dead] = [event for event in truth.events if event.scenario == "dead"]
    hour = (dead.started_at - truth.started_at) // timedelta(hours=1)
    means = strips[dead.station_ids[0]]
    assert None not in means[:hour]
    assert set(means[hour + 1 :]) == {None}
    [late] = [event for event in truth.events if event.scenario == "outage"]
    assert all(None not in strips[station] for station in late.station_ids)


def test_the_dust_comes_from_the_west(facts: Facts) -> None:
    reached = [next(i for i, mean in enumerate(line.values) if mean and mean > 90) for line in facts.day.dust]
    assert reached == sorted(reached)
    assert reached[0] < reached[-1]


def test_lights_change_over_the_day_and_one_goes_blind(facts: Facts, truth: Truth) -> None:
    day = facts.day.lights
    assert len(day.lights) == 13
    assert {run.color for light in day.lights for run in light.runs} == {"blue", "green", "yellow", "red", "gray"}
    assert all(light.changes() > 3 for light in day.lights)
    assert [(alert.parameter, alert.stage) for alert in day.alerts if alert.kind == "official"] == [
        ("pm10", "advisory")
    ]
    [dark] = [event for event in truth.events if event.scenario == "blackout"]
    [blind] = [light for light in day.lights if light.gray()]
    [gap] = blind.gray()
    assert dark.started_at + timedelta(hours=1) < gap.begin < dark.ended_at < gap.end  # type: ignore[operator]
    assert gap.why == "told", "the pipeline says so, long before the light must do so itself"


def test_the_picture_lies_beside(place: Path, facts: Facts) -> None:
    pytest.importorskip("matplotlib")
    assert (place / folder.PICTURE_FILE).read_bytes().startswith(b"\x89PNG")
    assert str(place / folder.PICTURE_FILE) in "\n".join(
        line.plain for line in report.fact_lines(facts, place, colour=False)
    )


def test_questions_have_answers(facts: Facts) -> None:
    [worst, least, changed] = facts.day.answers
    peak = max(mean for strip in facts.day.strips for mean in strip.means if mean is not None)
    assert worst.rows[0][1] >= peak
    [dead] = [each for each in facts.day.findings if each.scenario == "dead"]
    assert least.rows[0][0] == dead.stations[0]
    assert all(0 < row[2] < row[1] for row in changed.rows)


def test_the_recorded_air_is_as_published(facts: Facts) -> None:
    lines = [line for path in recorded() for line in gzip.decompress(path.read_bytes()).decode().splitlines()[1:]]
    pm25 = [line.split(",")[5] for line in lines]
    values = [float(value) for value in pm25 if value != "NA"]
    stretch = facts.recorded
    assert stretch.received == stretch.stored == len(lines) == 3 * 14 * 24
    assert stretch.coverage == pytest.approx(len(values) / len(lines))
    assert stretch.worst_hour == max(values) == 741
    assert stretch.extreme == sum(value > 300 for value in values)


def recorded() -> list[Path]:
    found = sorted((shipped("recorded") / "beijing").glob("*.csv.gz"))
    assert len(found) == 3
    return found


@pytest.mark.data("beijing")
@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.name)
def test_shipped_rows_are_cut_from_the_source(path: Path) -> None:
    [source] = [
        found for found in (DATA / "beijing").glob("*.csv.gz") if f"_{path.name.split('.')[0]}_" in found.name.lower()
    ]
    head, *rows = gzip.decompress(source.read_bytes()).splitlines(keepends=True)
    stretch = [row for row in rows if (2015, 11, 21) <= tuple(map(int, row.split(b",")[1:4])) <= (2015, 12, 4)]
    assert gzip.decompress(path.read_bytes()) == b"".join([head, *stretch])


def test_the_city_of_the_recorded_air_is_valid() -> None:
    city = settings.load_city(shipped("recorded") / "beijing.toml")
    assert [station.every for station in city.stations] == ["1h"] * 3


@pytest.mark.parametrize("colour", [True, False])
def test_the_report_fits_and_tells_the_facts(facts: Facts, colour: bool) -> None:
    text = "\n".join(line.plain for line in report.fact_lines(facts, Path("demo"), colour=colour))
    assert max(map(cell_len, text.splitlines())) <= report.WIDTH
    for number in (facts.day.received, facts.day.stored, *(row.refused for row in facts.day.refused)):
        assert f"{number:,}" in text
    assert (pictures.CELL in text.partition("DUST FRONT")[0]) == colour


def test_keep_reports_without_playing(place: Path, facts: Facts, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(place.rglob("*"))
    command.demo(place, keep=True, as_json=True)
    again = msgspec.json.decode(capsys.readouterr().out, type=Facts)
    assert (again.day.strips, again.day.findings) == (facts.day.strips, facts.day.findings)
    assert sorted(place.rglob("*")) == before


def test_a_report_on_no_terminal_has_no_colours(
    place: Path, facts: Facts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    report.print_facts(facts, place)
    assert "\x1b" not in capsys.readouterr().out
