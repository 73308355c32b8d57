"""A day of the lights, drawn for a terminal."""

from collections.abc import Iterator
from datetime import datetime, time

from rich.cells import cell_len
from rich.text import Text

from flows.cli.render.pictures import light_cells, light_legend
from schemas.city_rules import Words
from schemas.slots import SLOT
from sinks.lights.history import DAY_QUARTERS, QUARTER_SLOTS, AlertSpan, LightsDay

OFFICIAL, EARLY = "▲", "△"


def day_lines(day: LightsDay, words: Words, grades: list[str], *, colour: bool, short: bool = False) -> Iterator[Text]:
    """Draw a day: a light a row, a quarter of an hour a cell; marks of alerts above, their names below.

    Args:
        day: what was shown.
        words: ``[light_rules.words]`` of the city file.
        grades: words for the grades, best first.
        colour: whether there are colours; else shades.
        short: label rows with numbers in the place of ids and names.
    """
    labels = [light.light_id.rpartition("-")[2] if short else f"{light.light_id}  {light.name}" for light in day.lights]
    wide = max(map(cell_len, labels), default=0)
    yield Text(" " * (wide + 1)).append_text(light_legend(grades, colour=colour))
    yield Text(" " * (wide + 1) + "".join(f"{hour:<12}" for hour in range(0, 24, 3)).rstrip(), "dim")
    if day.alerts:
        yield Text(" " * (wide + 1) + _alert_marks(day), "bold")
    for light, label in zip(day.lights, labels, strict=True):
        row = Text(label + " " * (wide - cell_len(label) + 1))
        yield row.append_text(light_cells(light.quarter_grades(), colour=colour))
    for alert in day.alerts:
        yield Text(f"{' ' * (wide + 1)}{alert_line(alert, words)}")


def _alert_marks(day: LightsDay) -> str:
    """Marks of the quarters in which an alert was in force for half of them or longer."""
    row = [" "] * DAY_QUARTERS
    for alert in day.alerts:  # official ones come first
        first, last = (round((at - day.begin) / SLOT / QUARTER_SLOTS) for at in (alert.begin, alert.end))
        for i in range(first, min(last, DAY_QUARTERS)):
            row[i] = OFFICIAL if alert.kind == "official" or row[i] == OFFICIAL else EARLY
    return "".join(row).rstrip()


def alert_line(alert: AlertSpan, words: Words) -> str:
    """Write what was in force, in the city's words, and when."""
    mark, kind = (OFFICIAL, "") if alert.kind == "official" else (EARLY, " (early sign)")
    value = f"{alert.value:.3f} ppm" if alert.parameter == "o3" else f"{alert.value:.0f} µg/m³"
    return f"{mark} {alert_name(alert, words)}{kind}  {alert.begin:%H:%M}–{end_time(alert.end, alert.begin)}  {value}"


def alert_name(alert: AlertSpan, words: Words) -> str:
    """Name a stage of an alert in the city's words."""
    return f"{getattr(words, alert.parameter)} {getattr(words, alert.stage)}"


def end_time(end: datetime, begin: datetime) -> str:
    """Write the end of a stretch of a day, which may be its 24:00."""
    return "24:00" if end.date() > begin.date() and end.time() == time() else f"{end:%H:%M}"
