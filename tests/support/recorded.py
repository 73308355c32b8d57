"""Recorded air, which does not ship with the repository: where it lies, and what a test without it says.

A test that reads it bears ``@pytest.mark.data``, or ``@pytest.mark.data("seoul/readings_2017.tsv.gz")`` if it reads
that file alone; ``pytest -m data`` runs these tests, and they are skipped where the data is missing.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CITYAIR_DATA", ROOT.parent / "shared" / "data"))
"""Folder of the recordings: that of ``CITYAIR_DATA``, or ``shared/data`` beside the checkout."""


def reason_to_skip(paths: tuple[str, ...]) -> str | None:
    """Why a test of these recordings (all of them, if none is named) cannot run; None if it can."""
    missing = [str(DATA / path) for path in paths or ("",) if not (DATA / path).exists()]
    return f"no recorded air at {', '.join(missing)}; CITYAIR_DATA names its folder" if missing else None
