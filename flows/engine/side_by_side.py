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
STOPPED = (0, INTERRUPTED, -signal.SIGTERM, -signal.SIGINT)
"""Exit statuses that are no fault: a child that had not begun to listen to signals dies by one."""


def run_side_by_side(flows: Sequence[str], command: Callable[[str], Sequence[str]], *, as_json: bool) -> int:
    """Run each flow as a process of its own, and wait for all.

    Args:
        flows: their names.
        command: gives the command of a flow, which prints one JSON object on stdout where ``as_json``.
        as_json: print one object on stdout: what each flow printed, by its name.

    Returns:
        The worst exit status: the highest, and that of an interruption only where nothing else went wrong.
    """
    children: dict[str, subprocess.Popen[str]] = {}
    stopped = False

    def forward(number: int, _: Any) -> None:
        nonlocal stopped
        stopped = True
        for child in children.values():
            if child.poll() is None:
                child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for name in flows:
            if not stopped:
                children[name] = subprocess.Popen(  # noqa: S603 - this program again
                    command(name), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
                )
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
            with child:  # closes its pipes, and waits for it
                child.kill()
    for name, status in statuses.items():
        if status not in STOPPED:
            _say(f"{name}: ended with exit status {status}")
    if as_json:
        objects = {name: json.loads(text) if text.strip() else None for name, text in printed.items()}
        print(json.dumps({name: objects.get(name) for name in flows}))  # noqa: T201 - the command's result
    return worst([*statuses.values(), *([INTERRUPTED] if stopped else [])])


def worst(statuses: Sequence[int]) -> int:
    """The worst of exit statuses; one that died by another signal than those that stop a run counts as our fault.

    >>> worst([0, 130]), worst([3, 130, 0]), worst([0, -9]), worst([0, -15]), worst([0, 0])
    (130, 3, 1, 130, 0)
    """
    faults = [status if status > 0 else 1 for status in statuses if status not in STOPPED]
    return max(faults, default=INTERRUPTED if any(statuses) else 0)


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
