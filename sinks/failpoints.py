"""Failpoints: places at which a test may crash the process, to prove what survives.

The environment variable ``CITYAIR_CRASH`` arms them: ``name`` or ``name:probability``, joined by commas. It is read
once, when this module is imported.
"""

import os
import random
import signal

PROBABILITIES = {
    name: float(probability or 1)
    for name, _, probability in (
        entry.partition(":") for entry in os.environ.get("CITYAIR_CRASH", "").split(",") if entry
    )
}
"""Probability of a crash at each armed failpoint."""


def failpoint(name: str) -> None:
    """Kill the process with SIGKILL, as a power cut would, if the failpoint ``name`` is armed and its chance comes up.

    >>> failpoint("lake.before_commit")  # not armed: nothing happens
    """
    if PROBABILITIES and random.random() < PROBABILITIES.get(name, 0.0):  # noqa: S311 - chance, not secrecy
        os.kill(os.getpid(), signal.SIGKILL)
