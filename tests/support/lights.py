"""States and alerts of the lights of a small city."""

from datetime import UTC, date, datetime, timedelta

from schemas.city import parse
from schemas.light import COLORS, LightState

NOON = datetime(2026, 3, 2, 3, tzinfo=UTC)  # in Seoul
DAY = date(2026, 3, 2)
MINUTE = timedelta(minutes=1)
GRADES = ["좋음", "보통", "나쁨", "매우나쁨"]
UNLIT_CITY = parse(b"""
    city = { id = "c", name = "C", timezone = "Asia/Seoul" }
    stations = [{ id = "a", lat = 35.0, lon = 128.0 }]
""")


def state_row(seq, grade, minute, *, light="light-1", life=15, text=None, reason="why"):
    """A row of ``light_states`` of air that ends ``minute`` minutes after noon."""
    known = {"parameter": "pm25", "pm10": 40.0, "pm25": 20.0, "coverage": 1.0} if grade else {}
    return {
        **dict.fromkeys(("parameter", "pm10", "pm25", "coverage")),
        **known,
        "light_id": light,
        "seq": seq,
        "color": COLORS[grade],
        "grade": grade or None,
        "as_of": NOON + minute * MINUTE,
        "valid_until": NOON + (minute + life) * MINUTE,
        "stations": ["a"] if grade else [],
        "reason": reason,
        "text": text,
    }


def state(*args, **more):
    """The same as a message."""
    return LightState(**state_row(*args, **more))


def alert_row(minute, parameter, stage, *, value=1.0, kind="official"):
    """A row of ``alerts``."""
    return {
        "alert_id": f"{parameter}-{minute}",
        "parameter": parameter,
        "kind": kind,
        "stage": stage,
        "ended_at": NOON + minute * MINUTE,
        "value": value,
        "stations": ["b"],
    }
