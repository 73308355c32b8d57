"""Prints the figures: ``python -m benchmarks [NAME …] [--quick] [--json]``.

Names: decode, path, backfill, memory, size, query; ``all`` stands for these. They are measured on one core, each
contender in a process of its own, in turn (A B A B …), and the median is told. ``kafka`` and ``latency`` start a broker
(java, and mvn the first time) and have all cores, because it takes some of them. Peers on Java are fetched beforehand:
``python -m benchmarks.peers.install``.
"""

import argparse
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.measure import BenchmarkError, on_core

ALL = ("decode", "path", "backfill", "memory", "size", "query")
BROKER = ("kafka", "latency")
"""What needs a broker."""
STEPS = ("1m", "10m")


def main(words: list[str] | None = None) -> int:
    """Run what is asked for; 1 if ``--check`` is given and a promise is broken, 2 if a contender failed."""
    every = [*ALL, *BROKER, "all"]
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument(
        "which",
        nargs="*",
        default=["all"],
        choices=every,
        metavar="which",
        help=", ".join(every),
    )
    options.add_argument("--quick", action="store_true", help="smaller inputs and fewer rounds: a look, not a figure")
    options.add_argument("--json", action="store_true", help="print one JSON object")
    options.add_argument("--rounds", type=int, help="how often each contender runs; 3, or 1 with --quick")
    options.add_argument("--step", choices=STEPS, help="of backfill: how often means land; each in turn if left out")
    options.add_argument(
        "--cache", type=Path, help="folder that keeps inputs and the year's lake; a temporary one if left out"
    )
    options.add_argument("--core", type=int, help="core that everything is bound to; the last one if left out")
    options.add_argument("--check", action="store_true", help="end with 1 if a promise is broken")
    given = options.parse_args(words)
    asked = tuple(dict.fromkeys(name for one in given.which for name in (ALL if one == "all" else (one,))))
    core = max(os.sched_getaffinity(0)) if given.core is None else given.core
    rounds = given.rounds or (1 if given.quick else 3)
    around = {**report.machine(), "core": core, "rounds": rounds}
    print(", ".join(f"{name} {value}" for name, value in around.items()), file=sys.stderr)
    done = []
    with tempfile.TemporaryDirectory(prefix="cityair-bench-") as temporary:
        folder = given.cache or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name, extra in _variants(asked, given.step):
            print(name, file=sys.stderr)
            try:
                with on_core(None if name in BROKER else core):
                    found = importlib.import_module(f"benchmarks.{name}").run(
                        folder, rounds, quick=given.quick, **extra
                    )
            except BenchmarkError as err:
                print(f"{name}: {err}", file=sys.stderr)
                return 2
            done.append(found)
            if not given.json:
                print(found.text(), flush=True)
    around["load_after"] = report.machine()["load"]
    if given.json:
        print(report.as_json(done, around))
    return int(given.check and not all(target.held for one in done for target in one.targets))


def _variants(asked: Sequence[str], step: str | None) -> Iterator[tuple[str, dict[str, str]]]:
    """Name each measurement, and what it is given beside."""
    for name in asked:
        if name == "backfill":
            yield from ((name, {"step": one}) for one in ([step] if step else STEPS))
        else:
            yield name, {}


if __name__ == "__main__":
    sys.exit(main())
