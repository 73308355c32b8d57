"""Where readings wait that lie beyond the horizon ahead of the clock.

After a gap in the whole city they are the first of the new time; from one sensor alone they come from a wild clock.
Which of the two shows when the clock comes near, or goes on without them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.arrays import I32, I64
from flows.decode.batch import InMemory, Readings, concatenate, no_readings
from flows.kernels.turns import NO_ROW
from flows.state.grid import second_of, slot_of
from flows.zone.watermark import Time
from schemas.rejected import Envelope
from schemas.slots import NEVER


class EarlyBuffer:
    """Readings of one zone that wait, in their order.

    Args:
        horizon: slots ahead of the clock from which readings wait.
        patience: slots the clock may advance meanwhile.
        room: how many may wait at once.
    """

    def __init__(self, horizon: int, patience: int, room: int) -> None:
        self._horizon, self._patience, self._room = horizon, patience, room
        self.readings = no_readings()
        self._since = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.readings)

    def turn(
        self, run: Readings, slot: I64, waits: NDArray[np.bool_], time: Time
    ) -> tuple[int, Readings | None, Readings]:
        """Let readings of a run wait, up to the row at which the first of those who wait may go to the grid.

        Args:
            run: n readings.
            slot: of each, shape (n,).
            waits: which of them have to wait, shape (n,).
            time: what the clock does over the run.

        Returns:
            The last row taken, the readings that go to the grid after it, and those that waited in vain.
        """
        n, clock = len(run), time.clock
        new = np.flatnonzero(waits)
        everyone = concatenate([self.readings, run.take(new)]) if new.size else self.readings
        slots = np.concatenate([slot_of(second_of(self.readings.observed)), slot[new]])
        row = np.concatenate([np.full(len(self), -1), new])
        since = np.concatenate([self._since, clock[new]])
        since[since == NEVER] = clock[np.argmax(clock > NEVER)]
        near = np.maximum(row, np.searchsorted(clock, slots - self._horizon))
        expired = np.where(since == NEVER, NO_ROW, np.searchsorted(clock, since + self._patience))
        released = np.where((near <= expired) & (near < n), near, NO_ROW)
        full = int(new[self._room - len(self)]) if new.size > self._room - len(self) else n - 1
        last = int(min(released.min(initial=NO_ROW), full))
        here = row <= last
        goes, vain = here & (released == last), here & (released != last) & (expired <= last)
        stays = np.flatnonzero(here & ~goes & ~vain)
        vain[stays[: max(0, stays.size - self._room)]] = True
        stays = stays[max(0, stays.size - self._room) :]
        self.readings, self._since = everyone.take(stays), since[stays]
        # They keep their own texts, or whole batches would stay in memory for their sake.
        payloads, rows = self.readings.payloads, range(stays.size)
        self.readings.payloads = InMemory(payloads.take(rows), payloads.envelopes(rows))
        return last, everyone.take(goes) if goes.any() else None, everyone.take(vain)

    def leave(self) -> Readings:
        """Hand out everyone."""
        readings, self.readings, self._since = self.readings, no_readings(), np.empty(0, np.int64)
        return readings

    def snapshot(self, column: I32) -> dict[str, Any]:
        """Plain data; stations by their ``column`` in the zone."""
        one = self.readings
        return {
            "column": column[one.station],
            "rows": [one.observed, one.values, one.status, one.part, one.offset],
            "texts": one.payloads.take(range(len(one))),
            "envelopes": [(key, list(headers)) for key, headers in one.payloads.envelopes(range(len(one)))],
            "since": self._since.copy(),
        }

    def restore(self, kept: dict[str, Any], column_now: I32, stations: I32) -> Readings:
        """Go on from a snapshot.

        Args:
            kept: the snapshot.
            column_now: of each column then, the column now, -1 where the station has left.
            stations: index in the city of each column now.

        Returns:
            Readings of stations that have left.
        """
        column = column_now[kept["column"]]
        station = np.where(column >= 0, stations[column], 0).astype(np.int32)
        observed, values, status, part, koff = kept["rows"]
        envelopes = [Envelope(key, tuple(headers)) for key, headers in kept["envelopes"]]
        everyone = Readings(station, observed, values, status, part, koff, InMemory(kept["texts"], envelopes))
        self.readings, self._since = everyone.take(column >= 0), kept["since"][column >= 0]
        return everyone.take(column < 0)
