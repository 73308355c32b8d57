"""A day of the lights as a PNG: a row of color a light, alerts above, gray where a light had no air."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flows.cli.render.lights_day import alert_name
from flows.cli.render.pictures import GRAY_COLOUR, SWATCHES
from schemas.city_rules import Words
from schemas.errors import UsageError
from schemas.light import COLORS
from sinks.lights.history import AlertSpan, LightsDay

EXTRA = "pip install 'cityair[notebooks]'"
LIGHT_COLOURS = (GRAY_COLOUR, *(swatch.colour for swatch in SWATCHES))
ALERT_COLOURS = {"advisory": "#b07aa1", "warning": "#7b4173", "serious": "#3f0f3f"}
"""Colours of the stages of alerts: none that a light may show."""
DEFAULT_FONT = "DejaVu Sans"
PLACEHOLDER = "Last Resort"
"""A font that has every letter, and draws an empty box for each."""
BAR_HEIGHT = 0.8
"""Share of its row that a bar fills."""


def available() -> bool:
    """Whether pictures can be drawn here."""
    return find_spec("matplotlib") is not None


def draw(day: LightsDay, words: Words, grades: list[str], path: Path) -> None:
    """Draw a day into a PNG file. Where no font has the city's letters, ids and English stand for its names.

    Args:
        day: what was shown.
        words: ``[light_rules.words]`` of the city file.
        grades: words for the grades in the city's language, best first.
        path: of the file; an existing one is overwritten.

    Raises:
        UsageError: matplotlib is not installed, or the file cannot be written.
    """
    if not available():
        raise UsageError(f"a PNG needs matplotlib, which is not installed; {EXTRA}, or leave --png out for a terminal")
    from matplotlib import rc_context  # noqa: PLC0415, it takes a second to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    title, names = day.city, [light.name for light in day.lights]
    alerts = [alert_name(alert, words) for alert in day.alerts]
    font = _font("".join([title, *names, *alerts, *grades]))
    if font is None:
        title, names = day.city_id, [""] * len(names)
        alerts = [f"{alert.parameter} {alert.stage}" for alert in day.alerts]
        grades = [swatch.name for swatch in SWATCHES]
    rows = _alert_rows(day.alerts, alerts)
    height = len(rows) + len(day.lights)
    with rc_context({"font.family": [font or DEFAULT_FONT], "hatch.linewidth": 0.6}):
        figure = Figure(figsize=(12, 1.6 + 0.34 * height), dpi=110, layout="constrained")
        axes = figure.subplots()
        _draw_bars(axes, day, rows)
        labels = [
            f"{name}  {light.light_id}" if name else light.light_id
            for light, name in zip(day.lights, names, strict=True)
        ]
        axes.set_yticks(range(height), [*("alert" for _ in rows), *labels])
        axes.set_xticks(range(0, 25, 3), [f"{hour:02d}:00" for hour in range(0, 25, 3)])
        axes.set(xlim=(0, 24), ylim=(height - 0.4, -0.6))
        axes.set_title(f"{title}, {day.begin:%Y-%m-%d}", loc="left")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        _draw_key(figure, grades)
        try:
            figure.savefig(path, format="png")
        except OSError as err:
            raise UsageError(f"--png {path} cannot be written: {err.strerror or err}") from err


def _alert_rows(alerts: Iterable[AlertSpan], names: Iterable[str]) -> list[tuple[str, list[AlertSpan]]]:
    """Alerts by their row: those of one name and kind share one."""
    rows: dict[str, list[AlertSpan]] = {}
    for alert, name in zip(alerts, names, strict=True):
        label = name if alert.kind == "official" else f"{name}, early sign"
        rows.setdefault(label, []).append(alert)
    return list(rows.items())


def _draw_bars(axes: Any, day: LightsDay, rows: list[tuple[str, list[AlertSpan]]]) -> None:
    for y, (label, alerts) in enumerate(rows):
        for alert in alerts:
            hatch = "" if alert.kind == "official" else "...."
            _bar(axes, y, day, (alert.begin, alert.end), colour=ALERT_COLOURS[alert.stage], hatch=hatch)
        axes.text(24.15, y, label, va="center", fontsize=8)
    for y, light in enumerate(day.lights, len(rows)):
        for run in light.runs:
            hatch = "" if run.why == "told" else "////"
            _bar(axes, y, day, (run.begin, run.end), colour=LIGHT_COLOURS[COLORS.index(run.color)], hatch=hatch)


def _bar(axes: Any, y: int, day: LightsDay, span: tuple[datetime, datetime], *, colour: str, hatch: str) -> None:
    begin, end = ((at - day.begin) / timedelta(hours=1) for at in span)
    place = (y - BAR_HEIGHT / 2, BAR_HEIGHT)
    axes.broken_barh([(begin, end - begin)], place, facecolor=colour, hatch=hatch, edgecolor="white", linewidth=0)


def _draw_key(figure: Any, grades: list[str]) -> None:
    from matplotlib.patches import Patch  # noqa: PLC0415

    key = [Patch(color=colour, label=name) for colour, name in zip(LIGHT_COLOURS[1:], grades, strict=True)]
    key.append(Patch(color=GRAY_COLOUR, label="gray: no air to trust"))
    key.append(Patch(facecolor=GRAY_COLOUR, edgecolor="white", hatch="////", label="gray by itself: nothing told"))
    figure.legend(handles=key, loc="outside lower center", ncols=len(key), frameon=False, fontsize=9)


def _font(letters: str) -> str | None:
    """Name a font of this machine that has every letter; None if there is none."""
    from matplotlib.font_manager import fontManager, get_font  # noqa: PLC0415

    needed = {ord(letter) for letter in letters if not letter.isspace()}
    if max(needed, default=0) < 0x250:
        return DEFAULT_FONT
    for entry in sorted(fontManager.ttflist, key=lambda entry: (entry.weight != 400, entry.style != "normal")):
        if not entry.name.startswith(PLACEHOLDER) and needed <= {*get_font(entry.fname).get_charmap()}:
            return entry.name
    return None
