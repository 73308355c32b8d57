"""Partitions by name: an index means the same after any list that a source may give, and after a resume."""

import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from flows.decode.batch import InputPartition
from flows.zone.partitions import Partitions

ALL = [InputPartition(topic, number) for topic in ("air", "reports") for number in range(3)]


@given(st.lists(st.tuples(st.lists(st.sampled_from(ALL), min_size=1, unique=True), st.booleans()), max_size=8))
def test_an_index_keeps_its_meaning(lists):
    partitions, before = Partitions(), []
    for parts, restart in lists:
        part = np.arange(len(parts), dtype=np.int32)[::-1]
        translated = partitions.translate(part, parts)
        assert [partitions.known[i] for i in translated.tolist()] == parts[::-1]
        assert partitions.known[: len(before)] == before, "those known before stand where they stood"
        assert len(set(partitions.known)) == len(partitions.known)
        before = list(partitions.known)
        if restart:
            kept, partitions = pickle.dumps(partitions.snapshot()), Partitions()
            partitions.restore(pickle.loads(kept))
            assert partitions.known == before


def test_a_source_that_numbers_as_we_do_costs_nothing():
    partitions, part = Partitions(), np.array([0, 1, 1], np.int32)
    assert partitions.translate(part, ALL[:2]) is part
    assert partitions.translate(part, ALL[:3]) is part, "its list only grew"
    assert partitions.known == ALL[:3]


def test_no_readings_of_no_partitions():
    partitions = Partitions()
    assert partitions.translate(np.empty(0, np.int32), []).size == 0
    partitions.translate(np.zeros(1, np.int32), ALL[:1])
    assert partitions.translate(np.empty(0, np.int32), []).size == 0, "a batch that brings only the input's end"
    assert partitions.known == ALL[:1]
