"""A day of the lights as a picture."""

import pytest

from flows.cli.render import lights_png, pictures
from schemas.city_rules import Words
from schemas.errors import UsageError
from sinks.catalog import catalog
from sinks.lights.history import lights_of_day
from tests.support.lakes import LakeWriter
from tests.support.lights import DAY, GRADES, alert_row, state_row


@pytest.fixture
def day(tmp_path):
    """Green from midnight, gray from noon, red from 18:00; an advisory from 13:00."""
    lake = LakeWriter(tmp_path / "lake")
    shown = [*((2, minute) for minute in range(-720, 0, 90)), (0, 0), *((4, minute) for minute in range(360, 720, 90))]
    lake.epoch(
        light_states=[state_row(seq, grade, minute, life=100) for seq, (grade, minute) in enumerate(shown)],
        alerts=[alert_row(60, "pm25", "advisory")],
    )
    with catalog.connect(lake.root) as con:
        return lights_of_day(con, DAY)


def rgb(colour):
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def test_the_picture_has_the_colors_of_the_day(day, tmp_path):
    image = pytest.importorskip("matplotlib.image")
    lights_png.draw(day, Words(), GRADES, tmp_path / "day.png")
    pixels = (image.imread(tmp_path / "day.png")[..., :3] * 255).round().astype(int)
    height, width, _ = pixels.shape
    found = [tuple(pixels[int(height * 0.6), int(width * share)]) for share in (0.3, 0.57, 0.77)]
    assert found == [rgb(lights_png.LIGHT_COLOURS[grade]) for grade in (2, 0, 4)]
    assert (pixels == rgb(lights_png.ALERT_COLOURS["advisory"])).all(axis=2).sum() > 500
    assert lights_png.LIGHT_COLOURS[1:] == tuple(swatch.colour for swatch in pictures.SWATCHES)


def test_a_font_with_every_letter_or_none():
    pytest.importorskip("matplotlib")
    assert lights_png._font("Busan 1") == "DejaVu Sans"
    assert lights_png._font("\U000f0000") is None, "no font has a letter of private use"
    found = lights_png._font("김해시")
    assert found is None or not found.startswith("Last Resort")


def test_a_picture_that_cannot_be_written(day, tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        lights_png.draw(day, Words(), GRADES, tmp_path / "nowhere" / "day.png")
