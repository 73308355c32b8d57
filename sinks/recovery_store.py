"""The recovery store of a flow: its folder, lock and identity; and files that survive a power cut."""

import contextlib
import fcntl
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bytewax.recovery import init_db_dir

from schemas.errors import ConfigurationError


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file against every other process; the lock ends with the process.

    Args:
        path: the lock file; its folder is made if it is not there.
        what: what the lock protects, for the message.

    Raises:
        ConfigurationError: another process holds it, or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as err:
        raise ConfigurationError(f"{what} cannot be written: {err}") from err
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            file.seek(0)
            raise ConfigurationError(
                f"{what} is in use by another process ({file.read().strip() or 'unknown'}); wait, or stop it"
            ) from err
        file.truncate(0)
        file.write(f"pid {os.getpid()}\n")
        file.flush()
        yield


def open_recovery(folder: Path) -> str:
    """Open the recovery store of a flow, made if there is none; return its identity. The store must be locked.

    It has one recovery partition: that is one file, and so can never be half restored.

    Raises:
        ConfigurationError: the store cannot be made, or the folder is no recovery store.
    """
    if not folder.exists():
        draft = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
        try:
            draft.mkdir(parents=True)
            init_db_dir(draft, 1)
            write_durably(draft / "identity", uuid.uuid4().hex.encode())
            draft.rename(folder)
            fsync(folder.parent)
        except OSError as err:
            shutil.rmtree(draft, ignore_errors=True)
            raise ConfigurationError(f"recovery store {folder} cannot be made: {err}") from err
    discard_incomplete_epochs(folder)
    try:
        return (folder / "identity").read_text()
    except OSError as err:
        raise ConfigurationError(
            f"{folder} is no recovery store of cityair: {err}; give an empty or a new folder"
        ) from err


def discard_incomplete_epochs(folder: Path) -> None:
    """Delete the snapshots of an epoch that a crash kept from becoming durable. The store must be locked.

    Bytewax writes the snapshots of an epoch first, and after them that the epoch is complete. On a resume it skips the
    snapshots of an incomplete epoch but leaves them in the store, and gives the epoch's number to a new one. A step
    with nothing to save in the new epoch does not replace its row, so a second crash would load that row beside a
    source that stands before it: readings on the grid that never reached the lake.
    """
    for path in sorted(folder.glob("part-*.sqlite3")):
        with contextlib.closing(sqlite3.connect(path)) as store, store:
            store.execute(
                "DELETE FROM snaps WHERE snap_epoch >= ("
                "SELECT max(resume_epoch, coalesce(min(worker_frontier), resume_epoch)) "
                "FROM exs LEFT JOIN fronts USING (ex_num) WHERE ex_num = (SELECT max(ex_num) FROM exs) "
                "GROUP BY ex_num)"
            )


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file so that a crash leaves the old or the new one, whole."""
    _write_draft(path, content).rename(path)
    fsync(path.parent)


def write_once(path: Path, content: bytes) -> bytes:
    """Write a file unless there is one, and return what it holds: of several processes at once, one writes it."""
    draft = _write_draft(path, content)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    fsync(path.parent)
    return path.read_bytes()


def fsync(path: Path) -> None:
    """Make a file's content, or a folder's entries, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_draft(path: Path, content: bytes) -> Path:
    """Write a file beside ``path`` that can take its place, and make its content durable."""
    draft = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft
