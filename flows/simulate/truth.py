"""The truth about a simulated run, written beside it as JSON: exact counts, and every event."""

from datetime import datetime

import msgspec

from schemas.rejected import REASONS


class TrueTotals(msgspec.Struct):
    """Exact counts of a run: ``lines`` is ``readings`` and everything in ``refused``."""

    lines: int = 0
    readings: int = 0
    """Readings that count: each is one row of ``air_readings`` once all are taken in."""
    late: int = 0
    """Readings that count, and that an outage delayed."""
    lost: int = 0
    """Readings that instruments were due to send and did not."""
    duplicates: int = 0
    future: int = 0
    garbage: int = 0
    refused: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    """Lines that a pipeline must refuse, by reason."""


class TrueEvent(msgspec.Struct, frozen=True):
    """One occurrence of a scenario, within the run."""

    scenario: str
    station_ids: list[str]
    parameter: str | None
    started_at: datetime
    ended_at: datetime | None
    """Null where it never ends; never after the run's end."""
    detail: dict[str, object]


class Truth(msgspec.Struct):
    """Everything known about a run."""

    city: str
    seed: int
    scenarios: tuple[str, ...]
    started_at: datetime
    ended_at: datetime
    totals: TrueTotals = msgspec.field(default_factory=TrueTotals)
    events: list[TrueEvent] = []

    def json(self) -> bytes:
        """Indented JSON, without a line end."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2)
