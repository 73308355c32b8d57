"""Records of people among readings: told by their id field, each refused for itself."""

import numpy as np
import pytest

from flows.decode.batch import NO_INSTRUMENT
from flows.decode.decoder import Decoder
from schemas.measured import AIR, Recorded
from schemas.odor import OdorReport
from tests.support.messages import GOOD, MARCH

REPORTS = Recorded("env.odor.report.v1", "odor_reports", "report_id", "reported_at", OdorReport)
REPORT = b'{"report_id":"r-1","reported_at":"2026-03-01T09:00:00+09:00","lat":35.2,"lon":128.9}'


@pytest.fixture
def decoder():
    return Decoder(AIR, ["a"], [[-999.0]] * len(AIR.gridded), [REPORTS])


def test_a_record_stands_in_its_place_among_readings(decoder):
    readings, rejects, lines = decoder.lines(0, 5, b"".join(line + b"\n" for line in (GOOD, REPORT, GOOD)))
    assert (lines, rejects) == (3, [])
    assert readings.offset.tolist() == [5, 6, 7]
    assert readings.station.tolist() == [0, NO_INSTRUMENT, 0]
    assert readings.observed.tolist() == [MARCH] * 3
    assert [record and record.id for record in readings.records.tolist()] == [None, "r-1", None]
    assert np.isnan(readings.values[1]).all()


@pytest.mark.parametrize(
    ("payload", "reason", "detail"),
    [
        (REPORT.replace(b"35.2", b"95"), "contract", "$.lat"),
        (REPORT[:-1] + b',"text":"\xff"}', "undecodable", "utf-8"),
        (REPORT[:-1] + b',"text":' + b"[" * 100_000, "undecodable", "recursion"),
        (REPORT[:-1], "undecodable", "truncated"),
        (REPORT[:-1] + b',"lat":35.3}', "contract", "Key stands twice - at `$.lat`"),
        (GOOD.replace(b"41.0", b"[]x"), "undecodable", "byte"),
        (b"[1]", "contract", "Expected `object`, got `array`"),
    ],
    ids=[
        "of another contract",
        "no text",
        "too deep",
        "cut off",
        "a key twice",
        "a reading broken behind a wrong value",
        "no object",
    ],
)
def test_a_message_that_is_no_record_costs_only_itself(decoder, payload, reason, detail):
    readings, rejects, _ = decoder.lines(0, 0, b"".join(line + b"\n" for line in (GOOD, payload, REPORT)))
    assert readings.offset.tolist() == [0, 2]
    assert [(reject.offset, reject.reason, reject.payload) for reject in rejects] == [(1, reason, payload[: 64 << 10])]
    assert detail in rejects[0].detail
