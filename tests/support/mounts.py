"""Small disks, to be full: only root may mount one, and not in every container."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

REMEDY = "run them as root, where mount is allowed"


def mount(place: Path, size: str, *options: str) -> None:
    """Mount a disk in memory, or with the option ``remount`` give it another size.

    Raises:
        subprocess.CalledProcessError: it is not allowed.
    """
    words = ["mount", "-t", "tmpfs", "-o", ",".join([*options, f"size={size}"]), "tmpfs", str(place)]
    subprocess.run(words, check=True, capture_output=True)


def unmount(place: Path) -> None:
    """Take the disk away."""
    subprocess.run(["umount", str(place)], check=True)


def reason_against() -> str:
    """Why no disk can be mounted here; empty where one can."""
    if os.geteuid() or not shutil.which("mount"):
        return "only root can mount a small disk"
    with tempfile.TemporaryDirectory() as place:
        try:
            mount(Path(place), "1m")
        except subprocess.CalledProcessError as err:
            return f"no small disk can be mounted: {err.stderr.decode().strip()}"
        unmount(Path(place))
    return ""
