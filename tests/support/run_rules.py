"""Rules of a test run: what it leaves out is named at its end, and under CI=true a skip is a failure.

Tests of recorded air, which does not ship, and of mounted disks, which not every machine allows, are marked (``data``,
``mount``). Where what they need is missing they are deselected, which is no skip; a line at the end of the run says how
many were left out, what is missing, and the remedy. Everything else that a test wants (java, Maven, openssl, matplotlib) belongs to a
machine that tests cityair.

Loaded as a plugin by the conftest at the root; hooks work under pytest-xdist too.
"""

import os

import pytest

from tests.support import mounts, recorded

CI = os.environ.get("CI", "").lower() in ("true", "1")
LEFT_OUT = pytest.StashKey[list]()
"""Of each deselected test its mark, and what is missing."""
REMEDIES = {"data": recorded.REMEDY, "mount": mounts.REMEDY}


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    config.stash[LEFT_OUT] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that lack what they need."""
    without_mounts = mounts.reason_against() if any(item.get_closest_marker("mount") for item in items) else ""
    missing = [_missing(item, without_mounts) for item in items]
    config.stash[LEFT_OUT] += [lack for lack in missing if lack]
    config.hook.pytest_deselected(items=[item for item, lack in zip(items, missing, strict=True) if lack])
    items[:] = [item for item, lack in zip(items, missing, strict=True) if not lack]


def _missing(item: pytest.Item, without_mounts: str) -> tuple[str, list[str]] | None:
    paths = sorted({path for mark in item.iter_markers("data") for path in mark.args})
    if lacking := recorded.missing(paths):
        return "data", [str(recorded.DATA / path) for path in lacking]
    if item.get_closest_marker("mount") and without_mounts:
        return "mount", [without_mounts]
    return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Under CI=true let a skipped test fail."""
    report = yield
    return _strictly(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):
    """Under CI=true let a skipped module fail."""
    report = yield
    return _strictly(report)


def _strictly(report):
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        *_, reason = report.longrepr if isinstance(report.longrepr, tuple) else (report.longrepr,)
        report.outcome, report.longrepr = "failed", f"{reason}\nUnder CI=true a skip is a failure."
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error: object) -> None:
    """Take over what a worker of pytest-xdist left out; all of them collect the same tests."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", [])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Have a worker of pytest-xdist hand over what it left out."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash[LEFT_OUT]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name what was left out."""
    for mark, remedy in REMEDIES.items():
        missing = [lacking for marked, lacking in config.stash[LEFT_OUT] if marked == mark]
        if missing:
            names = ", ".join(sorted({name for lacking in missing for name in lacking}))
            terminalreporter.write_line(
                f"left out: {len(missing)} tests marked '{mark}'; missing: {names}; {remedy}", yellow=True
            )
