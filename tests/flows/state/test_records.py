"""Records of people in a zone's state against a plain list: taken once, at their slots, forgotten, restored."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from flows.state.records import Records
from schemas.slots import NEVER
from tests.support.records import ACK, REPORT, ack, report


def restarted(records, kinds=(REPORT,)):
    again = Records(kinds)
    again.restore(pickle.loads(pickle.dumps(records.snapshot())))
    return again


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["record", "record", "record", "forget", "restart"]), st.integers(0, 40), st.integers(0, 9)
    ),
    max_size=40,
)


@given(STEPS, st.integers(-5, 45), st.integers(-5, 45))
def test_records_are_those_of_a_list(steps, after, until):
    records, listed, gone = Records([REPORT]), {}, 0
    for step, slot, number in steps:
        name = f"r-{number}"
        if step == "record" and slot >= gone:  # what lies before is too late, and never comes here
            taken = records.take(slot, report(name))
            assert taken == (name not in listed)
            if taken:
                records.put(slot, report(name))
                listed[name] = slot
        elif step == "forget":
            gone = max(gone, slot)
            records.forget(gone)
            listed = {name: slot for name, slot in listed.items() if slot >= gone}
        elif step == "restart":
            records = restarted(records)
    assert records.newest == max(listed.values(), default=NEVER)
    expected = sorted((slot, name) for name, slot in listed.items() if after < slot <= until)
    found = [(slot, data.report_id) for slot, data in records.between(REPORT.topic, after, until)]
    assert found == expected


def test_an_id_that_was_forgotten_is_new():
    records = Records([REPORT])
    assert records.take(5, report("r-1"))
    records.forget(5)
    assert not records.take(9, report("r-1"))
    records.forget(6)
    assert records.take(9, report("r-1"))


def test_a_record_that_was_taken_has_no_effect_before_it_is_put():
    """One that is late is taken when it comes, and takes effect at the next firing."""
    records = Records([REPORT])
    records.take(5, report("r-1"))
    assert list(records.between(REPORT.topic, 0, 9)) == []
    again = restarted(records)
    assert not again.take(5, report("r-1"))
    again.put(5, report("r-1"))
    assert [slot for slot, _ in again.between(REPORT.topic, 0, 9)] == [5]


def test_only_what_may_be_retained_stays():
    records = Records([REPORT])
    records.put(5, report("r-1", text="my neighbour at number 7"))
    [(_, data)] = records.between(REPORT.topic, 0, 9)
    assert (data.report_id, data.lat, data.text) == ("r-1", 35.2, "")
    assert b"neighbour" not in pickle.dumps(records.snapshot())


def test_each_kind_has_ids_of_its_own_and_one_that_is_gone_is_dropped():
    records = Records([REPORT, ACK])
    answer = ack("r-1")
    assert records.take(5, report("r-1"))
    assert records.take(6, answer)
    records.put(6, answer)
    assert list(records.between(REPORT.topic, 0, 9)) == []
    assert list(records.between(ACK.topic, 0, 9)) == [(6, answer.data)]
    assert list(restarted(records, (REPORT, ACK)).between(ACK.topic, 0, 9)) == [(6, answer.data)]
    assert restarted(records).snapshot().keys() == {REPORT.topic}
