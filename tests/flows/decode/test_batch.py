"""Readings taken, cut and joined keep the bytes that they came in, and their envelopes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.decode.batch import InMemory, Readings, concatenate
from schemas.rejected import Envelope


def some_readings(first, n):
    texts = [b"reading %d" % (first + i) for i in range(n)]
    envelopes = [Envelope(b"key %d" % (first + i), ()) for i in range(n)]
    return Readings(
        np.arange(first, first + n, dtype=np.int32),
        np.arange(n),
        np.zeros((n, 8), order="F"),
        np.zeros((n, 6), np.uint8),
        np.zeros(n, np.int32),
        np.arange(n),
        InMemory(texts, envelopes),
    )


@st.composite
def journeys(draw):
    """Runs of readings, and what is done to them on the way."""
    runs = [some_readings(100 * i, draw(st.integers(0, 5))) for i in range(draw(st.integers(1, 4)))]
    for _ in range(draw(st.integers(0, 6))):
        i = draw(st.integers(0, len(runs) - 1))
        match draw(st.sampled_from(["take", "mask", "slice", "join"])):
            case "take":
                n = len(runs[i])
                runs[i] = runs[i].take(np.array(draw(st.lists(st.integers(0, n - 1))) if n else [], np.int64))
            case "mask":
                n = len(runs[i])
                runs[i] = runs[i].take(np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool))
            case "slice":
                begin = draw(st.integers(0, len(runs[i])))
                runs[i] = runs[i].slice(begin, draw(st.integers(begin, len(runs[i]) + 2)))
            case "join":
                runs = [*runs[:i], concatenate(runs[i:])]
    return concatenate(runs)


@given(journeys(), st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_each_row_keeps_its_own(readings, random):
    rows = random.choices(range(len(readings)), k=len(readings) + 3) if len(readings) else []
    named = readings.station.tolist()
    for asked in (rows, np.array(rows, np.int64)):
        assert readings.payloads.take(asked) == [b"reading %d" % named[row] for row in rows]
        assert readings.payloads.envelopes(asked) == [Envelope(b"key %d" % named[row], ()) for row in rows]
