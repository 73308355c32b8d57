"""The demo plays, and its report says what the simulator knows to be true."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from rich.cells import cell_len

from flows import settings
from flows.cli.demo import command as demo
from flows.cli.demo import facts, pictures, report
from flows.resources import shipped
from flows.simulate.truth import Truth
from schemas.errors import UsageError

# Until sinks.ndjson closes its handles.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

DATA = Path(__file__).parents[4] / "shared" / "data" / "beijing"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "demo"


@pytest.fixture(scope="module")
def told(folder: Path) -> facts.Facts:
    return demo.play_all(folder)


@pytest.fixture(scope="module")
def truth(folder: Path, told: facts.Facts) -> Truth:
    return facts.read_truth(folder / f"{demo.DAY}.truth.json")


def test_counts_are_those_of_the_truth(told: facts.Facts, truth: Truth) -> None:
    day, totals = told.day, truth.totals
    assert (day.received, day.stored, day.stations) == (totals.lines, totals.readings, 48)
    assert {row.reason: row.refused for row in day.refused} == {r: n for r, n in totals.refused.items() if n}
    assert day.values == 6 * totals.readings - missing(told)
    assert day.faults == told.recorded.faults == []


def missing(told: facts.Facts) -> int:
    """Values that were null: about three in a thousand."""
    nulls = 6 * told.day.stored - told.day.values
    assert 0.001 < nulls / told.day.values < 0.01
    return nulls


def test_every_trouble_is_found_where_it_must_be(told: facts.Facts, truth: Truth) -> None:
    found = {each.scenario: each for each in told.day.findings}
    assert set(found) == {event.scenario for event in truth.events}
    for scenario in ("dust_front", "plume", "spikes", "dead", "silent", "outage", "future_clock", "blackout"):
        assert found[scenario].found == found[scenario].due > 0, scenario
    assert found["spikes"].due == 6
    assert found["outage"].due == truth.totals.late
    assert 0 < found["stuck"].found < found["stuck"].due  # six hours must pass before a flat line shows
    assert told.day.suspect_elsewhere == 0


def test_gaps_of_the_picture_are_those_of_silence(told: facts.Facts, truth: Truth) -> None:
    strips = {each.station_id: each.means for each in told.day.strips}
    assert len(strips) == 48
    assert all(len(means) == 24 for means in strips.values())
    [dead] = [event for event in truth.events if event.scenario == "dead"]
    hour = (dead.started_at - truth.started_at) // timedelta(hours=1)
    means = strips[dead.station_ids[0]]
    assert None not in means[:hour]
    assert set(means[hour + 1 :]) == {None}
    [late] = [event for event in truth.events if event.scenario == "outage"]
    assert all(None not in strips[station] for station in late.station_ids)


def test_the_dust_comes_from_the_west(told: facts.Facts) -> None:
    reached = [next(i for i, mean in enumerate(line.values) if mean and mean > 90) for line in told.day.dust]
    assert reached == sorted(reached)
    assert reached[0] < reached[-1]


def test_lights_change_over_the_day_and_one_goes_blind(told: facts.Facts, truth: Truth) -> None:
    day = told.day.lights
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


def test_the_picture_lies_beside(folder: Path, told: facts.Facts) -> None:
    pytest.importorskip("matplotlib")
    assert (folder / report.PICTURE).read_bytes().startswith(b"\x89PNG")
    assert str(folder / report.PICTURE) in "\n".join(line.plain for line in report.lines(told, folder, colour=False))


def test_questions_have_answers(told: facts.Facts) -> None:
    [worst, least, changed] = told.day.answers
    peak = max(mean for strip in told.day.strips for mean in strip.means if mean is not None)
    assert worst.rows[0][1] >= peak
    [dead] = [each for each in told.day.findings if each.scenario == "dead"]
    assert least.rows[0][0] == dead.stations[0]
    assert all(0 < row[2] < row[1] for row in changed.rows)


def test_the_recorded_air_is_as_published(told: facts.Facts) -> None:
    lines = [line for path in recorded() for line in gzip.decompress(path.read_bytes()).decode().splitlines()[1:]]
    pm25 = [line.split(",")[5] for line in lines]
    values = [float(value) for value in pm25 if value != "NA"]
    stretch = told.recorded
    assert stretch.received == stretch.stored == len(lines) == 3 * 14 * 24
    assert stretch.coverage == pytest.approx(len(values) / len(lines))
    assert stretch.worst_hour == max(values) == 741
    assert stretch.extreme == sum(value > 300 for value in values)


def recorded() -> list[Path]:
    found = sorted((shipped("recorded") / "beijing").glob("*.csv.gz"))
    assert len(found) == 3
    return found


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the data beside the repository")
@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.name)
def test_shipped_rows_are_cut_from_the_source(path: Path) -> None:
    [source] = [found for found in DATA.glob("*.csv.gz") if f"_{path.name.split('.')[0]}_" in found.name.lower()]
    head, *rows = gzip.decompress(source.read_bytes()).splitlines(keepends=True)
    stretch = [row for row in rows if (2015, 11, 21) <= tuple(map(int, row.split(b",")[1:4])) <= (2015, 12, 4)]
    assert gzip.decompress(path.read_bytes()) == b"".join([head, *stretch])


def test_the_city_of_the_recorded_air_is_valid() -> None:
    city = settings.load_city(shipped("recorded") / "beijing.toml")
    assert [station.every for station in city.stations] == ["1h"] * 3


@pytest.mark.parametrize("colour", [True, False])
def test_the_report_fits_and_tells_the_facts(told: facts.Facts, colour: bool) -> None:
    text = "\n".join(line.plain for line in report.lines(told, Path("demo"), colour=colour))
    assert max(map(cell_len, text.splitlines())) <= report.WIDTH
    for number in (told.day.received, told.day.stored, *(row.refused for row in told.day.refused)):
        assert f"{number:,}" in text
    assert (pictures.CELL in text.partition("DUST FRONT")[0]) == colour


def test_keep_reports_without_playing(folder: Path, told: facts.Facts, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(folder.rglob("*"))
    demo.demo(folder, keep=True, as_json=True)
    again = msgspec.json.decode(capsys.readouterr().out, type=facts.Facts)
    assert (again.day.strips, again.day.findings) == (told.day.strips, told.day.findings)
    assert sorted(folder.rglob("*")) == before


def test_a_report_on_no_terminal_has_no_colours(
    folder: Path, told: facts.Facts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    report.show(told, folder)
    assert "\x1b" not in capsys.readouterr().out


def test_a_folder_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not made by the demo"):
        demo.clear(tmp_path)
    assert (tmp_path / "lake" / "thesis.txt").exists()


def test_clear_removes_only_what_the_demo_makes(tmp_path: Path) -> None:
    demo.clear(tmp_path / "demo")
    (tmp_path / "demo" / "lake").mkdir()
    (tmp_path / "demo" / "notes.txt").write_text("mine")
    demo.clear(tmp_path / "demo")
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == [demo.MARK, "notes.txt"]


def test_nothing_to_keep_says_how_to_play(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cityair demo --folder"):
        demo.look(tmp_path, {})


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
    assert facts.silent_hours(begun, ended) == [midnight + timedelta(hours=h) for h in hours]
