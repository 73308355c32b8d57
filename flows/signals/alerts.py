"""Alerts of a zone: stages by its hours, official from reference stations, early signs from low-cost monitors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any, Literal, NamedTuple

import numpy as np

from flows.analyses.hours import hours_between, valid_hours
from flows.arrays import B1, F64, I32, I64
from flows.kernels import alerts as kernel
from flows.kernels.alerts import AlertParameter, AlertState, Change, Rule
from flows.state.cadence import Cadence
from flows.state.grid import Grid
from schemas.alert import Alert, Stage
from schemas.city_rules import AlertSettings
from schemas.measured import AIR
from schemas.slots import HOUR_SLOTS, NEVER, end_of

Kind = Literal["official", "early_sign"]
KINDS: dict[str, Kind] = {"reference": "official", "low_cost": "early_sign"}
"""By the kind of station."""
DECIMALS = {"pm10": 0, "pm25": 0, "o3": 3}
"""Digits in which AirKorea publishes hourly values, each in its unit."""
FaultsAt = Callable[[int], B1]
"""Faults that a decision for a slot sees, shape (S, P)."""


class Hours(NamedTuple):
    """Hours that have fired for all stations of a tracker and are not decided yet, as they were seen.

    Attributes:
        ended: slots, rising, shape (H,).
        values: valid means, shape (H, stations of the tracker); NaN where there is none.
        figures: what is compared where no fault is known, shape (H,); made at once, because hours are judged singly.
    """

    ended: I64
    values: F64
    figures: F64


@dataclass(slots=True)
class AlertTracker:
    """The alert of one pollutant and kind.

    Attributes:
        rule: of the pollutant.
        kind: official or early sign.
        columns: of its stations, in the grid.
        cadences: by index of a cadence, which of the columns are its own.
        state: after the newest hour decided.
        seen_until: newest hour that was looked at.
        seen: hours looked at and not decided.
    """

    rule: Rule
    kind: Kind
    columns: I32
    cadences: dict[int, B1]
    state: AlertState
    seen_until: int = NEVER
    seen: list[Hours] = field(default_factory=list)

    @property
    def parameter(self) -> int:
        """Column of the pollutant among the gridded values."""
        return AIR.gridded.index(self.rule.parameter)

    def last_hour(self, fired: I64) -> int:
        """Newest hour that has fired for all its stations, given the newest fired slot of each cadence."""
        return min(int(fired[i]) for i in self.cadences) // HOUR_SLOTS * HOUR_SLOTS


class Alerts:
    """All alerts of one zone. An hour is judged once, by what was seen when it fired.

    Args:
        settings: ``[alerts]`` of the city file.
        zone: id of the zone.
        station_kinds: kind of each station, by column.
        grid: of the zone.
        cadences: of the zone.
        timezone: in which times are written.
    """

    def __init__(
        self,
        settings: AlertSettings,
        zone: str,
        station_kinds: Sequence[str],
        grid: Grid,
        cadences: Sequence[Cadence],
        timezone: tzinfo,
    ) -> None:
        self._zone, self._grid, self._cadences, self._timezone = zone, grid, cadences, timezone
        of_kinds = {kind: [i for i, each in enumerate(station_kinds) if each == kind] for kind in KINDS}
        self._trackers = [
            AlertTracker(rule, KINDS[kind], np.array(columns, np.int32), self._own(columns), kernel.start(rule))
            for kind, columns in of_kinds.items()
            if columns
            for rule in rules(settings).values()
        ]

    def _own(self, columns: list[int]) -> dict[int, B1]:
        own = {i: np.isin(columns, cadence.columns) for i, cadence in enumerate(self._cadences)}
        return {i: mask for i, mask in own.items() if mask.any()}

    @property
    def stages(self) -> dict[AlertParameter, Stage]:
        """Stage of each official alert in force."""
        return {
            tracker.rule.parameter: kernel.STAGES[tracker.state["stage"]]
            for tracker in self._trackers
            if tracker.kind == "official"
        }

    def look(self, fired: I64, begin: int) -> None:
        """Look at the hours that have fired, before the grid changes.

        Args:
            fired: newest slot of each cadence that has fired, shape (G,).
            begin: slot after which the first hour lies.
        """
        known: dict[tuple[int, int, int], F64] = {}
        for tracker in self._trackers:
            last = min(tracker.last_hour(fired), self._grid.reach)
            since = max(tracker.state["ended"], tracker.seen_until, begin, self._grid.oldest + HOUR_SLOTS - 2)
            hours = hours_between(since, last)
            if not hours.size:
                continue
            values = np.full((hours.size, tracker.columns.size), np.nan)
            for i, own in tracker.cadences.items():
                wanted = (i, int(hours[0]), int(hours[-1]))
                if wanted not in known:
                    known[wanted] = self._valid(i, hours)
                values[:, own] = known[wanted][:, tracker.columns[own], tracker.parameter]
            tracker.seen.append(Hours(hours, values, kernel.figures(tracker.rule, values)))
            tracker.seen_until = int(hours[-1])

    def _valid(self, i: int, hours: I64) -> F64:
        """Valid means of hours of a cadence's stations, by their columns in the zone, shape (H, S, P)."""
        cadence = self._cadences[i]
        valid = np.full((hours.size, len(self._grid.instruments), self._grid.width), np.nan)
        valid[:, cadence.columns] = valid_hours(self._grid, cadence.columns, cadence.slots, hours)
        return valid

    def decide(self, fired: I64, reach: int, faults_at: FaultsAt | None) -> list[Alert]:
        """Judge the hours that have fired for all the stations that drive an alert; return what changes.

        Args:
            fired: newest slot of each cadence that has fired, shape (G,).
            reach: newest slot that the grid held when it was looked at; beyond lies nothing, which ends no alert.
            faults_at: faults that a decision sees; none where there are none.
        """
        changes: list[Alert] = []
        for tracker in self._trackers:
            last = tracker.last_hour(fired)
            while tracker.seen and tracker.seen[0].ended[0] <= last:
                changes += self._judge(tracker, last, faults_at)
            if last > reach:
                tracker.state = kernel.step(tracker.rule, tracker.state, last, np.nan)
        return sorted(changes, key=lambda alert: alert.ended_at)

    def _judge(self, tracker: AlertTracker, last: int, faults_at: FaultsAt | None) -> list[Alert]:
        """Judge the oldest hours that were looked at, up to ``last``."""
        hours = tracker.seen.pop(0)
        n = int(np.searchsorted(hours.ended, last, "right"))
        if n < hours.ended.size:
            tracker.seen.insert(0, Hours(hours.ended[n:], hours.values[n:], hours.figures[n:]))
        values, figures = hours.values[:n], hours.figures[:n]
        if faults_at is not None:
            faulty = [faults_at(slot)[tracker.columns, tracker.parameter] for slot in hours.ended[:n].tolist()]
            values = np.where(np.array(faulty).reshape(values.shape), np.nan, values)
            figures = kernel.figures(tracker.rule, values)
        alerts = []
        for state, change in kernel.evaluate(tracker.rule, tracker.state, hours.ended[:n], values, figures):
            tracker.state = state
            if change:
                in_grid = change._replace(stations=tracker.columns[change.stations].tolist())
                alerts.append(self._alert(tracker, in_grid))
        return alerts

    def _alert(self, tracker: AlertTracker, change: Change) -> Alert:
        ids, parameter = self._grid.instruments, tracker.rule.parameter
        return alert(change, self._zone, parameter, tracker.kind, ids, self._timezone)

    def snapshot(self) -> dict[tuple[Kind, str], dict[str, Any]]:
        """Plain data, by kind and pollutant."""
        return {(tracker.kind, tracker.rule.parameter): dict(tracker.state) for tracker in self._trackers}

    def restore(self, kept: Mapping[tuple[Kind, str], Any]) -> None:
        """Go on from a snapshot; an alert whose rule has other stages now begins anew."""
        for tracker in self._trackers:
            state = kept.get((tracker.kind, tracker.rule.parameter))
            if state and len(state["runs"]) == len(tracker.rule.issue):
                tracker.state = state


def rules(settings: AlertSettings) -> dict[AlertParameter, Rule]:
    """Rules of the three pollutants from the city file's ``[alerts]``.

    >>> rules(AlertSettings())["pm25"].issue
    (75.0, 150.0)
    """
    levels = {"pm10": settings.pm10, "pm25": settings.pm25, "o3": settings.o3}
    names: tuple[AlertParameter, ...] = ("pm10", "pm25", "o3")
    return {
        name: Rule(
            name,
            levels[name].issue,
            levels[name].clear,
            levels[name].hours,
            name == "o3",
            DECIMALS[name] if settings.as_published else None,
        )
        for name in names
    }


def alert(
    change: Change, zone: str, parameter: AlertParameter, kind: Kind, ids: Sequence[str], timezone: tzinfo
) -> Alert:
    """Make the message of a change.

    ``alert_id`` names the alert by the hour it began (in UTC) and the message by the hours since: unique for each
    message, and the same whenever the same hours are judged again.

    Args:
        change: of ``evaluate``.
        zone: the zone's id.
        parameter: the rule's.
        kind: ``official`` for reference stations, ``early_sign`` for low-cost ones.
        ids: station ids by column.
        timezone: in which times are written.
    """
    began = end_of(change.started)
    return Alert(
        alert_id=f"{zone}-{parameter}-{kind}-{began:%Y-%m-%dT%H:%MZ}+{(change.ended - change.started) // HOUR_SLOTS}",
        zone=zone,
        parameter=parameter,
        kind=kind,
        stage=change.stage,
        ended_at=end_of(change.ended).astimezone(timezone),
        value=change.value,
        stations=[ids[column] for column in change.stations],
    )
