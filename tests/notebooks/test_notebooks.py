"""Notebooks run on a fresh lake and print what is in it; they are stored without outputs."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import nbformat
import pytest
from nbclient import NotebookClient

from flows import air, settings
from flows.engine.observe import RunObserver
from flows.engine.run import RunOptions
from flows.engine.run import run as run_flow
from flows.simulate.files import write_run
from flows.simulate.simulator import Simulation
from flows.simulate.truth import Truth
from sinks.catalog import catalog

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """A lake of ten hours with every trouble that fits, and the truth about it."""
    place = tmp_path_factory.mktemp("notebook")
    city = settings.load_city(None)
    start = datetime(2026, 11, 21, tzinfo=ZoneInfo(city.city.timezone))
    truth = write_run(Simulation(city, start, 0.4, 19, ("trouble",)), place / "day.ndjson").truth
    options = RunOptions(str(place / "day.ndjson"))
    run_flow(air.FLOW, city, options, place / "lake", place / "recovery", RunObserver())
    return place / "lake", truth


@pytest.fixture(scope="session")
def printed(simulated: tuple[Path, Truth]) -> str:
    """Everything that the first notebook prints and shows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CITYAIR_LAKE", str(simulated[0]))
        notebook = run(NOTEBOOKS / "01-first-look.ipynb")
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert not [output for output in outputs if output.get("name") == "stderr"]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def run(path: Path) -> Any:
    notebook = nbformat.read(path, as_version=4)
    # jupyter_client knows the Python it runs in as "python3", whether or not a kernel is registered.
    return NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()


def test_it_prints_what_the_lake_holds(printed: str, simulated: tuple[Path, Truth]) -> None:
    lake, truth = simulated
    with catalog.connect(lake) as con:
        [stations, readings] = con.sql("SELECT count(DISTINCT station_id), count(*) FROM air_readings").fetchone()
    assert (stations, readings) == (48, truth.totals.readings)
    assert f"48 stations, {readings:,} readings, most of 2026-11-21" in printed


def test_it_prints_what_was_refused(printed: str, simulated: tuple[Path, Truth]) -> None:
    totals = simulated[1].totals
    refused = {reason: count for reason, count in totals.refused.items() if count}
    assert refused
    for reason, count in refused.items():
        assert re.search(rf"^ *{count:,} {reason} ", printed, re.MULTILINE), reason
    assert f"{totals.lines:,} received = {totals.readings:,} stored + {sum(refused.values()):,} refused" in printed


def test_it_finds_the_stuck_sensor(printed: str, simulated: tuple[Path, Truth]) -> None:
    [stuck] = [event for event in simulated[1].events if event.scenario == "stuck"]
    assert f"{stuck.station_ids[0]}: " in printed
    assert "suspect by flat_line" in printed


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
