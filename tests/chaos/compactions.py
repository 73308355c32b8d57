"""Races of compactions and a flow over one day of a table: no row is lost, none is there twice, no flow is refused.

python -m tests.chaos.compactions [--races 300] [--seed N]
"""

import argparse
import random
import tempfile
from pathlib import Path

from sinks.maintenance.check import check
from tests.support import compaction_races
from tests.support.lakes import LakeWriter

RACES = 300
PER_LAKE = 50
"""Races on one lake; its log and its files grow with them."""


def main() -> None:
    """Run the races and print how many there were, and who was refused how often.

    Raises:
        AssertionError: a row is lost or there twice, or a flow or our compaction gave up.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--races", type=int, default=RACES)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    refused: dict[str, int] = {}
    for i, first in enumerate(range(0, options.races, PER_LAKE)):
        with tempfile.TemporaryDirectory(prefix="cityair-compactions-") as folder:
            lake = LakeWriter(Path(folder) / "lake")
            n = min(PER_LAKE, options.races - first)
            for name, count in compaction_races.races(lake.root, n, seed=options.seed + i).items():
                refused[name] = refused.get(name, 0) + count
            faults = check(lake.root).faults
            assert faults == [], faults
    print(f"{options.races} races, every row once; refused by the log: {refused or 'nobody'}")


if __name__ == "__main__":
    main()
