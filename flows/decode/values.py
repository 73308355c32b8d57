"""Values that are no plain numbers: what is read of each, and the note that says how it was taken.

A text that is a JSON number is that number. Whatever else is no number costs itself alone: it was not measured, and
so was a value whose own status cannot be read. The status of the whole instrument is no value: it must be understood
before any of its values counts.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import Struct

from flows.arrays import Objects
from schemas.reading import Status

TEXT_SENTINELS = frozenset({"-"})
"""AirKorea writes "-" where an instrument gave nothing."""
MAX_SHOWN_CHARACTERS = 24
"""So much of a value stands in its note, which so stays short whatever was sent."""
MAX_STATUS = 255
NOT_MEASURED = float("nan")
_WHITE_SPACE = " \t\n\r"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_KINDS = {'"': "str", "t": "bool", "f": "bool", "[": "array", "{": "object"}
"""What a JSON value is, by its first character; a number has another."""
_float = msgspec.json.Decoder(float)
_text = msgspec.json.Decoder(str)
_status = msgspec.json.Decoder(Status | dict[str, msgspec.Raw] | None)


class LooseValue(NamedTuple):
    """A value that was sent as something else than a plain number.

    Attributes:
        number: what it means; NaN where it was not measured, or cannot be read.
        note: how it was taken; empty where that is plain.
        fault: what was expected instead; empty where it could be read.
    """

    number: float
    note: str = ""
    fault: str = ""


class ValueNotes(Struct, frozen=True):
    """What those values of a reading were that are no plain numbers.

    >>> ValueNotes.of([read_text("pm10", "34.2"), read_text("pm25", "<2.0")])
    ValueNotes(text='pm10: text "34.2" read; pm25: "<2.0" is no number', unreadable=1, texts=1, fault='Expected `float \
| null`, got `str` - at `$.pm25`')

    Attributes:
        text: how each was taken.
        unreadable: how many could not be read.
        texts: how many were texts of numbers.
        fault: what was expected of the first that cannot be read; empty where each could. A reading with such a fault
            and without any value is refused for it.
    """

    text: str
    unreadable: int
    texts: int
    fault: str = ""

    @classmethod
    def of(cls, values: Iterable["LooseValue"]) -> "ValueNotes | None":
        """Gather those of one reading; None where there is nothing to note."""
        noted = [value for value in values if value.note]
        if not noted:
            return None
        faults = [value.fault for value in noted if value.fault]
        text = "; ".join(value.note for value in noted)
        return cls(text, len(faults), len(noted) - len(faults), faults[0] if faults else "")


def notes_column(rows: int, notes: Mapping[int, ValueNotes]) -> Objects | None:
    """Make a column of notes, None where a row has none, shape (rows,); none at all where no row has any."""
    if not notes:
        return None
    column = np.full(rows, None, object)
    for row, note in notes.items():
        column[row] = note
    return column


def read_json(name: str, raw: bytes) -> LooseValue:
    """Read a value of a message, given as it stands there; empty where it is absent.

    >>> read_json("pm10", b'"34.2"')
    LooseValue(number=34.2, note='pm10: text "34.2" read', fault='')
    >>> read_json("pm10", b'"<2.0"').note, read_json("pm10", b"[41]").note, read_json("pm10", b"1e999").note
    ('pm10: "<2.0" is no number', 'pm10: [41] is no number', 'pm10: 1e999 is too large')
    """
    if raw in (b"", b"null"):
        return LooseValue(NOT_MEASURED)
    if raw.startswith(b'"'):
        return read_text(name, _text.decode(raw))
    kind, whole = _KINDS.get(chr(raw[0])), _on_one_line(raw)
    if kind is not None:
        return LooseValue(NOT_MEASURED, unreadable(name, shortened(whole)), _fault(name, kind))
    number = _finite(raw)
    if number is None:
        return LooseValue(NOT_MEASURED, _too_large(name, shortened(whole)), f"Number out of range - at `$.{name}`")
    return LooseValue(number)


def read_text(name: str, text: str) -> LooseValue:
    """Read a value that was sent as a text: a sentinel, a JSON number, or nothing that can be read.

    >>> read_text("pm10", "-"), read_text("pm10", " 1.5e1 ").number, read_text("pm10", "1,234.5").note
    (LooseValue(number=nan, note='', fault=''), 15.0, 'pm10: "1,234.5" is no number')
    """
    if text in TEXT_SENTINELS:
        return LooseValue(NOT_MEASURED)
    stripped = text.strip(_WHITE_SPACE)
    if not _NUMBER.fullmatch(stripped):
        return LooseValue(NOT_MEASURED, unreadable(name, quoted(text)), _fault(name, "str"))
    number = _finite(stripped.encode())
    if number is None:
        return LooseValue(NOT_MEASURED, _too_large(name, quoted(text)), _fault(name, "str"))
    return LooseValue(number, f"{name}: text {quoted(text)} read")


def unreadable(name: str, shown: str) -> str:
    """Write the note of a value that is no number."""
    return f"{name}: {shown} is no number"


def quoted(text: str) -> str:
    """Show a text in a note: as JSON, and not all of a long one.

    >>> quoted("통신장애"), quoted("a" * 30)
    ('"통신장애"', '"aaaaaaaaaaaaaaaaaaaaaaaa…"')
    """
    return msgspec.json.encode(shortened(text)).decode()


def shortened(text: str) -> str:
    """Cut off what is too long for a note."""
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}…"


def read_status(raw: bytes, of_values: Sequence[str]) -> tuple[int | dict[str, int] | None, dict[str, LooseValue]]:
    """Read a status of a message, given as it stands there; empty where it is absent.

    Args:
        raw: the status.
        of_values: names that may have one of their own; others are passed over, as unknown fields are.

    Returns:
        The status, and what is to be noted of it, by the name of the value whose own it is, ``status`` where it is the
        whole instrument's. One with a fault costs its value.

    Raises:
        msgspec.ValidationError: there is none for the whole instrument; the message says why.

    >>> read_status(b'"8"', ["pm10"])
    (8, {'status': LooseValue(number=8, note='status: text "8" read', fault='')})
    >>> read_status(b'{"pm10":1.0,"o3":"?"}', ["pm10", "o3"])[1]["o3"].note
    'o3: its status "?" is none'
    """
    if raw == b"":
        return None, {}
    try:
        status = _status.decode(raw)
    except msgspec.ValidationError as err:
        code = _code(raw)
        if code is None:
            raise msgspec.ValidationError(_placed(str(err), "$.status")) from err
        is_text = raw.startswith(b'"')
        return code, {"status": LooseValue(code, f"status: text {quoted(_text.decode(raw))} read")} if is_text else {}
    if not isinstance(status, dict):
        return status, {}
    codes: dict[str, int] = {}
    notes: dict[str, LooseValue] = {}
    for name in of_values:
        own = bytes(status.get(name, b"null"))
        if own == b"null":
            continue
        code = _code(own)
        if code is not None:
            codes[name] = code
            if own.startswith(b'"'):
                notes[name] = LooseValue(code, f"{name}: text {quoted(_text.decode(own))} read as its status")
            continue
        shown = quoted(_text.decode(own)) if own.startswith(b'"') else shortened(_on_one_line(own))
        fault = f"Expected an instrument status from 0 to 255 - at `$.status.{name}`"
        notes[name] = LooseValue(NOT_MEASURED, unreadable_status(name, shown), fault)
    return codes, notes


def unreadable_status(name: str, shown: str) -> str:
    """Write the note of a value whose own status is none."""
    return f"{name}: its status {shown} is none"


def _code(raw: bytes) -> int | None:
    """Read a whole number from 0 to 255, perhaps with a point or as a text; None where it is none."""
    text = _text.decode(raw).strip(_WHITE_SPACE) if raw.startswith(b'"') else raw.decode("utf-8", "replace")
    number = _finite(text.encode()) if _NUMBER.fullmatch(text) else None
    if number is None or not 0 <= number <= MAX_STATUS or not number.is_integer():
        return None
    return int(number)


def _placed(message: str, path: str) -> str:
    """Say where a fault is, which msgspec says only of what lies inside."""
    return message.replace("`$", f"`{path}", 1) if " - at `$" in message else f"{message} - at `{path}`"


def _on_one_line(raw: bytes) -> str:
    """Show the beginning of a JSON value that may be of many lines, and long."""
    return " ".join(raw[: 8 * MAX_SHOWN_CHARACTERS].decode("utf-8", "replace").split())


def _finite(number: bytes) -> float | None:
    """Read a JSON number; None where no float is so large."""
    try:
        return _float.decode(number)
    except msgspec.ValidationError:
        return None


def _too_large(name: str, shown: str) -> str:
    return f"{name}: {shown} is too large"


def _fault(name: str, kind: str) -> str:
    return f"Expected `float | null`, got `{kind}` - at `$.{name}`"
