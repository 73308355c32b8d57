"""The demo removes what it made, and nothing else."""

from pathlib import Path

import pytest

from flows.cli.demo import folder, play
from schemas.errors import UsageError


def test_a_folder_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not made by the demo"):
        folder.clear(tmp_path)
    assert (tmp_path / "lake" / "thesis.txt").exists()


def test_clear_removes_only_what_the_demo_makes(tmp_path: Path) -> None:
    folder.clear(tmp_path / "demo")
    (tmp_path / "demo" / "lake").mkdir()
    (tmp_path / "demo" / "notes.txt").write_text("mine")
    folder.clear(tmp_path / "demo")
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == [folder.MARKER, "notes.txt"]


def test_nothing_to_keep_says_how_to_play(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cityair demo --folder"):
        play.gather(tmp_path, {})
