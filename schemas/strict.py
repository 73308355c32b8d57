"""Configuration as typed, strict structs: an unknown key is a typo, and an error names its place."""

from typing import TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T", bound=Struct)


class Strict(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a configuration file; unknown keys are refused."""


def convert(entry: object, shape: type[T], where: str) -> T:
    """Read one table of a configuration.

    Raises:
        ValueError: it does not fit; the message begins with ``where``, if that is given.
    """
    try:
        return msgspec.convert(entry, shape)
    except msgspec.ValidationError as err:
        raise ValueError(f"{where}: {err}" if where else str(err)) from err
