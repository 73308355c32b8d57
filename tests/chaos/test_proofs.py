"""The table of proofs, and the status that a failed one gives."""

import sys

import pytest

from tests.chaos import proofs


@pytest.fixture
def two_proofs(monkeypatch):
    """One that holds, and one that does not; what they are given is kept."""
    extents = []

    def holds(extent):
        extents.append(extent)
        return True, ["3 kills: equal"]

    monkeypatch.setattr(proofs, "PROOFS", {"kills": holds, "outages": lambda extent: (False, ["restart: FAILED"])})
    return extents


def test_all_that_hold_end_with_0_and_a_table(two_proofs, capsys):
    assert proofs.main(["kills", "--seed", "7", "--kills", "3"]) == 0
    [extent] = two_proofs
    assert (extent.seed, extent.kills, extent.lines) == (7, 3, proofs.LINES)
    head, row, total = capsys.readouterr().out.splitlines()
    assert head.split() == ["proof", "seed", "time", "result", "what", "was", "seen"]
    assert row.split() == ["kills", "7", "0", "min", "passed", "3", "kills:", "equal"]
    assert total == "0 minutes in all"


def test_one_that_does_not_hold_ends_with_1_and_the_others_are_run(two_proofs, capsys):
    assert proofs.main(["outages", "kills", "--seed", "7"]) == 1
    assert len(two_proofs) == 1
    _, failed, passed, _ = capsys.readouterr().out.splitlines()
    assert "FAILED" in failed
    assert "passed" in passed


def test_a_command_that_fails_is_shown(capfd):
    words = ["-c", "import sys; print('what differs'); sys.exit(1)"]
    passed, outputs = proofs.run_all([[sys.executable, "-c", "print('fine')"], [sys.executable, *words]])
    assert not passed
    assert outputs == ["fine\n", "what differs\n"]
    assert "what differs" in capfd.readouterr().err


def test_an_unknown_proof_is_named(capsys):
    with pytest.raises(SystemExit):
        proofs.main(["kils"])
    assert "no proof named kils" in capsys.readouterr().err
