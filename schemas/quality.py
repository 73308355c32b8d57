"""QARTOD flags, what the tests of the surroundings are called, and how flags combine.

Source: IOOS QARTOD manuals; flag 2 is called *not evaluated* there and UNKNOWN in ``ioos_qc``.
"""

from enum import IntEnum, IntFlag


class Flag(IntEnum):
    """A QARTOD primary flag."""

    GOOD = 1
    NOT_EVALUATED = 2
    SUSPECT = 3
    FAIL = 4
    MISSING = 9


class Test(IntFlag):
    """Tests of a value's surroundings, as bits; each gives at most SUSPECT.

    >>> Test.SPIKE | Test.FLAT_LINE
    <Test.SPIKE|FLAT_LINE: 5>
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    SPIKE = 1
    RATE_OF_CHANGE = 2
    FLAT_LINE = 4
    ATTENUATED_SIGNAL = 8
    PM25_ABOVE_PM10 = 16
    ZEROS = 32


def names(bits: int) -> str:
    """Name the tests in ``bits``, in their fixed order, joined by commas.

    >>> names(5)
    'spike,flat_line'
    >>> names(0)
    ''
    """
    return ",".join(str(test.name).lower() for test in Test if bits & test)


TEST_NAMES: tuple[str, ...] = tuple(names(bits) for bits in range(64))
"""The name of every combination of tests: ``TEST_NAMES[bits]``."""

SUSPECT_STATUS = frozenset({1})
"""Instrument status 1: needs calibration."""
FAIL_STATUS = frozenset({2, 4, 8, 9})
"""Instrument status: 2 abnormal, 4 power cut, 8 under repair, 9 abnormal data (AirKorea's codes)."""
