"""Messages to readings and rejects, without a broker: runs of one partition, decoded at once and parted again."""

import json

import numpy as np
import pytest
from confluent_kafka import KafkaError

from flows import air
from flows.sources.kafka.records import MessageRun, RecordDecoder, runs_of
from schemas.measured import AIR
from schemas.rejected import MAX_MESSAGE_BYTES
from tests.support.kafka import end, error, message

FUTURE_US = 300_000_000
AT_MS = 1_772_323_260_000
"""2026-03-01T00:01:00Z"""


@pytest.fixture(scope="module")
def decode(make_city):
    """Decodes runs of messages, each with the index of its partition: offsets, and offset and reason of rejects."""
    decoder = RecordDecoder(air.decoder(make_city()), FUTURE_US)

    def run(*runs):
        return decoder.decode(
            [
                (part, MessageRun(messages, np.array([one.timestamp()[1] for one in messages])))
                for part, messages in runs
            ]
        )

    return run


def reading(station="a", **fields):
    return json.dumps({"station_id": station, "observed_at": "2026-03-01T00:01:00Z", "pm10": 1.0} | fields).encode()


def shape(events, topics=1):
    return [[(one.topic(), one.partition(), one.offset()) for one in run.messages] for run in runs_of(events, topics)]


class TestRuns:
    def test_messages_of_one_partition_are_one_run(self):
        events = [message(offset) for offset in (3, 4, 9)]
        [run] = runs_of(events, 1)
        assert run.messages is events, "nothing is copied"
        assert run.stamps.tolist() == [0, 0, 0]

    def test_another_partition_begins_another_run(self):
        events = [message(0), message(1), message(0, partition=1), message(2)]
        assert [len(run) for run in shape(events)] == [2, 1, 1]

    def test_topics_are_told_apart_where_there_are_several(self):
        events = [message(0, topic="x"), message(1, topic="x"), message(2, topic="y")]
        assert shape(events, topics=2) == [[("x", 0, 0), ("x", 0, 1)], [("y", 0, 2)]]

    def test_an_error_event_is_a_run_of_its_own(self):
        events = [message(0), end(1), end(1), message(1), error(KafkaError._TRANSPORT)]
        assert [len(run) for run in shape(events)] == [1, 1, 1, 1, 1]

    def test_messages_without_a_stamp_are_no_errors(self):
        assert [len(run) for run in shape([message(0, stamp_ms=None), message(1, stamp_ms=None)])] == [2]

    def test_nothing_is_no_run(self):
        assert shape([]) == []


class TestDecode:
    def test_runs_of_partitions_are_parted_again(self, decode):
        runs = decode(
            (2, [message(7, reading(), stamp_ms=AT_MS), message(9, b"{", stamp_ms=AT_MS)]),
            (0, [message(1, reading(), stamp_ms=AT_MS)]),
            (2, [message(10, reading(), stamp_ms=AT_MS)]),
        )
        assert [(r.part.tolist(), r.offset.tolist()) for r, _ in runs] == [([2], [7]), ([0], [1]), ([2], [10])]
        assert [[(of.part, of.offset, of.reason) for of in rejects] for _, rejects in runs] == [
            [(2, 9, "undecodable")],
            [],
            [],
        ]

    def test_a_reading_stamped_past_its_message_is_refused_with_what_came(self, decode):
        early = AT_MS - 300_001
        headers = [("origin", b"gateway")]
        [(readings, [reject])] = decode(
            (
                0,
                [
                    message(4, reading(), stamp_ms=early, headers=headers),
                    message(5, reading(), stamp_ms=AT_MS - 300_000),
                ],
            )
        )
        assert readings.offset.tolist() == [5]
        assert (reject.offset, reject.reason, reject.payload) == (4, "future", reading())
        assert (reject.envelope.key, reject.envelope.headers) == (b"k", (("origin", b"gateway"),))
        assert reject.detail.startswith("stamped 5.0 min past its message's time stamp")

    def test_one_bad_cell_costs_its_value_and_no_neighbour(self, decode):
        odd = [
            reading(pm25="<2.0"),
            reading(),
            reading(pm10="통신장애"),
            reading(pm10="34.2#", temperature=-999, o3=0.03),
        ]
        [(readings, [reject])] = decode((0, [message(i, odd[i], stamp_ms=AT_MS) for i in range(4)]))
        assert (reject.offset, reject.reason) == (2, "contract")
        assert readings.offset.tolist() == [0, 1, 3]
        assert [note and note.text for note in readings.notes.tolist()] == [
            'pm25: "<2.0" is no number',
            None,
            'pm10: "34.2#" is no number',
        ]
        assert np.isnan(readings.values[2, AIR.values.index("temperature")])

    @pytest.mark.parametrize("stamp", ["", " "])
    def test_an_empty_time_is_no_time_first_in_a_batch_or_last(self, decode, stamp):
        for places in ([0], [1], [0, 1]):
            values = [reading(observed_at=stamp) if i in places else reading() for i in range(2)]
            [(readings, rejects)] = decode((0, [message(i, v, stamp_ms=AT_MS) for i, v in enumerate(values)]))
            assert [(reject.offset, reject.reason) for reject in rejects] == [(i, "contract") for i in places]
            assert len(readings) == 2 - len(places)

    def test_without_a_stamp_nothing_is_compared(self, decode):
        [(readings, rejects)] = decode((0, [message(0, reading(observed_at="2036-03-01T00:01:00Z"), stamp_ms=None)]))
        assert (len(readings), rejects) == (1, [])

    @pytest.mark.parametrize("odd", [None, b"", b"two\nlines", b" " * (MAX_MESSAGE_BYTES + 1)])
    def test_an_odd_message_costs_only_itself(self, decode, odd):
        [(readings, [reject])] = decode(
            (0, [message(i, value, stamp_ms=AT_MS) for i, value in enumerate([reading(), odd, reading()])])
        )
        assert readings.offset.tolist() == [0, 2]
        assert (reject.offset, reject.payload) == (1, odd or b"")

    def test_payloads_and_envelopes_are_found_again_by_row(self, decode):
        messages = [
            message(0, b"{", key=None, stamp_ms=AT_MS),
            message(1, reading(pm25=2.0), key=b"first", headers=[("null", None)], stamp_ms=AT_MS),
            message(2, reading(pm25=3.0), key=b"second", stamp_ms=AT_MS),
        ]
        [(readings, _)] = decode((0, messages))
        assert readings.payloads.take([1, 0]) == [reading(pm25=3.0), reading(pm25=2.0)]
        assert [envelope.key for envelope in readings.payloads.envelopes([1, 0])] == [b"second", b"first"]
        assert readings.payloads.envelopes([0])[0].headers == (("null", None),)

    def test_no_runs_decode_to_nothing(self, decode):
        assert decode() == []
