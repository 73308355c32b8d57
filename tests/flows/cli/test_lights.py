"""``cityair lights``: what the lights of a lake show now, at a time and over a day; the topic is in ``tests/kafka``."""

import json
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import typer
from typer.testing import CliRunner

from flows.cli import application, lights
from flows.cli.demo import lights_png, pictures
from schemas.city import parse
from schemas.errors import ConfigurationError, UsageError
from schemas.light import COLORS, LightState
from sinks.catalog import catalog
from sinks.lights import board as lights_seen
from sinks.lights import history as lights_day
from sinks.lights import states as lights_told

NOON = datetime(2026, 3, 2, 3, tzinfo=UTC)  # in Seoul
DAY = date(2026, 3, 2)
MINUTE = timedelta(minutes=1)
CITY = b'[city]\nid = "c"\nname = "C"\ntimezone = "Asia/Seoul"\n[[stations]]\nid = "a"\nlat = 35.0\nlon = 128.0\n'
GRADES = ["좋음", "보통", "나쁨", "매우나쁨"]
COMMAND = Path(sys.executable).with_name("cityair")


def state(seq, grade, minute, *, light="light-1", life=15, text=None, reason="why"):
    """A row of ``light_states``: what was told ``minute`` minutes after noon."""
    known = {"parameter": "pm25", "pm10": 40.0, "pm25": 20.0, "coverage": 1.0} if grade else {}
    return {
        **dict.fromkeys(("parameter", "pm10", "pm25", "coverage")),
        **known,
        "light_id": light,
        "seq": seq,
        "color": COLORS[grade],
        "grade": grade or None,
        "as_of": NOON + minute * MINUTE,
        "valid_until": NOON + (minute + life) * MINUTE,
        "stations": ["a"] if grade else [],
        "reason": reason,
        "text": text,
    }


def message(*args, **more):
    return LightState(**state(*args, **more))


@pytest.fixture
def run(lake, monkeypatch):
    """Runs the command on the lake and returns what it prints."""
    for name in ("FORCE_COLOR", "CITYAIR_LAKE", "CITYAIR_CITY"):
        monkeypatch.delenv(name, raising=False)

    def call(*words):
        result = CliRunner().invoke(application(), ["lights", *words, "--lake", str(lake.root)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return call


def at(minute):
    """A time as a person of the city types it."""
    return f"{datetime(2026, 3, 2, 12) + minute * MINUTE:%Y-%m-%dT%H:%M}"


def shown(run, minute, *words):
    [line] = run("--at", at(minute), "--json", *words).splitlines()
    return json.loads(line)


def test_a_light_shows_what_it_was_told_until_its_time_is_over(lake, run):
    lake.epoch(light_states=[state(1, 2, 0), state(2, 3, 10, text="산불")])
    assert shown(run, -1)["why"] == "nothing yet"
    first, second, last, over = (shown(run, minute) for minute in (0, 10, 24, 25))
    assert [first["color"], second["color"], last["color"], over["color"]] == ["green", "yellow", "yellow", "gray"]
    assert (second["face"], second["pm10"], second["text"], second["why"]) == ("worry", 40.0, "산불", "told")
    assert (over["face"], over["pm10"], over["pm25"], over["text"], over["why"]) == (None, None, None, None, "over")
    assert (over["seq"], over["reason"]) == (2, "why"), "of the newest message, in force or not"
    assert second["at"] == second["as_of"] == "2026-03-02T12:10:00+09:00"


def test_without_a_time_it_is_now_and_an_old_lake_is_gray(lake, run):
    lake.epoch(light_states=[state(1, 1, 0), state(3, 1, 10), state(2, 1, 5)])
    [line] = run("--json").splitlines()
    seen = json.loads(line)
    assert (seen["color"], seen["why"], seen["seq"]) == ("gray", "over", 3)
    assert abs(datetime.fromisoformat(seen["at"]) - datetime.now(UTC)) < MINUTE


def test_a_light_that_fell_back_to_older_air_was_told_so_no_earlier_than_before(lake, run):
    lake.epoch(light_states=[state(1, 2, 30), state(2, 3, 0, life=120)])
    assert shown(run, 29)["why"] == "nothing yet", "the hourly air of noon was told after that of 12:30"
    assert shown(run, 30)["color"] == "yellow"


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 3, 1)])
def test_a_lower_or_equal_seq_changes_nothing(order):
    board = lights_seen.Board(parse(CITY))
    for seq in order:
        board.take([message(seq, seq, 0)])
    board.take([message(3, 1, 5)])
    [seen] = board.look(NOON + MINUTE)
    assert (seen.seq, seen.color) == (3, "yellow")


def test_a_clock_before_the_air_is_not_trusted():
    board = lights_seen.Board(parse(CITY))
    board.take([message(1, 2, 0)])
    clocks = (NOON - 5 * MINUTE, NOON - 5 * MINUTE - timedelta(seconds=1))
    assert [board.look(clock)[0].why for clock in clocks] == ["told", "clock"]


def test_only_what_is_shown_counts_as_a_change():
    board = lights_seen.Board(parse(CITY))
    board.take([message(1, 2, 0), message(1, 2, 0, light="light-2")])
    before = board.look(NOON)
    assert lights_seen.changed([], before) == before
    board.take([message(2, 2, 5, reason="a heartbeat")])
    assert lights_seen.changed(before, board.look(NOON + 6 * MINUTE)) == []
    board.take([message(3, 2, 6, text="words")])
    assert [seen.light_id for seen in lights_seen.changed(before, board.look(NOON + 6 * MINUTE))] == ["light-1"]
    [gray] = lights_seen.changed(before, board.look(NOON + 15 * MINUTE))[1:]
    assert (gray.light_id, gray.why) == ("light-2", "over"), "its own clock changes it, with no message"


def test_the_table_says_why_a_light_is_gray(lake, run):
    lake.epoch(light_states=[state(1, 2, 0), state(1, 0, 20, light="light-2", text="점검중", reason="a: 40% covered")])
    told, gray = run("--at", at(21)).splitlines()[2:4]
    assert "grays itself: told nothing for after 03-02 12:15" in told
    assert "21 min" in told
    assert "😊" not in told
    assert all(word in gray for word in ("light-2", "gray", "점검중", "a: 40% covered"))
    assert "nothing told yet" in run("--at", at(-60), "--light", "light-1")


def test_colors_and_faces_of_the_table(lake, run, monkeypatch):
    lake.epoch(light_states=[state(1, grade, 0, light=f"light-{grade}") for grade in (1, 2, 3, 4)])
    plain = run("--at", at(1))
    assert "\x1b" not in plain
    for grade, (color, face) in enumerate(zip(COLORS[1:], "😊🙂😟😡", strict=True), 1):
        [line] = [line for line in plain.splitlines() if line.startswith(f"light-{grade} ")]
        assert all(word in line for word in (face, color, GRADES[grade - 1], pictures.GRADES[grade - 1][2] * 2))
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in run("--at", at(1))
    monkeypatch.setenv("NO_COLOR", "1")
    assert pictures.CELL not in run("--at", at(1)), "shades where there are no colors"


def test_words_cannot_steer_the_terminal(lake, run):
    lake.epoch(light_states=[state(1, 2, 0, text="\x1b[2J[red]boo", reason="\x9b2J")])
    text = run("--at", at(1))
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "\\x1b[2J[red]boo" in text


def test_one_light_alone(lake, run):
    lake.epoch(light_states=[state(1, 2, 0), state(1, 3, 0, light="light-2")])
    assert shown(run, 1, "--light", "light-2")["color"] == "yellow"
    with pytest.raises(UsageError, match="--light light-3: unknown; there are light-1, light-2"):
        run("--light", "light-3")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--follow", "--at", at(0)], "--follow and --at exclude"),
        (["--follow", "--day", "2026-03-02"], "--follow and --day exclude"),
        (["--day", "2026-03-02", "--at", at(0)], "--day and --at exclude"),
        (["--png", "x.png"], "name it with --day"),
        (["--kafka"], "--kafka and --lake exclude"),
        (["--at", "noon"], "--at 'noon': .* write for instance"),
        (["--day", "yesterday"], "write a date"),
        (["--day", "2026-03-05"], "no light was told anything for 2026-03-05; .* from 2026-03-02 to 2026-03-02"),
        (["--day", "2026-03-02", "--light", "x"], "--light x: unknown; there are light-1"),
    ],
)
def test_words_that_do_not_fit(lake, run, words, complaint):
    lake.epoch(light_states=[state(1, 2, 0)])
    with pytest.raises(UsageError, match=complaint):
        run(*words)


def test_no_lake_and_no_states(tmp_path, lake, run, monkeypatch):
    monkeypatch.delenv("CITYAIR_LAKE", raising=False)
    with pytest.raises(UsageError, match="--lake DIR or --kafka"):
        lights.lights(typer.Context(typer.main.get_command(application())))
    with pytest.raises(ConfigurationError, match="no lake"):
        lights_told.Lake(tmp_path / "nowhere")
    assert json.loads(run("--json"))["why"] == "nothing yet"
    with pytest.raises(UsageError, match="holds no states of lights"):
        run("--day", "2026-03-02")


def test_following_a_lake_tells_of_changes_only(lake):
    now = datetime.now(UTC)
    before = (now - NOON) / MINUTE
    lake.epoch(light_states=[state(1, 2, before - 5, life=60)])
    client = subprocess.Popen(
        [COMMAND, "lights", "--lake", lake.root, "--json", "--follow"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert json.loads(client.stdout.readline())["color"] == "green"
        lake.epoch(light_states=[state(2, 2, before - 4, life=60), state(3, 2, before - 3, life=60, text="new")])
        seen = json.loads(client.stdout.readline())
        assert (seen["seq"], seen["text"]) == (3, "new")
    finally:
        client.kill()
        client.communicate()


# ------------------------------------------------------------------------------------------------ a day


def of_day(lake, day=DAY, only=None):
    with catalog.connect(lake.root) as con:
        return lights_day.of_day(con, day, only)


def spelled(light):
    return [(f"{run.begin:%H:%M}", f"{run.end:%H:%M}", run.color, run.why) for run in light.runs]


def test_a_day_is_what_the_light_showed_minute_by_minute(lake):
    yesterday = state(1, 1, -725, life=10)  # 23:55, in force past midnight
    lake.epoch(light_states=[yesterday, state(2, 2, 0), state(3, 3, 10), state(4, 0, 20), state(5, 4, 30, life=700)])
    [light] = of_day(lake).lights
    assert spelled(light) == [
        ("00:00", "00:05", "blue", "told"),
        ("00:05", "12:00", "gray", "over"),
        ("12:00", "12:10", "green", "told"),
        ("12:10", "12:20", "yellow", "told"),
        ("12:20", "12:30", "gray", "told"),
        ("12:30", "00:00", "red", "told"),
    ]
    cells = light.cells(of_day(lake).begin)
    assert len(cells) == 96
    assert cells[46:52] == [0, 0, 2, 0, 4, 4], "the color that was there longest; of two the later"
    assert light.changes() == 5
    assert [run.why for run in light.gray()] == ["over", "told"]


def test_what_is_not_known_yet_stays_empty(lake, monkeypatch):
    monkeypatch.setattr(lights_day, "now", lambda: NOON + 5 * MINUTE)
    lake.epoch(light_states=[state(1, 2, 0, life=60)])
    [light] = of_day(lake).lights
    assert light.runs[-1].end == NOON + 60 * MINUTE, "told so long, though the clock is behind"
    assert light.cells(of_day(lake).begin)[51:53] == [2, None]


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)])
def test_days_of_summer_time_have_their_hours(day, hours):
    berlin = ZoneInfo("Europe/Berlin")
    begin, end = (datetime.combine(day + timedelta(days=i), time(), berlin) for i in (0, 1))
    row = message(1, 2, (begin - NOON) / MINUTE + 360, life=1000)
    runs = list(lights_day._runs("light-1", [(row.as_of, row)], begin, end))
    lasts = [run.end.astimezone(UTC) - run.begin.astimezone(UTC) for run in runs]
    assert [run.color for run in runs] == ["gray", "green", "gray"]
    assert (lasts[1], sum(lasts, timedelta())) == (1000 * MINUTE, timedelta(hours=hours))


def test_alerts_are_marked_and_told(lake, run):
    lake.epoch(
        light_states=[state(1, 2, 0, life=60)],
        alerts=[
            alert(-1440, "pm10", "warning", value=310.0),
            alert(-600, "pm10", "none"),
            alert(60, "pm25", "advisory", value=80.4),
            alert(120, "pm25", "none"),
            alert(90, "o3", "advisory", value=0.121, kind="early_sign"),
        ],
    )
    spans = of_day(lake).alerts
    assert [(s.parameter, s.kind, f"{s.begin:%H:%M}", f"{s.end:%H:%M}") for s in spans] == [
        ("pm10", "official", "00:00", "02:00"),
        ("pm25", "official", "13:00", "14:00"),
        ("o3", "early_sign", "13:30", "00:00"),
    ]
    lines = run("--day", "2026-03-02").splitlines()
    assert lines[2].count("▲") == 8 + 4
    assert lines[2].count("△") == 40
    assert "▲ 미세먼지 경보  00:00–02:00  310 µg/m³" in lines[-3]
    assert "▲ 초미세먼지 주의보  13:00–14:00  80 µg/m³" in lines[-2]
    assert "△ 오존 주의보 (early sign)  13:30–24:00  0.121 ppm" in lines[-1]


def alert(minute, parameter, stage, *, value=1.0, kind="official"):
    return {
        "alert_id": f"{parameter}-{minute}",
        "parameter": parameter,
        "kind": kind,
        "stage": stage,
        "ended_at": NOON + minute * MINUTE,
        "value": value,
        "stations": ["b"],
    }


def test_rows_of_a_day_are_as_wide_as_their_quarters(lake, run):
    lake.epoch(light_states=[state(1, 2, 0, life=800), state(1, 4, 30, life=800, light="light-2")])
    head, hours, *rows = run("--day", "2026-03-02").splitlines()
    assert all(name in head for name in GRADES)
    assert rows == [f"light-1   {'·' * 48}{'▒' * 48}", f"light-2   {'·' * 50}{'█' * 46}"]
    assert hours.split() == [str(hour) for hour in range(0, 24, 3)]
    assert [json.loads(line)["light_id"] for line in run("--day", "2026-03-02", "--json").splitlines()] == [
        "light-1",
        "light-2",
    ]


def test_the_picture_has_the_colors_of_the_day(lake, run, tmp_path):
    image = pytest.importorskip("matplotlib.image")
    lake.epoch(
        light_states=[state(1, 2, -720, life=700), state(2, 0, 0, life=200), state(3, 4, 360, life=800)],
        alerts=[alert(60, "pm25", "advisory")],
    )
    assert str(tmp_path / "day.png") in run("--day", "2026-03-02", "--png", str(tmp_path / "day.png"))
    pixels = (image.imread(tmp_path / "day.png")[..., :3] * 255).round().astype(int)
    height, width, _ = pixels.shape
    hues = [tuple(pixels[int(height * 0.6), int(width * share)]) for share in (0.3, 0.57, 0.77)]
    assert hues == [rgb(lights_png.HUES[2]), rgb(lights_png.HUES[0]), rgb(lights_png.HUES[4])]
    assert (pixels == rgb(lights_png.STAGES["advisory"])).all(axis=2).sum() > 500
    assert lights_png.HUES[1:] == tuple(hue for _, hue, _ in pictures.GRADES)


def rgb(hue):
    return tuple(int(hue[i : i + 2], 16) for i in (1, 3, 5))


def test_a_font_with_every_letter_or_none():
    pytest.importorskip("matplotlib")
    assert lights_png._font("Busan 1") == "DejaVu Sans"
    assert lights_png._font("\U000f0000") is None, "no font has a letter of private use"
    found = lights_png._font("김해시")
    assert found is None or not found.startswith("Last Resort")


def test_without_matplotlib_the_cure_is_named(lake, run, tmp_path, monkeypatch):
    monkeypatch.setattr(lights_png, "find_spec", lambda _: None)
    lake.epoch(light_states=[state(1, 2, 0)])
    with pytest.raises(UsageError, match=r"pip install 'cityair\[notebooks\]'"):
        run("--day", "2026-03-02", "--png", str(tmp_path / "day.png"))
    assert "▒" in run("--day", "2026-03-02")


def test_a_picture_that_cannot_be_written(lake, run, tmp_path):
    pytest.importorskip("matplotlib")
    lake.epoch(light_states=[state(1, 2, 0)])
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        run("--day", "2026-03-02", "--png", str(tmp_path / "nowhere" / "day.png"))


# ------------------------------------------------------------------------------------------------ say


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["light-99", "x", "--until", "2099-01-01T00:00"], "no light named 'light-99'; there are light-01"),
        (["light-01", "x"], "until when"),
        (["light-01", "x", "--until", "2020-01-01T00:00"], "has passed"),
        (["light-01", "x", "--until", "soon"], "--until 'soon'"),
        (["light-01", "x" * 201, "--until", "2098-01-01T00:00"], "at most 200 characters"),
        (["light-01", "two\nlines", "--until", "2098-01-01T00:00"], "no light can show"),
    ],
)
def test_what_cannot_be_said_is_said_before_a_broker_is_asked(words, complaint, monkeypatch):
    monkeypatch.setenv("CITYAIR_KAFKA", "127.0.0.1:1")
    monkeypatch.delenv("CITYAIR_CITY", raising=False)
    result = CliRunner().invoke(application(), ["lights", "say", *words])
    assert isinstance(result.exception, UsageError)
    assert complaint in str(result.exception)


def test_times_of_people_are_the_citys():
    city = parse(CITY)
    assert lights.moment("2026-03-02T12:00", city, "--at") == lights.moment("2026-03-02T03:00Z", city, "--at") == NOON
    assert str(lights.moment("2026-03-02T03:00Z", city, "--at")) == "2026-03-02 12:00:00+09:00"
