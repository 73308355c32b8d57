"""The version that every snapshot in a recovery store bears."""

from collections.abc import Mapping
from typing import Any

from schemas.errors import ConfigurationError

VERSION = 1


def check_version(kept: Mapping[str, Any], store: str, known: tuple[int, ...] = (VERSION,)) -> int:
    """Return the version of a snapshot.

    Args:
        kept: the snapshot.
        store: whose it is, for the message: "input", "lake", "zone city".
        known: versions that this code reads.

    Raises:
        ConfigurationError: the snapshot has no version that this code reads.

    >>> check_version({"v": 1}, "input")
    1
    """
    version = kept.get("v")
    if version not in known:
        readable = " or ".join(map(str, known))
        raise ConfigurationError(
            f"recovery store: snapshot of {store} has version {version!r}, and this cityair reads {readable}: the "
            "store was written by another version; start that version again, or make a store that fits from the lake: "
            "move this one away, then cityair rebuild --recovery"
        )
    return int(version)
