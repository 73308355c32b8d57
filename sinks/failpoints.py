"""Planted crashes, for the tests that prove what the lake survives: ``CITYAIR_CRASH=name:share,…`` kills with -9."""

import os
import random
import signal

PLANTED = {
    name: float(share or 1)
    for name, _, share in (entry.partition(":") for entry in os.environ.get("CITYAIR_CRASH", "").split(",") if entry)
}


def point(name: str) -> None:
    """Die here, as from a power cut, if the environment says so."""
    if PLANTED and random.random() < PLANTED.get(name, 0.0):  # noqa: S311 - chance, not secrecy
        os.kill(os.getpid(), signal.SIGKILL)
