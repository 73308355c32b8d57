"""The folder of a demo: what lies in it, and how it is emptied."""

import shutil
from pathlib import Path

from schemas.errors import UsageError

MARKER = ".cityair-demo"
"""A file that marks a folder as the demo's: what it makes there, it may also remove."""
DAY_FILE, TRUTH_FILE, PICTURE_FILE = "gimhae.ndjson", "gimhae.ndjson.truth.json", "lights.png"
LAKE_FOLDER, OUT_FOLDER, RECORDED_LAKE_FOLDER = "lake", "out", "beijing-lake"


def clear(folder: Path) -> None:
    """Make an empty folder for the demo, removing what an earlier one left.

    Raises:
        UsageError: the folder is a file, or holds something that is not the demo's.
    """
    if folder.exists() and not (folder / MARKER).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already and was not made by the demo; name another with --folder")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()
    for name in (LAKE_FOLDER, OUT_FOLDER, RECORDED_LAKE_FOLDER):
        if (folder / name).exists():
            shutil.rmtree(folder / name)
    for name in (DAY_FILE, f"{DAY_FILE}.part", TRUTH_FILE, PICTURE_FILE):
        (folder / name).unlink(missing_ok=True)
