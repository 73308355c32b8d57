"""Stores that earlier versions wrote resume: to the rows, messages and books of a run that was never stopped."""

import json
import pickle
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from sinks.catalog import catalog
from sinks.maintenance.audit import audit
from tests.chaos.compare import NEWEST, first_difference
from tests.golden import scenario

STORES = [path.name.removesuffix(".tar.gz") for path in sorted(scenario.HERE.glob("store-*.tar.gz"))]
LIGHTS = "env.light.state.v1.ndjson"
COMPARED = NEWEST | {
    "rolling": NEWEST["rolling"].removesuffix(", why_invalid"),  # older stores did not say
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
    later = newest_state(folder) + timedelta(hours=1)
    scenario.play(folder)
    assert audit(folder / "lake").faults == []
    with catalog.connect(undisturbed / "lake") as calm, catalog.connect(folder / "lake") as resumed:
        for view, columns in COMPARED.items():
            chosen = f"WHERE as_of >= '{later}'" if view == "light_states" else ""
            query = f"SELECT {columns} FROM {view} {chosen} ORDER BY ALL"
            one, other = (con.execute(query).to_arrow_table() for con in (calm, resumed))
            assert one.num_rows, f"{view} is empty: nothing was proved"
            assert one.equals(other), f"{view}: {first_difference(one, other)}"
    for file in sorted((undisturbed / "out").glob("*.ndjson")):
        resumed_file = folder / "out" / file.name
        if file.name == LIGHTS:
            assert states_since(file, later) == states_since(resumed_file, later)
        else:
            assert file.read_bytes() == resumed_file.read_bytes(), file.name


def states_since(file, since):
    """States of lights from a time on: an hour after a run was stopped.

    What was shown before is history. Older stores had decided it without readings that were late, and did not know the
    weather of the hour that was going on.
    """
    states = [json.loads(line) for line in file.read_text().splitlines()]
    later = [state for state in states if datetime.fromisoformat(state["as_of"]) >= since]
    assert len(later) > 10, "nothing was proved"
    return later


def newest_state(folder):
    """Time of the newest state of any light."""
    lines = (folder / "out" / LIGHTS).read_text().splitlines()
    return max(datetime.fromisoformat(json.loads(line)["as_of"]) for line in lines)


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
