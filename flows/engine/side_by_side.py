"""Several flows at once: one child process each, over the same input, into one lake.

A signal goes to all; a flow that ends does not stop the others; each line on stderr bears its flow's name.
"""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import IO, Any

INTERRUPTED = 130


def run_side_by_side(flows: Sequence[str], command: Callable[[str], Sequence[str]], *, as_json: bool) -> int:
    """Run each flow as a process of its own, and wait for all.

    Args:
        flows: their names.
        command: gives the command of a flow, which prints one JSON object on stdout where ``as_json``.
        as_json: print one object on stdout: what each flow printed, by its name.

    Returns:
        The worst exit status: the highest, and that of an interruption only where nothing else went wrong.
    """
    children = {
        name: subprocess.Popen(  # noqa: S603 - this program again
            command(name), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        for name in flows
    }

    def forward(number: int, _: Any) -> None:
        for child in children.values():
            if child.poll() is None:
                child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        printed: dict[str, str] = {}
        readers = [
            threading.Thread(target=reader, args=(name, child, printed))
            for name, child in children.items()
            for reader in (_label, _collect)
        ]
        for thread in readers:
            thread.start()
        statuses = {name: child.wait() for name, child in children.items()}
        for thread in readers:
            thread.join()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for child in children.values():
            child.kill()
    for name, status in statuses.items():
        if status not in (0, INTERRUPTED):
            _say(f"{name}: ended with exit status {status}")
    if as_json:
        objects = {name: json.loads(text) if text.strip() else None for name, text in printed.items()}
        print(json.dumps({name: objects.get(name) for name in flows}))  # noqa: T201 - the command's result
    return worst(list(statuses.values()))


def worst(statuses: Sequence[int]) -> int:
    """The worst of exit statuses; one that died by a signal counts as a fault of ours.

    >>> worst([0, 130]), worst([3, 130, 0]), worst([0, -9]), worst([0, 0])
    (130, 3, 1, 0)
    """
    faults = [status if status > 0 else 1 for status in statuses if status not in (0, INTERRUPTED)]
    return max(faults, default=INTERRUPTED if INTERRUPTED in statuses else 0)


def _label(name: str, child: "subprocess.Popen[str]", _: dict[str, str]) -> None:
    """Copy a child's stderr, each line with the name of its flow."""
    stream: IO[str] | None = child.stderr
    for line in stream or ():
        _say(f"{name}: {line.rstrip()}")


def _collect(name: str, child: "subprocess.Popen[str]", printed: dict[str, str]) -> None:
    """Keep what a child prints on stdout."""
    printed[name] = child.stdout.read() if child.stdout else ""


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - lines of the children, and how they ended
