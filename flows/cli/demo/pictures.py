"""Small pictures for a terminal: strips of graded cells and sparklines, in colour or in shades."""

from collections.abc import Sequence

from rich.text import Text

GRADES = (
    ("good", "#3f8fd2", "░"),
    ("moderate", "#4fb06d", "▒"),
    ("unhealthy", "#efc13c", "▓"),
    ("very unhealthy", "#d8483a", "█"),
)
"""The four grades of Korea: name, colour, and shade where there are no colours."""
BOUNDS = {"pm25": (15.5, 35.5, 75.5), "pm10": (30.5, 80.5, 150.5)}
"""Where the next grade begins, µg/m³: grades are of whole numbers (15 is good, 16 moderate), as AirKorea shows them."""
GRAY = "#9a9a9a"
"""A light without a color."""
CELL, GAP = "▇", "·"
BARS = "▁▂▃▄▅▆▇█"


def grade(value: float, parameter: str) -> int:
    """Index into ``GRADES`` of a mean of ``pm25`` or ``pm10``, µg/m³.

    >>> [GRADES[grade(pm25, "pm25")][0] for pm25 in (15.4, 15.6, 80)]
    ['good', 'moderate', 'very unhealthy']
    """
    return sum(value >= bound for bound in BOUNDS[parameter])


def strip(values: Sequence[float | None], parameter: str, *, colour: bool) -> Text:
    """Draw a cell a value in the colour of its grade, or in its shade; a dot where there is none.

    >>> strip([3, None, 99], "pm25", colour=False).plain
    '░·█'
    """
    cells = Text()
    for value in values:
        if value is None:
            cells.append(GAP, "dim")
        else:
            _, hue, shade = GRADES[grade(value, parameter)]
            cells.append(*((CELL, hue) if colour else (shade, "")))
    return cells


def sparkline(values: Sequence[float | None], parameter: str, top: float) -> Text:
    """Draw a bar a value, ``top`` the highest, in the colour of its grade; a dot where there is none.

    >>> sparkline([0, 5, None, 10], "pm10", 10).plain
    '▁▄·█'
    """
    bars = Text()
    for value in values:
        if value is None:
            bars.append(GAP, "dim")
        else:
            height = min(len(BARS) - 1, max(0, int(value / top * len(BARS) - 1e-9)))
            bars.append(BARS[height], GRADES[grade(value, parameter)][1])
    return bars


def legend(*, colour: bool) -> Text:
    """Name the grades beside their cells."""
    words = Text()
    for name, hue, shade in GRADES:
        words.append(*((CELL, hue) if colour else (shade, ""))).append(f" {name}  ")
    return words.append(GAP, "dim").append(" no valid mean")


def cells(grades: Sequence[int | None], *, colour: bool) -> Text:
    """Draw a cell a grade from 1 to 4 as lights show it: 0 is gray, none stays empty.

    >>> cells([1, 0, None, 4], colour=False).plain
    '░· █'
    """
    row = Text()
    for grade in grades:
        if grade is None:
            row.append(" ")
        elif grade == 0:
            row.append(*((CELL, GRAY) if colour else (GAP, "dim")))
        else:
            _, hue, shade = GRADES[grade - 1]
            row.append(*((CELL, hue) if colour else (shade, "")))
    return row


def light_legend(names: Sequence[str], *, colour: bool) -> Text:
    """Name the four grades of lights, and gray, beside their cells."""
    words = Text()
    for grade, name in enumerate(names, 1):
        words.append_text(cells([grade], colour=colour)).append(f" {name}  ")
    return words.append_text(cells([0], colour=colour)).append(" gray, no air to trust")


def ticks(hours: int) -> str:
    """Number every sixth hour of a strip.

    >>> ticks(24)
    '0     6     12    18    '
    """
    return "".join(f"{hour:<6}" for hour in range(0, hours, 6))[:hours]
