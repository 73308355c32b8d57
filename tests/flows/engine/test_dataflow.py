"""The dataflow of a flow: the names of its steps, which recovery stores know, and what comes out at its edges."""

import json
from collections import Counter

import pytest
from bytewax.testing import TestingSink, TestingSource, run_main

from flows.air import FLOW
from flows.decode.batch import InputPartition, OffsetRange, SideBatch, SourceBatch, no_readings
from flows.engine.dataflow import Edges, build
from schemas.rejected import Reject
from tests.support.zones import START, steady

PARTS = [InputPartition("env.air.reading.v1", 0)]
ALWAYS = {"input", "arrivals", "by_zone", "grid", "receipts", "landings", "lake_rows", "to_lake", "lake"}


def step_names(dataflow):
    assert {step.step_id.split(".")[0] for step in dataflow.substeps} == {"air"}
    return {step.step_id.split(".")[1] for step in dataflow.substeps}


def empty():
    return TestingSource([])


@pytest.mark.parametrize(
    ("edges", "more"),
    [
        ({}, set()),
        ({"topics": TestingSink([])}, {"messages", "topics"}),
        (
            {"topics": TestingSink([]), "dead_letters": True},
            {"messages", "topics", "all_input", "dead_letters", "all_outgoing"},
        ),
        ({"side": empty()}, {"words", "words_by_zone", "said_or_measured"}),
    ],
)
def test_steps_have_the_names_that_deployed_stores_know(make_city, edges, more):
    dataflow = build(FLOW, make_city(), Edges(empty(), TestingSink([]), **edges))
    assert dataflow.flow_id == "air"
    assert step_names(dataflow) == ALWAYS | more


@pytest.fixture
def items(make_readings):
    """An hour of three stations in two items, with a line that is no message, and the end of the input."""
    rows = steady(("1m",) * 3, 1)
    broken = Reject(0, 180, "undecodable", "no JSON", b"{")
    return [
        ("input", SourceBatch(PARTS, 7, make_readings(rows[:90]), [], [OffsetRange(0, 0, 89, 90)])),
        ("input", SourceBatch(PARTS, 8, make_readings(rows[90:], 90), [broken], [OffsetRange(0, 90, 180, 91)])),
        ("input", SourceBatch(PARTS, 9, no_readings(), end_of_input=True)),
    ]


def played(city, items, **edges):
    """What the lake and the topics get."""
    lake, topics = [], []
    run_main(build(FLOW, city, Edges(TestingSource(items), TestingSink(lake), topics=TestingSink(topics), **edges)))
    assert {key for key, _ in lake} == {"lake"}
    return [deferred.build() for _, deferred in lake], topics


def test_every_message_is_accounted_for_and_every_row_lands(make_city, items):
    batches, topics = played(make_city(), items)
    dispositions = sum((batch.dispositions for batch in batches), Counter())
    assert dispositions == {(PARTS[0], "stored"): 180, (PARTS[0], "rejected"): 1}
    assert [offsets for batch in batches for _, offsets in batch.offsets] == [
        OffsetRange(0, 0, 89, 90),
        OffsetRange(0, 90, 180, 91),
    ]
    rows = Counter()
    for batch in batches:
        for table, arrow in batch.rows:
            rows[table] += arrow.num_rows
    assert (rows["air_readings"], rows["rejects"]) == (180, 1)
    assert rows["rolling"] == 3 * (6 + 6 + 6), "windows of ten minutes, one and two hours, at each of six steps"
    sent = [message for each in topics for message in each.messages]
    assert {each.topic for each in topics} == {"env.air.rolling.v1"}
    assert [message.id for message in sent] == [f"{s}:{START + t}" for t in range(600, 3601, 600) for s in "abc"]


def test_what_was_refused_goes_to_dead_letter_topics_where_they_are_wanted(make_city, items):
    words = SideBatch([InputPartition("env.light.message.v1", 0)], [], [Reject(0, 4, "contract", "no light", b"{}")])
    _, topics = played(make_city(), items, dead_letters=True, side=TestingSource([words]))
    dead = {each.topic: [message.id for message in each.messages] for each in topics if each.topic.endswith(".dlq")}
    assert dead == {
        "env.air.reading.v1.dlq": ["env.air.reading.v1:0:180"],
        "env.light.message.v1.dlq": ["env.light.message.v1:0:4"],
    }


def test_messages_are_those_of_the_city(make_city, items):
    _, topics = played(make_city(), items)
    message = topics[0].messages[0]
    assert dict(message.headers)["ce_source"] == b"/cityair/tiny/air"
    assert json.loads(message.value)["means"]["pm10"]["10m"] == {"mean": 20.0, "coverage": 1.0, "valid": True}
