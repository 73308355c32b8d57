"""Grades of the pictures are those of Korea's index."""

import pytest

from flows.cli.render.pictures import SWATCHES, swatches
from flows.resources import index


def test_there_is_a_swatch_for_each_grade():
    assert len(SWATCHES) == len(index("korea").grades)


@pytest.mark.parametrize("parameter", ["pm25", "pm10"])
def test_a_mean_is_graded_as_the_whole_number_that_is_published(parameter):
    bands = index("korea").table().parameters[parameter].bands
    for grade, (low, high) in enumerate(bands):
        assert swatches([low - 0.5, low, high, high + 0.49], parameter) == [SWATCHES[grade]] * 4
    assert swatches([-3.0, bands[-1][1] + 100, None], parameter) == [SWATCHES[0], SWATCHES[-1], None]
