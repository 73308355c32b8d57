"""The repository as a reader sees it: its tracked files, and its pages."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MADE = {".git", ".venv", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", "__pycache__", "demo", "dist"}
"""Folders that are not ours to check, where git cannot say what is tracked."""


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def tracked():
    """Every file of the project, those not committed yet too."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(words, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
        paths = [ROOT / name for name in names if name]
    except (OSError, subprocess.CalledProcessError):
        paths = [path for path in ROOT.rglob("*") if not MADE & {*path.relative_to(ROOT).parts}]
    found = [path for path in paths if path.is_file()]
    assert len(found) > 100
    return found


@pytest.fixture(scope="session")
def texts(tracked):
    """Their text, by path; packed files have none."""
    return {path: path.read_text(encoding="utf-8") for path in tracked if path.suffix != ".gz"}


@pytest.fixture(scope="session")
def pages(texts, root):
    """The Markdown files, by path from the root."""
    return {path.relative_to(root): text for path, text in texts.items() if path.suffix == ".md"}
