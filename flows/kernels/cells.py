"""Values into cells, row by row: which seconds are new, and what each cell adds up to.

The rows of one station and second count in their order: of two values of the same second the first is taken.
"""

import numpy as np
from numpy.typing import NDArray

from flows.arrays import B1, F64, I32, I64, U8
from flows.kernels.compiled import compiled, jitable
from flows.kernels.quality import ABOVE, BELOW
from schemas.quality import Flag

SECONDS = 60
"""Of a slot."""
SUSPECT = int(Flag.SUSPECT)
PER_UNIT = 1e9
LARGEST = 2.0**62
UNKNOWN = int(np.iinfo(np.int64).min)
"""In place of the first value of a slot: of an older snapshot, which did not keep it."""


@jitable
def quanta_of(value: float) -> int:
    """A value in units of 1e-9; beyond what 62 bits hold, the nearest that they do."""
    scaled = np.rint(value * PER_UNIT)
    return int(min(max(scaled, -LARGEST), LARGEST))


@compiled(
    "void(const int32[:], const int64[:], const int64[:], int64, const float64[:, :], uint64[:, :, ::1], "
    "int64[:, :, ::1], bool_[:, :], bool_[:, :], bool_[:])"
)
def take(
    station: I32,
    second: I64,
    slot: I64,
    base: int,
    values: F64,
    taken: NDArray[np.uint64],
    first: I64,
    fresh: B1,
    differs: B1,
    repeated: B1,
) -> None:
    """Take the second of each value that is not taken yet; more than 8 parameters, because it is compiled.

    Args:
        station: column of each row, shape (n,).
        second: whole seconds since 1970, rounded up, shape (n,).
        slot: in which it lies, shape (n,).
        base: slot of the first line.
        values: NaN where not measured, shape (n, v).
        taken: a bit for each second of a slot, for each value and, last, for the message; shape (slots, stations,
            v + 1). Written to.
        first: quanta of the value that took the first second of a slot, shape (slots, stations, v). Written to.
        fresh: becomes true for values taken, shape (n, v).
        differs: becomes true for values whose second is taken by another value, which is known where the slot holds
            one second and one value; shape (n, v).
        repeated: becomes true for rows of which every value was taken before, or that have none and whose second
            was seen; shape (n,).
    """
    message = values.shape[1]
    for row in range(station.size):
        bit = np.uint64(1) << np.uint64(second[row] - (slot[row] - 1) * SECONDS - 1)
        of_cell, first_of_cell = taken[slot[row] - base, station[row]], first[slot[row] - base, station[row]]
        measured = taken_now = False
        for p in range(message):
            if not np.isnan(values[row, p]):
                measured = True
                if of_cell[p] & bit == 0:
                    if of_cell[p] == 0:
                        first_of_cell[p] = quanta_of(values[row, p])
                    of_cell[p] |= bit
                    fresh[row, p] = taken_now = True
                elif of_cell[p] == bit and first_of_cell[p] != UNKNOWN:
                    differs[row, p] = first_of_cell[p] != quanta_of(values[row, p])
        seen = of_cell[message] & bit != 0
        of_cell[message] |= bit
        repeated[row] = not taken_now if measured else seen


@compiled(
    "void(const int32[:], const int64[:], int64, const int64[:, :], const uint8[:, :], int64[:, :, ::1], "
    "uint8[:, :, ::1], uint8[:, :, ::1], uint8[:, :, ::1], uint8[:, :, ::1])"
)
def add(
    station: I32,
    slot: I64,
    base: int,
    quanta: I64,
    flags: U8,
    sums: I64,
    counts: U8,
    suspects: U8,
    below: U8,
    above: U8,
) -> None:
    """Add values to their cells; more than 8 parameters, because it is compiled.

    Args:
        station: column of each row, shape (n,).
        slot: of each row, shape (n,).
        base: slot of the first line.
        quanta: values in units of 1e-9, shape (n, 6).
        flags: with sides, shape (n, 6); what fails or is missing is not added.
        sums: of each cell, shape (slots, stations, 6). Written to, like the next four.
        counts: likewise.
        suspects: likewise.
        below: values of each cell that fail below their range, likewise.
        above: likewise above it.
    """
    for row in range(station.size):
        line, column = slot[row] - base, station[row]
        for p in range(flags.shape[1]):
            if flags[row, p] <= SUSPECT:
                sums[line, column, p] += quanta[row, p]
                counts[line, column, p] += np.uint8(1)
                if flags[row, p] == SUSPECT:
                    suspects[line, column, p] += np.uint8(1)
            elif flags[row, p] == BELOW:
                below[line, column, p] += np.uint8(1)
            elif flags[row, p] == ABOVE:
                above[line, column, p] += np.uint8(1)
