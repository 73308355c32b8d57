"""Limits of a lake's writer: what it keeps in memory, and how long it is patient."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LakeSettings:
    """Limits of a lake's writer.

    Attributes:
        max_deferred_rows: rows that may be built later, when the input is idle: a few slots of fifty stations.
        max_pending_epochs: epochs whose commits may be under way; with more, the worker waits.
        row_group_rows: rows that are buffered to make a row group; fewer pack worse, more cost memory.
        max_buffered_rows: rows buffered over all tables and days, and as many again that are being written.
        max_buffered_s: seconds that rows are buffered. It bounds what is left to be written at an epoch's end, while
            everything else waits.
        past_day_buffered_s: the same for a day that its table has gone past, counted from the day's last rows.
        max_open_files: files open at once; a backfill of years touches thousands of days in one epoch.
        commit_attempts: how often a commit that another writer's overtook is tried again.
        commit_pause_s: seconds before the second attempt; doubled before each further one, up to ``MAX_PAUSE_S``.
    """

    max_deferred_rows: int = 20_000
    max_pending_epochs: int = 8
    row_group_rows: int = 131_072
    max_buffered_rows: int = 4 * 131_072
    max_buffered_s: float = 2.0
    past_day_buffered_s: float = 0.25
    max_open_files: int = 64
    commit_attempts: int = 20
    commit_pause_s: float = 0.05
