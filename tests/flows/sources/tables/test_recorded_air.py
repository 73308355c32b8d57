"""The shipped maps on the files they were written for, against pandas."""

import numpy as np
import pandas as pd
import pytest

from flows import air
from flows.sources.files.source import open_input
from flows.sources.tables.column_map import load_map
from schemas.city import parse
from schemas.measured import AIR
from tests.support.recorded import DATA


@pytest.fixture(scope="module")
def recorded():
    """Read a file with a map; a frame of AIR.values by (station, observed), the status, and the counts."""

    def run(path, name, stations):
        places = "".join(f'[[stations]]\nid = "{s}"\nlat = 35\nlon = 128\nevery = "1h"\n' for s in stations)
        city = parse(f'[city]\nid = "t"\nname = "T"\ntimezone = "UTC"\n{places}'.encode())
        part = open_input(str(DATA / path), name, air.decoder(city), lambda: False, lambda: 7).build_part("", "", None)
        batches = []
        while True:
            try:
                batches += [batch for _, batch in part.next_batch()]
            except StopIteration:
                break
        rejects = [reject for batch in batches for reject in batch.rejects]
        readings = [batch.readings for batch in batches]
        frame = pd.DataFrame(np.concatenate([r.values for r in readings]), columns=list(AIR.values))
        frame["station"] = np.array(stations)[np.concatenate([r.station for r in readings])]
        frame["at"] = pd.to_datetime(np.concatenate([r.observed for r in readings]), unit="us", utc=True)
        frame["bad"] = np.concatenate([r.status.any(axis=1) for r in readings])
        return frame, rejects

    return run


def compare(frame, expected):
    keys = ["station", "at"]
    columns = [*keys, *(name for name in AIR.values if name in expected)]
    left = frame[columns].sort_values(keys, kind="stable").reset_index(drop=True)
    right = expected[columns].sort_values(keys, kind="stable").reset_index(drop=True)
    assert (left["station"].to_numpy() == right["station"].to_numpy()).all()
    assert (left["at"] - right["at"]).abs().max() == pd.Timedelta(0)
    for name in columns[2:]:
        np.testing.assert_allclose(left[name], right[name].astype(float), rtol=1e-12, err_msg=name)
    assert frame[[name for name in AIR.values if name not in expected]].isna().all().all()


@pytest.mark.data("seoul/readings_2017.tsv.gz")
def test_seoul(recorded):
    names = ["time", "station", "so2", "no2", "co", "o3", "pm10", "pm25"]
    raw = pd.read_csv(
        DATA / "seoul/readings_2017.tsv.gz", sep="\t", names=names, na_values=["null", "-1"], dtype={"station": str}
    )
    frame, rejects = recorded("seoul/readings_2017.tsv.gz", "seoul", [f"seoul-{i}" for i in range(101, 126)])
    assert not rejects
    assert len(frame) == 174_763
    raw["station"] = "seoul-" + raw["station"]
    raw["at"] = pd.to_datetime(raw["time"].str.strip(), format="%Y-%m-%d %H:%M").dt.tz_localize("Asia/Seoul")
    compare(frame, raw)


@pytest.mark.data("seoul/status_2017-01.csv.gz")
def test_seoul_status(recorded):
    raw = pd.read_csv(DATA / "seoul/status_2017-01.csv.gz", dtype={"Station code": str})
    frame, rejects = recorded("seoul/status_2017-01.csv.gz", "seoul-status", [f"seoul-{i}" for i in range(101, 126)])
    assert not rejects
    assert len(frame) == 1000
    value = raw["Average value"].where(raw["Average value"] != -1)
    item = raw["Item code"].map({1: "so2", 3: "no2", 5: "co", 6: "o3", 8: "pm10", 9: "pm25"})
    wide = raw.assign(value=value, item=item).pivot_table(
        index=["Station code", "Measurement date"], columns="item", values="value", aggfunc="first", dropna=False
    )
    wide = wide.reset_index().rename(columns={"Station code": "station"})
    wide["station"] = "seoul-" + wide["station"]
    wide["at"] = pd.to_datetime(wide["Measurement date"], format="%d-%m-%Y %H:%M").dt.tz_localize("Asia/Seoul")
    compare(frame, wide)
    faulty = raw[raw["Instrument status"] != 0]
    assert len(faulty) == 73
    assert frame["bad"].sum() == len(faulty.drop_duplicates(["Station code", "Measurement date"]))


@pytest.mark.data("busan")
def test_busan(recorded):
    raw = pd.read_csv(DATA / "busan/choryang_2012-2021.csv.gz", na_values=[-999], dtype={"Date": str})
    frame, rejects = recorded("busan", "airkorea-year", ["busan-choryang"])
    assert not rejects
    raw["station"] = "busan-choryang"
    day = pd.to_datetime(raw["Date"].str[:8], format="%Y%m%d")
    raw["at"] = (day + pd.to_timedelta(raw["Date"].str[8:].astype(int), unit="h")).dt.tz_localize("Asia/Seoul")
    compare(frame, raw.rename(columns=str.lower))


@pytest.mark.data("beijing")
def test_beijing(recorded):
    raw = pd.read_csv(DATA / "beijing/PRSA_Data_Dongsi_20130301-20170228.csv.gz")
    frame, rejects = recorded("beijing/PRSA_Data_Dongsi_20130301-20170228.csv.gz", "beijing", ["beijing-dongsi"])
    assert not rejects
    raw = raw.assign(
        station="beijing-dongsi",
        at=pd.to_datetime(raw[["year", "month", "day", "hour"]]).dt.tz_localize("Asia/Shanghai"),
        pm10=raw["PM10"], pm25=raw["PM2.5"], temperature=raw["TEMP"],
    )  # fmt: skip
    for gas, mass in (("SO2", 64.066), ("NO2", 46.006), ("CO", 28.010), ("O3", 48.000)):
        np.testing.assert_allclose(frame[gas.lower()], raw[gas] * 22.414 / mass / 1000, rtol=1e-7)
    gases = ["so2", "no2", "co", "o3"]
    compare(frame.drop(columns=gases).assign(**dict.fromkeys(gases, np.nan)), raw)


@pytest.mark.data("toucan")
def test_toucan(recorded):
    frame, rejects = recorded("toucan", "toucan", [f"toucan-0{i}" for i in (1, 2, 3)])
    assert not rejects
    raws = []
    for i in (1, 2, 3):
        raw = pd.read_csv(DATA / f"toucan/RT0{i}.csv.gz", skiprows=6, skip_blank_lines=False)
        raws.append(raw.assign(station=f"toucan-0{i}"))
    raw = pd.concat(raws)
    raw["at"] = pd.to_datetime(raw["Time"], format="%m/%d/%Y %H:%M").dt.tz_localize("America/New_York")
    raw["no2"], raw["o3"], raw["pm25"] = raw["NO2 (ppb)"] * 0.001, raw["O3 (ppb)"] * 0.001, raw["PM2.5 (µg/m³)"]
    compare(frame, raw.assign(temperature=raw["TEMP (°C)"], humidity=raw["RH (%)"]))
    tables = load_map("toucan").parameters
    limits = parse(b'stations = []\n[city]\nid = "t"\nname = "T"\ntimezone = "UTC"').with_parameters(tables).limits()
    for name, limit in zip(AIR.gridded, limits, strict=True):
        lowest, highest = frame[name].min(), frame[name].max()
        assert not lowest < limit.fail[0], f"{name} is noisy about nought, and its lower side must not be cut"
        assert not highest > limit.fail[1], name


@pytest.mark.data("purpleair")
def test_purpleair(recorded):
    raw = pd.read_csv(DATA / "purpleair/pat_2018-08.csv.gz")
    frame, rejects = recorded("purpleair", "purpleair", ["purpleair-1"])
    assert not rejects
    raw["station"], raw["at"] = "purpleair-1", pd.to_datetime(raw["datetime"] + 60, unit="s", utc=True)
    raw["pm25"] = raw[["pm25_A", "pm25_B"]].mean(axis=1)
    raw["pm10"] = raw[["pm10_atm_A", "pm10_atm_B"]].mean(axis=1)
    compare(frame, raw.assign(temperature=(raw["temperature"] - 32) * 5 / 9))


@pytest.mark.data("pittsburgh")
def test_pittsburgh_joins_feeds_of_one_place(recorded):
    stations = ["avalon", "north-braddock", "flag-plaza", "glassport", "lawrenceville", "liberty", "parkway-east",
                "39th-street-airnow", "south-allegheny-airnow", "parkway-east-airnow"]  # fmt: skip
    frame, rejects = recorded("pittsburgh", "pittsburgh", [f"pittsburgh-{name}" for name in stations])
    assert not rejects
    assert len(frame) == 215_415
    assert set(frame["at"].dt.minute) == {0}
    of = frame[frame["station"] == "pittsburgh-liberty"]
    assert list(of.drop(columns=["station", "at", "bad"]).notna().any().loc[lambda has: has].index) == [
        "pm10",
        "pm25",
        "so2",
    ]
