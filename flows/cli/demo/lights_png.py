"""A day of the lights as a PNG: a row of color a light, alerts above, gray where a light had no air."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flows.cli.demo.pictures import GRADES, GRAY
from schemas.errors import UsageError
from schemas.light import COLORS
from sinks.lights.history import AlertSpan, LightsDay

EXTRA = "pip install 'cityair[notebooks]'"
HUES = (GRAY, *(hue for _, hue, _ in GRADES))
STAGES = {"advisory": "#b07aa1", "warning": "#7b4173", "serious": "#3f0f3f"}
"""Colors of alerts: none that a light may show."""
PLACEHOLDER = "Last Resort"
"""A font that has every letter, and draws an empty box for each."""
ROW = 0.8
"""How much of its place a row fills."""


def available() -> bool:
    """Whether pictures can be drawn here."""
    return find_spec("matplotlib") is not None


def draw(day: LightsDay, words: Any, grades: list[str], path: Path) -> None:
    """Draw a day into a PNG file. Where no font has the city's letters, ids and English stand for its names.

    Args:
        day: what was shown.
        words: ``[light_rules.words]`` of the city file.
        grades: their words in the city's language, best first.
        path: of the file; one that is there is overwritten.

    Raises:
        UsageError: matplotlib is not installed, or the file cannot be written.
    """
    if not available():
        raise UsageError(f"a PNG needs matplotlib, which is not installed; {EXTRA}, or leave --png out for a terminal")
    from matplotlib import rc_context  # noqa: PLC0415, it takes a second to import
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    names = [light.name for light in day.lights]
    told = [f"{getattr(words, alert.parameter)} {getattr(words, alert.stage)}" for alert in day.alerts]
    font = _font("".join([day.city, *names, *told, *grades]))
    if font is None:
        names, grades = [""] * len(names), [name for name, _, _ in GRADES]
        told = [f"{alert.parameter} {alert.stage}" for alert in day.alerts]
    rows = _alert_rows(day.alerts, told)
    height = len(rows) + len(day.lights)
    with rc_context({"font.family": [font] if font else ["DejaVu Sans"], "hatch.linewidth": 0.6}):
        figure = Figure(figsize=(12, 1.6 + 0.34 * height), dpi=110, layout="constrained")
        axes = figure.subplots()
        for y, (label, alerts) in enumerate(rows):
            for alert in alerts:
                hatch = "" if alert.kind == "official" else "...."
                _bar(axes, y, day, (alert.begin, alert.end), color=STAGES[alert.stage], hatch=hatch)
            axes.text(24.15, y, label, va="center", fontsize=8)
        for y, light in enumerate(day.lights, len(rows)):
            for run in light.runs:
                hatch = "" if run.why == "told" else "////"
                _bar(axes, y, day, (run.begin, run.end), color=HUES[COLORS.index(run.color)], hatch=hatch)
        ids = [light.light_id for light in day.lights]
        labels = [f"{name}  {light}" if name else light for light, name in zip(ids, names, strict=True)]
        axes.set_yticks(range(height), [*("alert" for _ in rows), *labels])
        axes.set_xticks(range(0, 25, 3), [f"{hour:02d}:00" for hour in range(0, 25, 3)])
        axes.set(xlim=(0, 24), ylim=(height - 0.4, -0.6))
        axes.set_title(f"{day.city if font else day.city_id}, {day.begin:%Y-%m-%d}", loc="left")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        key = [Patch(color=hue, label=name) for hue, name in zip(HUES[1:], grades, strict=True)]
        key.append(Patch(color=GRAY, label="gray: no air to trust"))
        key.append(Patch(facecolor=GRAY, edgecolor="white", hatch="////", label="gray by itself: nothing told"))
        figure.legend(handles=key, loc="outside lower center", ncols=len(key), frameon=False, fontsize=9)
        try:
            figure.savefig(path, format="png")
        except OSError as err:
            raise UsageError(f"--png {path} cannot be written: {err.strerror or err}") from err


def _alert_rows(alerts: Iterable[AlertSpan], told: Iterable[str]) -> list[tuple[str, list[AlertSpan]]]:
    """Put the alerts of one name and kind into one row."""
    rows: dict[str, list[AlertSpan]] = {}
    for alert, name in zip(alerts, told, strict=True):
        label = name if alert.kind == "official" else f"{name}, early sign"
        rows.setdefault(label, []).append(alert)
    return list(rows.items())


def _bar(axes: Any, y: int, day: LightsDay, span: tuple[datetime, datetime], *, color: str, hatch: str) -> None:
    begin, end = ((at - day.begin) / timedelta(hours=1) for at in span)
    axes.broken_barh(
        [(begin, end - begin)], (y - ROW / 2, ROW), facecolor=color, hatch=hatch, edgecolor="white", linewidth=0
    )


def _font(letters: str) -> str | None:
    """Name a font of this machine that has every letter; none if there is none."""
    from matplotlib.font_manager import fontManager, get_font  # noqa: PLC0415

    wanted = {ord(letter) for letter in letters if not letter.isspace()}
    if max(wanted, default=0) < 0x250:
        return "DejaVu Sans"
    for entry in sorted(fontManager.ttflist, key=lambda entry: (entry.weight != 400, entry.style != "normal")):
        if not entry.name.startswith(PLACEHOLDER) and wanted <= {*get_font(entry.fname).get_charmap()}:
            return entry.name
    return None
