"""Times as they are spelled on the wire."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from schemas.slots import EPOCH, MICROSECOND

EARLIEST = 0
LATEST = (datetime(2100, 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND
"""No clock that shows a time outside 1970 to 2099 can be trusted with the rest of its message."""
NO_TIME = int(np.iinfo(np.int64).min)
CACHED_TIMES = 100_000


class Times(dict[str, int]):
    """Microseconds since 1970 of each spelling of a time seen lately; ``NO_TIME`` for what is none."""

    _spelling = Annotated[datetime, Meta(tz=True)]

    def __missing__(self, text: str) -> int:
        try:
            at = (msgspec.convert(text, self._spelling) - EPOCH) // MICROSECOND
        except msgspec.ValidationError:
            at = NO_TIME
        if len(text) <= 40:
            self[text] = at
        return at

    def forget(self) -> None:
        """Keep memory bounded."""
        if len(self) > CACHED_TIMES:
            self.clear()


def bad_time(text: str) -> str:
    """Say what is wrong with a text that is no time."""
    try:
        msgspec.convert({"observed_at": text}, dict[str, Times._spelling])
    except msgspec.ValidationError as err:
        return str(err).replace("$[...]", "$.observed_at")
    return "Expected a time with its offset - at `$.observed_at`"
