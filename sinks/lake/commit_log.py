"""Entries of a table's Delta log: which commit was whose, and what makes it survive a power cut.

delta-rs writes a log entry but does not fsync it. An entry counts only together with those before it, also where other
writers made them, so they are fsynced together.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from sinks import recovery_store


class LogEntry(NamedTuple):
    """A commit as the log has it: files added, and by writer the sequence P of its application transaction."""

    path: Path
    version: int
    added: frozenset[str]
    """Paths of data files, relative to the table."""
    transactions: dict[str, int]


class _Add(msgspec.Struct):
    path: str


class _Transaction(msgspec.Struct, rename="camel"):
    app_id: str
    version: int


class _Action(msgspec.Struct):
    """A line of a log entry, of the kinds that matter here; others decode to neither."""

    add: _Add | None = None
    txn: _Transaction | None = None


_decode = msgspec.json.Decoder(_Action).decode_lines


def entry_path(table: Path, version: int) -> Path:
    """File of a table's log entry.

    >>> entry_path(Path("lake/flags"), 7).as_posix()
    'lake/flags/_delta_log/00000000000000000007.json'
    """
    return table / "_delta_log" / f"{version:020}.json"


def read_entry(table: Path, version: int) -> LogEntry | None:
    """Read a log entry; None if the log was cleaned up past it."""
    path = entry_path(table, version)
    try:
        actions = _decode(path.read_bytes())
    except FileNotFoundError:
        return None
    return LogEntry(
        path,
        version,
        frozenset(unquote(action.add.path) for action in actions if action.add),
        {action.txn.app_id: action.txn.version for action in actions if action.txn},
    )


def newest_first(table: Path, version: int) -> Iterator[LogEntry]:
    """Yield log entries from ``version`` backwards, as far as the log goes."""
    for each in range(version, -1, -1):
        entry = read_entry(table, each)
        if entry is None:
            return
        yield entry


def find_commit(table: Path, version: int, writer: str, sequence: int) -> LogEntry | None:
    """Find a writer's commit under a sequence P, at ``version`` or before it; None if the log does not have it."""
    for entry in newest_first(table, version):
        committed = entry.transactions.get(writer)
        if committed is not None and committed <= sequence:
            return entry if committed == sequence else None
    return None


def fsync_entries(table: Path, first: int, last: int) -> None:
    """Make the log entries ``first`` to ``last`` survive a power cut."""
    for version in range(first, last + 1):
        path = entry_path(table, version)
        if path.exists():  # else the log was cleaned up past it
            recovery_store.fsync(path)
    recovery_store.fsync(table / "_delta_log")
