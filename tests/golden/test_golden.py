"""Stores that earlier versions wrote resume: to the rows, messages and books of a run that was never stopped."""

import json
import pickle
import sqlite3
from pathlib import Path

import pytest

from sinks.catalog import catalog
from sinks.maintenance.audit import audit
from tests.chaos.compare import NEWEST, first_difference
from tests.golden import scenario

STORES = [path.name.removesuffix(".tar.gz") for path in sorted(scenario.HERE.glob("store-*.tar.gz"))]
COMPARED = NEWEST | {
    "cai": "* EXCLUDE (revision, dt)",
    "aqi": "* EXCLUDE (revision, dt)",
    "light_states": "* EXCLUDE dt",
    "alerts": "* EXCLUDE dt",
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    scenario.prepare(folder)
    scenario.play(folder)
    return folder


@pytest.mark.parametrize("name", STORES)
def test_an_older_store_resumes_to_what_an_undisturbed_run_gives(name, undisturbed, tmp_path):
    folder = scenario.unpack(name, tmp_path)
    scenario.play(folder)
    assert audit(folder / "lake").faults == []
    with catalog.connect(undisturbed / "lake") as calm, catalog.connect(folder / "lake") as resumed:
        for view, columns in COMPARED.items():
            one, other = (
                con.execute(f"SELECT {columns} FROM {view} ORDER BY ALL").to_arrow_table() for con in (calm, resumed)
            )
            assert one.num_rows, f"{view} is empty: nothing was proved"
            assert one.equals(other), f"{view}: {first_difference(one, other)}"
    for file in sorted((undisturbed / "out").glob("*.ndjson")):
        assert file.read_bytes() == (folder / "out" / file.name).read_bytes(), file.name


@pytest.mark.parametrize("name", STORES)
def test_a_golden_store_holds_what_is_hard_to_resume(name, tmp_path):
    folder = scenario.unpack(name, tmp_path)
    state = _newest(folder / "store" / "air", "air.grid")["state"]
    assert len(state["held"]) == 1, "a late reading"
    assert len(state["waiting"]["texts"]) == 1, "an early one"
    assert state["watch"]["alerts"]["official", "pm10"]["stage"] == 1, "an advisory in force"
    assert state["watch"]["messages"], "an operator's text"
    ozone = state["ozone"] if state["v"] == 1 else [json.loads(state["analyses"]["ozone_hours"]["meta"])]
    assert any(part["newest"] for part in ozone), "hours behind the regression"
    assert _newest(folder / "store" / "air", "air.lake")["pending"], "files that are not committed"


def _newest(store: Path, step: str):
    query = "SELECT ser_change FROM snaps WHERE step_id = ? ORDER BY snap_epoch DESC LIMIT 1"
    with sqlite3.connect(store / "part-0.sqlite3") as con:
        return pickle.loads(con.execute(query, [step]).fetchone()[0])
