"""The public face: a lake opened in DuckDB, the version, the types, and the command as a module."""

import importlib.metadata
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import pytest

import cityair
from schemas.errors import ConfigurationError
from tests.support.lakes import LakeWriter

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def run_module(*words):
    return subprocess.run([sys.executable, "-m", "cityair", *words], capture_output=True, text=True, check=False)


def test_connect_opens_a_lake(tmp_path):
    LakeWriter(tmp_path / "lake")
    with cityair.connect(tmp_path / "lake") as con:
        assert con.sql("SELECT count(*) FROM rolling").fetchone() == (0,)
        assert con.snapshot.city.city.id == "tiny"


def test_connect_names_the_folder_that_is_no_lake(tmp_path):
    with pytest.raises(ConfigurationError, match="nowhere"):
        cityair.connect(tmp_path / "nowhere")


def test_every_public_name_is_there():
    assert set(cityair.__all__) <= set(dir(cityair))
    assert {view.name for view in cityair.views()} >= {"rolling", "latest_means"}


def test_the_version_stands_in_pyproject_alone():
    assert cityair.__version__ == importlib.metadata.version("cityair")
    assert run_module("--version").stdout == f"cityair {cityair.__version__}\n"


def test_python_m_cityair_is_the_command():
    assert "Usage: python -m cityair config show" in run_module("config", "show", "--help").stdout
    refused = run_module("sql", "FROM rolling", "--lake", "nowhere")
    assert refused.returncode == ConfigurationError.status
    assert refused.stderr.startswith("cityair: ")


def test_every_package_of_the_wheel_ships_its_types():
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(packages) == sorted(path.parent.name for path in ROOT.glob("*/py.typed"))
    for package in packages:
        assert resources.files(package).joinpath("py.typed").is_file()
