"""What a benchmark found: a table of figures, and how they stand to what was promised."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field


@dataclass
class Target:
    """A figure that was promised; ``held`` says whether it was kept.

    Attributes:
        what: the figure.
        measured: what it is here.
        target, aim: what it must be, and what is aimed at.
        least: whether ``target`` is the least it may be, else the most.
        unit: behind the number.
    """

    what: str
    measured: float
    target: float
    aim: float | None = None
    least: bool = True
    unit: str = "x"

    @property
    def held(self) -> bool:
        """Whether the promise holds."""
        return self.measured >= self.target if self.least else self.measured <= self.target

    def __str__(self) -> str:
        held, bound = "held  " if self.held else "MISSED", "at least" if self.least else "at most"
        aim = "" if self.aim is None else f", aim {self.aim:g}{self.unit}"
        return f"{held} {self.what}: {self.measured:.3g}{self.unit} ({bound} {self.target:g}{self.unit}{aim})"


@dataclass
class Report:
    """One benchmark's result.

    Attributes:
        name, question: which one, and what it answers.
        columns, rows: the table.
        targets: what was promised.
        notes: what one must know to read the figures.
    """

    name: str
    question: str
    columns: Sequence[str]
    rows: list[Sequence[str | float | int | None]] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Lay it out for a person."""
        cells = [list(self.columns), *([_cell(value) for value in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = [f"\n{self.name}: {self.question}\n"]
        for number, row in enumerate(cells):
            first, *rest = zip(row, widths, strict=True)
            lines.append("  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]).rstrip())
            if number == 0:
                lines.append("  ".join("-" * width for width in widths))
        return "\n".join([*lines, "", *map(str, self.targets), *(f"* {note}" for note in self.notes)])

    def plain(self) -> dict[str, object]:
        """As plain data."""
        names = [name or "what" for name in self.columns]
        rows = [dict(zip(names, row, strict=True)) for row in self.rows]
        targets = [{**asdict(target), "held": target.held} for target in self.targets]
        return {"name": self.name, "question": self.question, "rows": rows, "targets": targets, "notes": self.notes}


def machine() -> dict[str, object]:
    """Where and under which load it was measured."""
    model = platform.processor() or platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as info:  # noqa: PTH123
        model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), model)
    load = [round(value, 2) for value in os.getloadavg()]
    return {"processor": model, "cores": os.cpu_count(), "python": platform.python_version(), "load": load}


def as_json(reports: Sequence[Report], around: dict[str, object]) -> str:
    """Everything as one JSON object."""
    return json.dumps(
        {"machine": around, "benchmarks": [report.plain() for report in reports]}, indent=2, ensure_ascii=False
    )


def _cell(value: str | float | None) -> str:
    match value:
        case None:
            return ""
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
        case _:
            return str(value)
