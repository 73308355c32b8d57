"""Flows as processes of their own, told by programs of one line: their output, their faults, and signals to all."""

import json
import os
import signal
import sys

import pytest

from flows.engine.side_by_side import INTERRUPTED, run_side_by_side, worst


def programs(**sources):
    """Commands that run Python text, by the name of the flow."""
    return lambda name: [sys.executable, "-S", "-c", sources[name]]


def ran(capsys, *, as_json=False, **sources):
    """Exit status, and what was printed on stdout and on stderr."""
    status = run_side_by_side(list(sources), programs(**sources), as_json=as_json)
    out, err = capsys.readouterr()
    return status, out, err.splitlines()


def test_each_line_on_stderr_bears_the_name_of_its_flow(capsys):
    say = "import sys; print('{} readings', file=sys.stderr); print('second', file=sys.stderr)"
    status, out, err = ran(capsys, air=say.format(7), odor=say.format(9))
    assert (status, out) == (0, "")
    assert sorted(err) == ["air: 7 readings", "air: second", "odor: 9 readings", "odor: second"]


def test_what_flows_print_as_json_is_one_object(capsys):
    status, out, _ = ran(
        capsys, as_json=True, odor="print('{\"received\": 2}')", air="print('{\"received\": 1}')", silent="pass"
    )
    assert status == 0
    assert list(json.loads(out)) == ["odor", "air", "silent"], "in the order in which they were named"
    assert json.loads(out) == {"odor": {"received": 2}, "air": {"received": 1}, "silent": None}


def test_a_flow_that_fails_stops_no_other(capsys):
    status, out, err = ran(
        capsys, as_json=True, air="raise SystemExit(3)", odor="import time; time.sleep(0.3); print('{\"received\": 2}')"
    )
    assert status == 3
    assert json.loads(out) == {"air": None, "odor": {"received": 2}}
    assert "air: ended with exit status 3" in err


def test_a_process_that_dies_is_a_fault_of_ours(capsys):
    status, _, err = ran(capsys, air="import os; os.kill(os.getpid(), 9)", odor="pass")
    assert (status, err) == (1, ["air: ended with exit status -9"])


PATIENT = """
import signal, sys, time
def stop(*_):
    print("stops", file=sys.stderr)
    raise SystemExit({status})
signal.signal(signal.SIGTERM, stop)
print("listens", file=sys.stderr, flush=True)
{more}
time.sleep(60)
"""
TELLS_PARENT = """
import os
while not os.path.exists({path!r}):
    time.sleep(0.01)
os.kill(os.getppid(), signal.SIGTERM)
"""


def two_patient(tmp_path, status):
    """Two flows that listen to signals; once both do, the first one sends one to its parent. The second ends so."""
    path = str(tmp_path / "listens")
    return {
        "air": PATIENT.format(status=INTERRUPTED, more=TELLS_PARENT.format(path=path)),
        "odor": PATIENT.format(status=status, more=f"open({path!r}, 'w').close()"),
    }


def test_a_signal_goes_to_every_flow(capsys, tmp_path):
    """It stops a process that has not begun to listen, too; and afterwards signals go where they went."""
    before = signal.getsignal(signal.SIGTERM)
    status, _, err = ran(capsys, **two_patient(tmp_path, INTERRUPTED), slow="import time; time.sleep(60)")
    assert status == INTERRUPTED
    assert sorted(err) == ["air: listens", "air: stops", "odor: listens", "odor: stops"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_fault_is_worse_than_an_interruption(capsys, tmp_path):
    status, _, err = ran(capsys, **two_patient(tmp_path, 4))
    assert status == 4
    assert "odor: ended with exit status 4" in err


def test_a_command_that_cannot_be_started_takes_the_others_with_it(capsys):
    before, running = signal.getsignal(signal.SIGINT), f"import time; time.sleep(60)  # of {os.getpid()}"

    def command(name):
        return [sys.executable, "-S", "-c", running] if name == "air" else ["/nowhere/cityair"]

    with pytest.raises(FileNotFoundError):
        run_side_by_side(["air", "odor"], command, as_json=False)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [([], 0), ([0, 0], 0), ([0, 130], 130), ([2, 130, 3], 3), ([-9, 0], 1), ([-9, 5], 5), ([-signal.SIGINT, 0], 130)],
)
def test_the_worst_of_exit_statuses(statuses, expected):
    assert worst(statuses) == expected
