"""Settings of a run: the city file, and ``CITYAIR_*`` variables beneath the command's own options."""

import os
from datetime import timedelta
from pathlib import Path

from flows.resources import shipped
from schemas import city as city_file
from schemas.city import City
from schemas.errors import ConfigurationError

DEFAULT_EPOCH = "10s"
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}


def load_city(path: Path | None) -> City:
    """Read a city file; the shipped Gimhae where none is given.

    Raises:
        ConfigurationError: it cannot be read, or does not hold together.
    """
    path = path or shipped("gimhae.toml")
    try:
        content = path.read_bytes()
    except OSError as err:
        raise ConfigurationError(
            f"city file {path} cannot be read: {err.strerror or err}; give one with --city FILE"
        ) from err
    return city_file.parse(content, str(path))


def epoch() -> timedelta:
    """How often a flow makes its results durable: ``CITYAIR_EPOCH``, ten seconds where it is not set.

    Shorter shows results sooner and writes more, smaller files.

    Raises:
        ConfigurationError: it is no duration.
    """
    text = os.environ.get("CITYAIR_EPOCH", DEFAULT_EPOCH).strip()
    for unit, scale in UNITS.items():
        number = text.removesuffix(unit)
        if number != text:
            try:
                interval = timedelta(seconds=float(number) * scale)
            except ValueError:
                continue
            if timedelta(0) < interval <= timedelta(hours=1):
                return interval
    raise ConfigurationError(
        f"CITYAIR_EPOCH = {text!r} is no duration from 1ms to 60m; give for instance 0.1s, 500ms or 10s"
    )
