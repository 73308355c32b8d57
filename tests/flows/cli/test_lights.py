"""``cityair lights``: what the lights of a lake show now, at a time and over a day; the topic is in ``tests/kafka``."""

import json
from datetime import UTC, datetime

import pytest

from flows.cli import lights
from flows.cli.render import lights_png, pictures
from schemas.errors import UsageError
from schemas.light import COLORS
from tests.support.commands import invoke, stdout_of
from tests.support.lights import GRADES, MINUTE, NOON, UNLIT_CITY, alert_row, state_row


@pytest.fixture
def run(lake, monkeypatch):
    """Runs the command on the lake and returns what it prints."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return lambda *words: stdout_of("lights", *words, "--lake", lake.root)


def at(minute):
    """A time as a person of the city types it."""
    return f"{datetime(2026, 3, 2, 12) + minute * MINUTE:%Y-%m-%dT%H:%M}"


def shown(run, minute, *words):
    [line] = run("--at", at(minute), "--json", *words).splitlines()
    return json.loads(line)


def test_a_light_shows_what_it_was_told_until_its_time_is_over(lake, run):
    lake.epoch(light_states=[state_row(1, 2, 0), state_row(2, 3, 10, text="산불")])
    assert shown(run, -1)["why"] == "nothing yet"
    first, second, last, over = (shown(run, minute) for minute in (0, 10, 24, 25))
    assert [first["color"], second["color"], last["color"], over["color"]] == ["green", "yellow", "yellow", "gray"]
    assert (second["face"], second["pm10"], second["text"], second["why"]) == ("worry", 40.0, "산불", "told")
    assert (over["face"], over["pm10"], over["pm25"], over["text"], over["why"]) == (None, None, None, None, "over")
    assert (over["seq"], over["reason"]) == (2, "why"), "of the newest state, in force or not"
    assert second["at"] == second["as_of"] == "2026-03-02T12:10:00+09:00"


def test_without_a_time_it_is_now_and_an_old_lake_is_gray(lake, run):
    lake.epoch(light_states=[state_row(1, 1, 0), state_row(3, 1, 10), state_row(2, 1, 5)])
    [line] = run("--json").splitlines()
    view = json.loads(line)
    assert (view["color"], view["why"], view["seq"]) == ("gray", "over", 3)
    assert abs(datetime.fromisoformat(view["at"]) - datetime.now(UTC)) < MINUTE


def test_a_light_that_fell_back_to_older_air_was_told_so_no_earlier_than_before(lake, run):
    lake.epoch(light_states=[state_row(1, 2, 30), state_row(2, 3, 0, life=120)])
    assert shown(run, 29)["why"] == "nothing yet", "the hourly air of noon was told after that of 12:30"
    assert shown(run, 30)["color"] == "yellow"


def test_the_table_says_why_a_light_is_gray(lake, run):
    sick = state_row(1, 0, 20, light="light-2", text="점검중", reason="a: 40% covered")
    lake.epoch(light_states=[state_row(1, 2, 0), sick])
    over, gray = run("--at", at(21)).splitlines()[2:4]
    assert "grays itself: told nothing for after 03-02 12:15" in over
    assert "21 min" in over
    assert "😊" not in over
    assert all(word in gray for word in ("light-2", "gray", "점검중", "a: 40% covered"))
    assert "nothing told yet" in run("--at", at(-60), "--light", "light-1")


def test_colors_and_faces_of_the_table(lake, run, monkeypatch):
    lake.epoch(light_states=[state_row(1, grade, 0, light=f"light-{grade}") for grade in (1, 2, 3, 4)])
    plain = run("--at", at(1))
    assert "\x1b" not in plain
    for grade, (color, face) in enumerate(zip(COLORS[1:], "😊🙂😟😡", strict=True), 1):
        [line] = [line for line in plain.splitlines() if line.startswith(f"light-{grade} ")]
        assert all(word in line for word in (face, color, GRADES[grade - 1], pictures.SWATCHES[grade - 1].shade * 2))
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in run("--at", at(1))
    monkeypatch.setenv("NO_COLOR", "1")
    assert pictures.CELL not in run("--at", at(1)), "shades where there are no colors"


def test_words_cannot_steer_the_terminal(lake, run):
    lake.epoch(light_states=[state_row(1, 2, 0, text="\x1b[2J[red]boo", reason="\x9b2J")])
    text = run("--at", at(1))
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "\\x1b[2J[red]boo" in text


def test_one_light_alone(lake, run):
    lake.epoch(light_states=[state_row(1, 2, 0), state_row(1, 3, 0, light="light-2")])
    assert shown(run, 1, "--light", "light-2")["color"] == "yellow"
    [line] = run("--day", "2026-03-02", "--light", "light-2", "--json").splitlines()
    assert json.loads(line)["light_id"] == "light-2"
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
    lake.epoch(light_states=[state_row(1, 2, 0)])
    with pytest.raises(UsageError, match=complaint):
        run(*words)


def test_no_lake_and_no_states(lake, run):
    with pytest.raises(UsageError, match="--lake DIR or --kafka"):
        invoke("lights")
    assert json.loads(run("--json"))["why"] == "nothing yet"
    with pytest.raises(UsageError, match="holds no states of lights"):
        run("--day", "2026-03-02")


def test_marks_and_names_of_alerts_stand_with_the_day(lake, run):
    lake.epoch(
        light_states=[state_row(1, 2, 0, life=60)],
        alerts=[
            alert_row(-1440, "pm10", "warning", value=310.0),
            alert_row(-600, "pm10", "none"),
            alert_row(60, "pm25", "advisory", value=80.4),
            alert_row(120, "pm25", "none"),
            alert_row(90, "o3", "advisory", value=0.121, kind="early_sign"),
        ],
    )
    lines = run("--day", "2026-03-02").splitlines()
    assert lines[2].count("▲") == 8 + 4
    assert lines[2].count("△") == 40
    assert "▲ 미세먼지 경보  00:00–02:00  310 µg/m³" in lines[-3]
    assert "▲ 초미세먼지 주의보  13:00–14:00  80 µg/m³" in lines[-2]
    assert "△ 오존 주의보 (early sign)  13:30–24:00  0.121 ppm" in lines[-1]


def test_rows_of_a_day_are_as_wide_as_their_quarters(lake, run):
    green = [state_row(i, 2, 160 * i, life=160) for i in range(5)]
    red = [state_row(i, 4, 30 + 160 * i, life=160, light="light-2") for i in range(5)]
    lake.epoch(light_states=[*green, *red])
    head, hours, *rows = run("--day", "2026-03-02").splitlines()
    assert all(name in head for name in GRADES)
    assert rows == [f"light-1   {'·' * 48}{'▒' * 48}", f"light-2   {'·' * 50}{'█' * 46}"]
    assert hours.split() == [str(hour) for hour in range(0, 24, 3)]
    assert [json.loads(line)["light_id"] for line in run("--day", "2026-03-02", "--json").splitlines()] == [
        "light-1",
        "light-2",
    ]


def test_a_picture_of_a_day(lake, run, tmp_path):
    pytest.importorskip("matplotlib")
    lake.epoch(light_states=[state_row(1, 2, 0)])
    assert run("--day", "2026-03-02", "--png", tmp_path / "day.png") == f"written to {tmp_path / 'day.png'}\n"
    assert (tmp_path / "day.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_cure_is_named(lake, run, tmp_path, monkeypatch):
    monkeypatch.setattr(lights_png, "find_spec", lambda _: None)
    lake.epoch(light_states=[state_row(1, 2, 0)])
    with pytest.raises(UsageError, match=r"pip install 'cityair\[notebooks\]'"):
        run("--day", "2026-03-02", "--png", str(tmp_path / "day.png"))
    assert "▒" in run("--day", "2026-03-02")


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
    with pytest.raises(UsageError) as refused:
        invoke("lights", "say", *words)
    assert complaint in str(refused.value)


def test_times_of_people_are_the_citys():
    local, utc = (lights.city_time(text, UNLIT_CITY, "--at") for text in ("2026-03-02T12:00", "2026-03-02T03:00Z"))
    assert local == utc == NOON
    assert str(utc) == "2026-03-02 12:00:00+09:00"
