"""Readings as they are decoded: one struct type for each kind of reading, as fast as msgspec can fill it."""

from typing import Any

import msgspec

from schemas.measured import Measured
from schemas.reading import Status

ABSENT = float("nan")
"""Default of a value: a field that is absent and one that is null can be told apart by it."""
NOTHING = msgspec.Raw()
"""Likewise where values are left as they stand."""


def wire_type(measured: Measured) -> Any:
    """Make the type of a reading whose values are numbers or null.

    >>> from schemas.measured import AIR
    >>> msgspec.json.decode(b'{"station_id":"a","observed_at":"","pm10":1}', type=wire_type(AIR)).pm10
    1.0
    """
    return _type(measured, float | None, ABSENT, Status | dict[str, Status] | None, None)


def text_type(measured: Measured) -> Any:
    """Make the same type with texts allowed in place of numbers: what most odd messages hold."""
    return _type(measured, float | str | None, ABSENT, Status | dict[str, Status] | None, None)


def loose_type(measured: Measured) -> Any:
    """Make the same type with values and status as they stand in the message, to read each by itself.

    >>> from schemas.measured import AIR
    >>> bytes(msgspec.json.decode(b'{"station_id":"a","observed_at":"","pm10":"-"}', type=loose_type(AIR)).pm10)
    b'"-"'
    """
    return _type(measured, msgspec.Raw, NOTHING, msgspec.Raw, NOTHING)


def _type(measured: Measured, value: Any, absent: Any, status: Any, no_status: Any) -> Any:
    return msgspec.defstruct(
        "Reading",
        [
            (measured.id_field, str),
            ("observed_at", str),
            *((name, value, absent) for name in measured.values),
            ("status", status, no_status),
        ],
        gc=False,
    )
