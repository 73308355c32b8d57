"""Readings as they are decoded: one struct type for each kind of reading, as fast as msgspec can fill it."""

from typing import Any

import msgspec

from schemas.measured import Measured
from schemas.reading import Status

ABSENT = float("nan")
"""Default of a value: a field that is absent and one that is null can be told apart by it."""


def wire_type(measured: Measured) -> Any:
    """Make the type of a reading whose values are numbers or null.

    >>> from schemas.measured import AIR
    >>> msgspec.json.decode(b'{"station_id":"a","observed_at":"","pm10":1}', type=wire_type(AIR)).pm10
    1.0
    """
    return _type(measured, float | None)


def lenient_type(measured: Measured) -> Any:
    """Make the same type with texts in place of numbers allowed, to find sentinels such as "-"."""
    return _type(measured, float | str | None)


def _type(measured: Measured, value: Any) -> Any:
    return msgspec.defstruct(
        "Reading",
        [
            (measured.id_field, str),
            ("observed_at", str),
            *((name, value, ABSENT) for name in measured.values),
            ("status", Status | dict[str, Status] | None, None),
        ],
        gc=False,
    )
