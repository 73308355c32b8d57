"""Waiting for a condition, and never for a length of time: a slow machine only waits longer."""

import time
from collections.abc import Callable
from typing import Any

TIMEOUT_S = 120.0
"""After so long a condition counts as never met: ten times what a busy machine needs."""
LOOKS_EVERY_S = 0.05


def until(check: Callable[[], Any], what: Callable[[], str], timeout_s: float = TIMEOUT_S) -> Any:
    """Check until the answer is true, and return it.

    Raises:
        TimeoutError: it was not, within ``timeout_s``; the message is that of ``what``.
    """
    end = time.monotonic() + timeout_s
    while not (answer := check()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what()} (waited {timeout_s:g} s)")
        time.sleep(LOOKS_EVERY_S)
    return answer
