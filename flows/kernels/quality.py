"""Judge each value by itself: its own range and the instrument's status.

This alone can fail a value, and so alone decides what a mean takes. What its surroundings say is in
``flows.kernels.temporal_tests`` and gives at most SUSPECT.
"""

import numpy as np

from flows.arrays import F64, U8
from flows.kernels.compiled import compiled
from schemas.quality import FAIL_STATUS, SUSPECT_STATUS, Flag

BELOW, ABOVE = 5, 6
"""In cells, in place of FAIL: the value lies below, or above, the span in which it may count."""
GOOD, SUSPECT, FAIL, MISSING = (np.uint8(flag) for flag in (Flag.GOOD, Flag.SUSPECT, Flag.FAIL, Flag.MISSING))

# What each instrument status makes of a value at least. A code nobody has described is not "normal": SUSPECT.
STATUS_FLAG: U8 = np.full(256, Flag.SUSPECT, np.uint8)
STATUS_FLAG[0] = Flag.GOOD
STATUS_FLAG[list(SUSPECT_STATUS)] = Flag.SUSPECT
STATUS_FLAG[list(FAIL_STATUS)] = Flag.FAIL


def judge(values: F64, status: U8, fail: F64, suspect: F64) -> U8:
    """Flag values by gross range and instrument status (QARTOD test 4; AirKorea's status codes).

    Causal and final: a flag depends on its own value and status only. The worse of range and status counts.
    A flag is MISSING where there is no value, whatever the status says; it is never NOT_EVALUATED.

    Args:
        values: shape (n, parameters), each in its parameter's unit; NaN is missing.
        status: shape (n, parameters); 0 normal, 1 and unknown codes suspect, 2, 4, 8 and 9 fail.
        fail: low and high end of each parameter, shape (parameters, 2); both ends are inside. Infinite values
            are outside any span.
        suspect: likewise; outside it and inside ``fail`` is SUSPECT.

    Returns:
        QARTOD flags, shape (n, parameters), Fortran order.

    >>> values = np.array([[41.0], [900.0], [-7.0], [np.nan], [41.0]])
    >>> status = np.array([[0], [0], [0], [0], [1]], np.uint8)
    >>> judge(values, status, np.array([[-5.0, 2000.0]]), np.array([[-5.0, 800.0]]))[:, 0]
    array([1, 3, 4, 9, 3], dtype=uint8)
    """
    flags: U8 = np.empty(values.shape, np.uint8, order="F")
    _judge(values, status, fail, suspect, STATUS_FLAG, flags)
    return flags


def sides(values: F64, status: U8, flags: U8, fail: F64) -> U8:
    """Flags with ``BELOW`` or ``ABOVE`` where a value fails by its range alone; the same array where none does.

    A limit that cuts one side of a noisy signal bends the mean of the rest: windows count what was cut.

    Args:
        values: as for ``judge``.
        status: likewise.
        flags: of ``judge``, shape (n, parameters).
        fail: as for ``judge``.

    >>> values, status, fail = np.array([[-7.0], [2.0], [9000.0]]), np.zeros((3, 1), np.uint8), np.array([[-5.0, 2e3]])
    >>> sides(values, status, judge(values, status, fail, fail), fail)[:, 0]
    array([5, 1, 6], dtype=uint8)
    """
    failed = (flags == FAIL) & (STATUS_FLAG[status] != FAIL)
    if not failed.any():
        return flags
    codes: U8 = np.where(failed & (values < fail[:, 0]), np.uint8(BELOW), flags)
    return np.where(failed & (values > fail[:, 1]), np.uint8(ABOVE), codes)


@compiled(
    "void(const float64[:, :], const uint8[:, :], const float64[:, :], const float64[:, :], const uint8[:], "
    "uint8[:, :])"
)
def _judge(values: F64, status: U8, fail: F64, suspect: F64, of_status: U8, flags: U8) -> None:
    for p in range(values.shape[1]):
        for row in range(values.shape[0]):
            value = values[row, p]
            if np.isnan(value):
                flags[row, p] = MISSING
            elif not fail[p, 0] <= value <= fail[p, 1] or np.isinf(value):
                flags[row, p] = FAIL
            else:
                by_range = GOOD if suspect[p, 0] <= value <= suspect[p, 1] else SUSPECT
                flags[row, p] = max(by_range, of_status[status[row, p]])  # GOOD < SUSPECT < FAIL
