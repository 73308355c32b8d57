"""Where a flow keeps its place: the recovery store, its lock and its identity; and durable writes."""

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
    """Hold ``path`` against every other process; the lock dies with us.

    Raises:
        ConfigurationError: another process holds it, or the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+")
    except OSError as err:
        raise ConfigurationError(f"{what} cannot be written: {err}") from err
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            handle.seek(0)
            raise ConfigurationError(
                f"{what} is in use by another process ({handle.read().strip() or 'unknown'}); wait, or stop it"
            ) from err
        handle.truncate(0)
        handle.write(f"pid {os.getpid()}\n")
        handle.flush()
        yield


def open_recovery(folder: Path) -> str:
    """Make the recovery store of a flow if there is none; return its identity.

    One recovery partition: it is one file, and so can never be half restored.
    """
    if not folder.exists():
        new = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
        try:
            new.mkdir(parents=True)
            init_db_dir(new, 1)
            write_durably(new / "identity", uuid.uuid4().hex.encode())
            new.rename(folder)
            fsync(folder.parent)
        except OSError as err:
            shutil.rmtree(new, ignore_errors=True)
            raise ConfigurationError(f"recovery store {folder} cannot be made: {err}") from err
    forget_undone(folder)
    try:
        return (folder / "identity").read_text()
    except OSError as err:
        raise ConfigurationError(
            f"{folder} is no recovery store of cityair: {err}; give an empty or a new folder"
        ) from err


def forget_undone(folder: Path) -> None:
    """Remove the snapshots of an epoch that a crash kept from becoming durable. The store must be locked.

    The engine writes the snapshots of an epoch first and that the epoch is done after them. It does not load those of
    an epoch that was not done, but leaves them where they are; the epoch then goes by once more under the same number,
    and whatever has nothing to do in it is not written again. After another crash its snapshot of the undone epoch
    would be loaded beside a source that stands before it: readings already on the grid, but never in the lake.
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
    new = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    fsync(path.parent)


def fsync(path: Path) -> None:
    """Make a file's content, or a folder's entries, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
