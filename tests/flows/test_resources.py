"""Files that ship with cityair: beside the checkout, or in the wheel."""

from pathlib import Path

import pytest

from flows.resources import shipped


def test_a_wheel_s_folder_comes_first(tmp_path, monkeypatch):
    import schemas

    package = tmp_path / "schemas"
    (package / "config").mkdir(parents=True)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "only.toml").touch()
    for place in (package, tmp_path):
        (place / "config" / "both.toml").touch()
    monkeypatch.setattr(schemas, "__file__", str(package / "__init__.py"))
    assert shipped("both.toml") == package / "config" / "both.toml"
    assert shipped("only.toml") == tmp_path / "config" / "only.toml"
    with pytest.raises(FileNotFoundError, match="cityair ships no 'neither'"):
        shipped("neither")
    assert Path(shipped("both.toml")).is_absolute()
