"""What became of a run of readings of one zone."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flows.analyses.evaluate import Results
from flows.arrays import U8
from flows.decode.batch import Readings
from flows.signals.lights import Said
from schemas.rejected import Reject


@dataclass(slots=True)
class Accepted:
    """Readings accepted, with the flags of their own values, shape (n, 6)."""

    readings: Readings
    flags: U8


@dataclass(slots=True)
class ZoneResult:
    """What became of a run of readings."""

    stored: list[Accepted] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    evaluated: Results = field(default_factory=Results)
    said: Said = field(default_factory=Said)
    waiting: NDArray[np.integer] = field(default_factory=lambda: np.empty(0, np.int32))
    """The partition of each reading that waits."""
