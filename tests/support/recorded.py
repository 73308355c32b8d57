"""Recorded air, which does not ship with the repository.

A test that reads it bears ``@pytest.mark.data("seoul/readings_2017.tsv.gz")``, with every file or folder that it reads.
``tests/support/run_rules.py`` leaves it out where one is missing.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CITYAIR_DATA", ROOT.parent / "shared" / "data"))
"""Folder of the recordings: that of ``CITYAIR_DATA``, or ``shared/data`` beside the checkout."""
SEOUL = "seoul/readings_2017.tsv.gz"
"""25 stations by the hour, from January to October."""
VECTORS = ROOT / "tests" / "vectors"
"""Folder of the few rows that do ship."""
REMEDY = "CITYAIR_DATA names the folder of the recordings; config/maps/ says of each what it is"


def missing(paths: Iterable[str]) -> list[str]:
    """Files and folders among these that are not in ``DATA``."""
    return [path for path in paths if not (DATA / path).exists()]


def seoul_month(month="2017-05"):
    """Hours of a month of Seoul, as recorded: (hours, stations, so2 no2 co o3 pm10 pm25); NaN where nothing was."""
    table = pd.read_csv(DATA / SEOUL, sep="\t", header=None, na_values=["null"], parse_dates=[0])
    rows = table[table[0].dt.strftime("%Y-%m") == month].groupby([0, 1]).first()
    hours = pd.date_range(f"{month}-01", periods=pd.Period(month).days_in_month * 24, freq="h")
    stations = rows.index.unique(level=1)
    values = rows.reindex(pd.MultiIndex.from_product([hours, stations])).to_numpy()
    values = values.reshape(len(hours), len(stations), 6)
    values[values < 0] = np.nan
    return values
