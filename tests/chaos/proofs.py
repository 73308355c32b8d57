"""Every proof that takes longer than a test may, one after another, and a table of what was run.

    python -m tests.chaos.proofs [NAME …] [--minutes 45] [--seed N] [--kills 100] [--lines 2000000]

Kills of a run over files and of one through Kafka, outages of the broker, races of compactions, broken lines decoded in
two ways, and the property tests under one seed after another until the time is over. The same seed kills, breaks and
draws alike. The exit status is 1 if anything failed; a failed proof's output goes to stderr.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
MINUTES = 45
KILLS = 100
RACES = 300
LINES = 2_000_000
STANDSTILL_S = 60
"""The broker's longest absence; ``python -m tests.chaos.outages`` alone takes ten minutes for it."""
SHOWN_BYTES = 5000


class Extent(NamedTuple):
    """How much is to be proved.

    Attributes:
        seed: the first; the same seed kills, breaks and draws alike.
        kills: of each run that is killed.
        lines: to be broken.
        until: monotonic time after which no further seed of the property tests is begun.
    """

    seed: int
    kills: int
    lines: int
    until: float


class Outcome(NamedTuple):
    """What became of a proof.

    Attributes:
        name: of the proof.
        seed: that it began with.
        seconds: that it took.
        passed: whether everything held.
        figures: what it printed of what was seen.
    """

    name: str
    seed: int
    seconds: float
    passed: bool
    figures: list[str]


def run_all(commands: Sequence[Sequence[str]]) -> tuple[bool, list[str]]:
    """Run commands at once; return whether all exited with 0, and the output of each."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"}  # under CI Hypothesis has no seed
    with tempfile.TemporaryDirectory(prefix="cityair-proofs-") as folder:
        files = [(Path(folder) / str(i)).open("w+b") for i in range(len(commands))]
        processes = [
            subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)
            for command, file in zip(commands, files, strict=True)
        ]
        try:
            statuses = [process.wait() for process in processes]
        finally:
            for process in processes:
                process.kill()
        outputs = []
        for file, status in zip(files, statuses, strict=True):
            file.seek(0)
            outputs.append(file.read().decode(errors="replace"))
            file.close()
            if status:
                print(outputs[-1][-SHOWN_BYTES:], file=sys.stderr, flush=True)
    return not any(statuses), outputs


def module(name: str, *options: object) -> list[str]:
    """The command that runs a module of ours with options."""
    return [sys.executable, "-m", name, *map(str, options)]


def last_lines(outputs: Sequence[str]) -> list[str]:
    """The last line of each output."""
    return [output.strip().rpartition("\n")[2] for output in outputs]


def file_kills(extent: Extent) -> tuple[bool, list[str]]:
    """Kill a run over a file."""
    passed, outputs = run_all([module("tests.chaos.kill", "--kills", extent.kills, "--seed", extent.seed)])
    return passed, last_lines(outputs)


def kafka_kills(extent: Extent) -> tuple[bool, list[str]]:
    """Kill a run through a broker."""
    passed, outputs = run_all([module("tests.chaos.kafka_kill", "--kills", extent.kills, "--seed", extent.seed)])
    return passed, last_lines(outputs)


def outages(extent: Extent) -> tuple[bool, list[str]]:
    """Make each outage."""
    passed, [output] = run_all([module("tests.chaos.outages", "--standstill", STANDSTILL_S)])
    return passed, output.strip().splitlines()


def compactions(extent: Extent) -> tuple[bool, list[str]]:
    """Race compactions against one another and a flow."""
    passed, outputs = run_all([module("tests.chaos.compactions", "--races", RACES, "--seed", extent.seed)])
    return passed, last_lines(outputs)


def mutated_lines(extent: Extent) -> tuple[bool, list[str]]:
    """Decode broken lines in two ways: half of them in each of two processes."""
    half = extent.lines // 2
    seeds = (extent.seed, extent.seed + 1)
    passed, outputs = run_all([module("tests.chaos.mutated_lines", "--lines", half, "--seed", seed) for seed in seeds])
    return passed, last_lines(outputs)


def property_tests(extent: Extent) -> tuple[bool, list[str]]:
    """Run the property tests under this seed, and under the next ones while there is time for one more."""
    count, longest_s, tests = 0, 0.0, "0"
    while not count or time.monotonic() + longest_s < extent.until:
        began, seed = time.monotonic(), extent.seed + count
        words = ["-m", "hypothesis", "-n", "2", "--dist", "loadfile", f"--hypothesis-seed={seed}", "tests"]
        passed, [output] = run_all([module("pytest", *words)])
        count, longest_s = count + 1, max(longest_s, time.monotonic() - began)
        found = re.search(r"(\d+) passed", output)
        tests = found[1] if found else "0"
        if not passed:
            return False, [f"seed {seed}: failed"]
    return True, [f"{count} seeds from {extent.seed}, {tests} tests each: all passed"]


PROOFS: dict[str, Callable[[Extent], tuple[bool, list[str]]]] = {
    "kills over files": file_kills,
    "kills through Kafka": kafka_kills,
    "outages": outages,
    "compactions": compactions,
    "mutated lines": mutated_lines,
    "property tests": property_tests,
}
"""Whether each holds, and what it printed; the last one fills what time is left."""


def table(outcomes: Sequence[Outcome]) -> str:
    """What was run, one line or more a proof.

    >>> print(table([Outcome("outages", 1, 61.2, True, ["restart: 2 s", "idle: 1 %"])]))
    proof                seed     time  result  what was seen
    outages                 1    1 min  passed  restart: 2 s
                                                idle: 1 %
    """
    lines = [f"{'proof':20} {'seed':>4} {'time':>8}  result  what was seen"]
    for name, seed, seconds, passed, figures in outcomes:
        head = f"{name:20} {seed:4} {seconds / 60:4.0f} min  {'passed' if passed else 'FAILED'}"
        for i, figure in enumerate(figures or [""]):
            lines.append(f"{head if not i else ' ' * len(head)}  {figure}")
    return "\n".join(lines)


def main(words: list[str] | None = None) -> int:
    """Run the proofs and print the table; 1 if one failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.proofs",
        description="kills, outages, broken lines and property tests, at length",
        epilog=f"proofs: {', '.join(PROOFS)}",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which; all if left out")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="until no further seed is begun (%(default)s)")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10_000, help="the first; by default it differs")
    parser.add_argument("--kills", type=int, default=KILLS, help="of each run that is killed (%(default)s)")
    parser.add_argument("--lines", type=int, default=LINES, help="to be broken (%(default)s)")
    options = parser.parse_args(words)
    if unknown := set(options.names) - PROOFS.keys():
        parser.error(f"no proof named {', '.join(sorted(unknown))}")
    extent = Extent(options.seed, options.kills, options.lines, time.monotonic() + 60 * options.minutes)
    outcomes = []
    for name in options.names or PROOFS:
        print(f"{name} …", file=sys.stderr, flush=True)
        began = time.monotonic()
        passed, figures = PROOFS[name](extent)
        outcomes.append(Outcome(name, options.seed, time.monotonic() - began, passed, figures))
    print(table(outcomes))
    print(f"{sum(outcome.seconds for outcome in outcomes) / 60:.0f} minutes in all")
    return int(not all(outcome.passed for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
