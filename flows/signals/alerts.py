"""Rules of a city file's alerts, and the messages of their changes."""

from datetime import tzinfo
from typing import Literal

from flows.kernels.alerts import AlertParameter, Change, Rule
from schemas.alert import Alert
from schemas.city_rules import Alerts
from schemas.slots import HOUR_SLOTS, end_of

Kind = Literal["official", "early_sign"]
DECIMALS = {"pm10": 0, "pm25": 0, "o3": 3}
"""Digits in which AirKorea publishes hourly values, each in its unit."""


def rules(settings: Alerts) -> dict[AlertParameter, Rule]:
    """Rules of the three pollutants from the city file's ``[alerts]``.

    >>> rules(Alerts())["pm25"].issue
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


def alert(change: Change, zone: str, parameter: AlertParameter, kind: Kind, ids: list[str], timezone: tzinfo) -> Alert:
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
