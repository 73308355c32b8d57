"""Small pictures for a terminal: strips of graded cells and sparklines, in colour or in shades."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from rich.text import Text

from flows.kernels import bands
from flows.resources import index

INDEX = "korea"


class Swatch(NamedTuple):
    """How a grade is drawn."""

    name: str
    colour: str
    """As ``#rrggbb``."""
    shade: str
    """Where there are no colours."""


SWATCHES = (
    Swatch("good", "#3f8fd2", "░"),
    Swatch("moderate", "#4fb06d", "▒"),
    Swatch("unhealthy", "#efc13c", "▓"),
    Swatch("very unhealthy", "#d8483a", "█"),
)
"""The four grades of Korea's index, best first."""
GRAY_COLOUR = "#9a9a9a"
"""Colour of a light that shows none."""
CELL, NO_VALUE = "▇", "·"
BARS = "▁▂▃▄▅▆▇█"


@cache
def _scale(parameter: str) -> bands.Bands:
    return bands.bands_of(index(INDEX).table())[parameter]


def swatches(values: Iterable[float | None], parameter: str) -> list[Swatch | None]:
    """Grade means of ``pm25`` or ``pm10``, µg/m³, on the scale of Korea's index; None where there is no mean.

    >>> [swatch and swatch.name for swatch in swatches([15.4, 15.6, None, 80], "pm25")]
    ['good', 'moderate', None, 'very unhealthy']
    """
    grades = bands.grade(np.array([np.nan if value is None else value for value in values]), _scale(parameter))
    return [None if grade == bands.NO_GRADE else SWATCHES[grade - 1] for grade in grades.tolist()]


def strip(values: Sequence[float | None], parameter: str, *, colour: bool) -> Text:
    """Draw a cell a value in the colour of its grade, or in its shade; a dot where there is none.

    >>> strip([3, None, 99], "pm25", colour=False).plain
    '░·█'
    """
    cells = Text()
    for swatch in swatches(values, parameter):
        if swatch is None:
            cells.append(NO_VALUE, "dim")
        else:
            cells.append(*_cell(swatch, colour=colour))
    return cells


def sparkline(values: Sequence[float | None], parameter: str, top: float) -> Text:
    """Draw a bar a value, ``top`` the highest, in the colour of its grade; a dot where there is none.

    >>> sparkline([0, 5, None, 10], "pm10", 10).plain
    '▁▄·█'
    """
    bars = Text()
    for value, swatch in zip(values, swatches(values, parameter), strict=True):
        if value is None or swatch is None:
            bars.append(NO_VALUE, "dim")
        else:
            height = min(len(BARS) - 1, max(0, int(value / top * len(BARS) - 1e-9)))
            bars.append(BARS[height], swatch.colour)
    return bars


def legend(*, colour: bool) -> Text:
    """Name the grades beside their cells."""
    words = Text()
    for swatch in SWATCHES:
        words.append(*_cell(swatch, colour=colour)).append(f" {swatch.name}  ")
    return words.append(NO_VALUE, "dim").append(" no valid mean")


def light_cells(grades: Sequence[int | None], *, colour: bool) -> Text:
    """Draw a cell a grade from 1 to 4 as lights show it: 0 is gray, None stays empty.

    >>> light_cells([1, 0, None, 4], colour=False).plain
    '░· █'
    """
    row = Text()
    for grade in grades:
        if grade is None:
            row.append(" ")
        elif grade == 0:
            row.append(*((CELL, GRAY_COLOUR) if colour else (NO_VALUE, "dim")))
        else:
            row.append(*_cell(SWATCHES[grade - 1], colour=colour))
    return row


def light_legend(names: Sequence[str], *, colour: bool) -> Text:
    """Name the four grades of lights, and gray, beside their cells."""
    words = Text()
    for grade, name in enumerate(names, 1):
        words.append_text(light_cells([grade], colour=colour)).append(f" {name}  ")
    return words.append_text(light_cells([0], colour=colour)).append(" gray, no air to trust")


def hour_ticks(hours: int) -> str:
    """Number every sixth hour of a strip.

    >>> hour_ticks(24)
    '0     6     12    18    '
    """
    return "".join(f"{hour:<6}" for hour in range(0, hours, 6))[:hours]


def _cell(swatch: Swatch, *, colour: bool) -> tuple[str, str]:
    """Character and style."""
    return (CELL, swatch.colour) if colour else (swatch.shade, "")
