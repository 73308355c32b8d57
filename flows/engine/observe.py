"""What a run says: its progress, its log lines and its closing line; nothing else writes to stderr."""

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from flows.outputs.lake_rows import LakeBatch
from schemas.rejected import OTHER

SHOWN_EVERY_S = 0.2
"""Seconds between two looks at the progress."""
DISPOSITIONS = ("stored", "rejected", "duplicate", "too_late")
LOGGER = "cityair"


class Observer(Protocol):
    """Listens to a run. Methods may be called from any thread, and must be quick."""

    def landed(self, batch: LakeBatch) -> None:
        """Rows of a batch were written to data files of the epoch."""

    def ended(self, seconds: float, *, stopped: bool) -> None:
        """The run has ended well; ``stopped``: by a signal."""

    def logging(self) -> Any:
        """A context in which log lines of cityair come here."""


class RunObserver:
    """Observer of the command line: a line at the foot of a terminal, log lines, and a closing line.

    Args:
        flow: name of the flow, before each line where several run side by side; empty where one runs.
        shown: whether stderr is a terminal that can show progress.
        as_json: the closing line is JSON on stdout.
    """

    def __init__(self, flow: str = "", *, shown: bool = False, as_json: bool = False) -> None:
        self.dispositions: Counter[str] = Counter()
        self.passed_over = 0
        """Messages that another flow takes."""
        self.noted: Counter[str] = Counter()
        """Values of stored readings that were ``unreadable``, or ``texts`` of numbers."""
        self._prefix = f"{flow}: " if flow else ""
        self._as_json, self._looked = as_json, 0.0
        self._status = _status() if shown else None
        if self._status:
            self._status.start()

    def landed(self, batch: LakeBatch) -> None:
        """Count what became of messages and of values, and show it now and then."""
        self.noted.update(batch.noted)
        newest = ""
        for (partition, disposition), count in batch.dispositions.items():
            newest = partition.topic
            if disposition == OTHER:
                self.passed_over += count
            else:
                self.dispositions[disposition] += count
        if self._status and newest and time.monotonic() - self._looked > SHOWN_EVERY_S:
            self._looked = time.monotonic()
            self._status.update(f"{self._prefix}{self.dispositions.total():,} readings, {newest}")

    def ended(self, seconds: float, *, stopped: bool) -> None:
        """Print what became of the input: JSON on stdout, else a line on stderr."""
        self.close()
        total = self.dispositions.total()
        counts = {name: self.dispositions[name] for name in DISPOSITIONS}
        if self._as_json:
            counts |= {
                "other": self.passed_over,
                "unreadable_values": self.noted["unreadable"],
                "text_values": self.noted["texts"],
            }
            print(json.dumps({"received": total, **counts, "seconds": round(seconds, 3), "stopped": stopped}))  # noqa: T201
            return
        became = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
        if self.passed_over:
            became += f"; {self.passed_over:,} of another flow passed over"
        if self.noted["unreadable"]:
            became += f"; values unreadable, and so missing: {self.noted['unreadable']:,}"
        if self.noted["texts"]:
            became += f"; values read from texts: {self.noted['texts']:,}"
        self.say(f"{total:,} readings in {seconds:.1f} s: {became}")

    def close(self) -> None:
        """Take the progress line away."""
        if self._status:
            self._status.stop()
            self._status = None

    def say(self, text: str) -> None:
        """Print a line on stderr."""
        print(f"{self._prefix}{text}", file=sys.stderr, flush=True)  # noqa: T201

    @contextmanager
    def logging(self) -> Iterator[None]:
        """Have log lines of cityair come here, warnings and worse."""
        logger = logging.getLogger(LOGGER)
        handler = _Handler(self)
        logger.addHandler(handler)
        propagates, logger.propagate = logger.propagate, False
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.propagate = propagates


class _Handler(logging.Handler):
    """Log records as lines of an observer."""

    def __init__(self, observer: RunObserver) -> None:
        super().__init__(logging.WARNING)
        self._observer = observer

    def emit(self, record: logging.LogRecord) -> None:
        self._observer.say(f"cityair: {self.format(record)}")


def _status() -> Any:
    """Make a line at the foot of the terminal; without one its import is spared."""
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=True).status("starting")
