"""Races of compactions: ours, those of others, and a flow's commits, over the same day of the same table.

Each race adds rows to a lake, lets all begin within milliseconds, and then looks whether every row is there once.
"""

import random
import threading
import time
from collections import Counter
from datetime import date, timedelta

from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from schemas.errors import ConfigurationError
from sinks.lake.committer import Committer, PendingEpoch
from sinks.lake.dates import LocalDates
from sinks.lake.files import EpochFiles
from sinks.lake.layout import file_prefix
from sinks.maintenance import compact
from tests.support.batches import START_US, reject_rows
from tests.support.lakes import committed_offsets

TABLE = "rejects"
TIMEZONE = "Asia/Seoul"
"""Of the lakes of tests."""
DAY = date.fromtimestamp(START_US / 1e6)
FILES = 3
"""Files that a race adds before it begins."""
LATEST_S = 0.02
OTHERS_LATEST_S = 0.15
"""Others are faster than ours, and so begin later as often as not."""


def ours(root):
    """What ``cityair lake compact`` does with the table; before it, it looks at others, which would spread the race."""
    for day in (DAY, DAY + timedelta(days=1)):
        compact._join(root, TABLE, day)


def optimize(root):
    """The compaction of delta-rs."""
    DeltaTable(str(root / TABLE)).optimize.compact()


def z_order(root):
    """The other compaction of delta-rs."""
    DeltaTable(str(root / TABLE)).optimize.z_order(["koff"])


OTHERS = {"ours": ours, "optimize": optimize, "z_order": z_order}


class Flow:
    """A flow that commits an epoch of one row at a time."""

    def __init__(self, root, writer="air"):
        self.p = -1
        self._root, self._writer = root, writer
        self._committer = Committer(root, writer)

    def commit(self):
        """Commit the next epoch; its row's offset is its number."""
        self.p += 1
        files = EpochFiles(self._root, file_prefix(self._writer, self.p), LocalDates(TIMEZONE))
        files.add(TABLE, reject_rows([START_US + self.p], first=self.p))
        before = {TABLE: self.p - 1 if self.p else None}
        self._committer.put([PendingEpoch(self.p, before, files.finish())])
        self._committer.wait()

    def stop(self):
        """End its thread."""
        self._committer.stop()


def race(root, flow, deeds, chance):
    """Run deeds at once, each after a moment; return how many were refused by the log, which is no loss."""
    refused, failures = Counter(), []

    def run(name, deed, pause_s):
        time.sleep(pause_s)
        try:
            deed()
        except (CommitFailedError, ConfigurationError) as err:
            refused[name] += 1
            if name not in OTHERS or name == "ours":
                failures.append((name, err))
        except Exception as err:  # a failed race has to be told to who started it
            failures.append((name, err))

    for _ in range(FILES):
        flow.commit()
    threads = [
        threading.Thread(
            target=run, args=(name, deed, chance.uniform(0, LATEST_S if name == "ours" else OTHERS_LATEST_S))
        )
        for name, deed in deeds.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert committed_offsets(root, TABLE) == list(range(flow.p + 1)), "a row is lost or there twice"
    return refused


def races(root, n, seed, others=tuple(OTHERS)):
    """Run n races of ours against each other compaction in turn, a flow beside them; return who was refused how often."""
    chance, refused, flow = random.Random(seed), Counter(), Flow(root)
    try:
        for i in range(n):
            other = others[i % len(others)]
            deeds = {
                "ours": lambda: ours(root),
                f"{other}": lambda other=other: OTHERS[other](root),
                "flow": flow.commit,
            }
            if other == "ours":
                deeds["ours again"] = deeds["ours"]
            refused += race(root, flow, deeds, chance)
    finally:
        flow.stop()
    return refused
