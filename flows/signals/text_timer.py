"""When texts of people end, by clocks: their own end lies on the wall clock, and how long they stay on a steady one."""

from collections.abc import Mapping

from schemas.slots import SLOT_S

LEAD_S = 60.0
"""Seconds before its end by which a text is withdrawn: the next state then comes before lights would turn gray."""


class TextTimer:
    """Ends of texts on a monotonic clock: a wall clock that is set back cannot lengthen a text.

    >>> timer, messages = TextTimer(), {"school": ("fire", 10)}
    >>> timer.ended(messages, wall_s=300.0, monotonic_s=0.0)
    set()
    >>> timer.ended(messages, wall_s=0.0, monotonic_s=250.0)
    {'school'}
    """

    def __init__(self) -> None:
        self._ends: dict[str, tuple[int, float]] = {}
        """By light: the slot at which its text ends, and where the monotonic clock stands then."""

    def ended(self, messages: Mapping[str, tuple[str, int]], wall_s: float, monotonic_s: float) -> set[str]:
        """Lights whose text ends within ``LEAD_S``, by either clock.

        Args:
            messages: text of each light, and the slot at which it ends.
            wall_s: seconds since 1970 UTC.
            monotonic_s: of a clock that is never set.
        """
        known, self._ends = self._ends, {}
        ended = set()
        for light, (_, until) in messages.items():
            left = until * SLOT_S - wall_s
            was = known.get(light)
            end = was[1] if was is not None and was[0] == until else monotonic_s + left
            self._ends[light] = (until, end)
            if min(left, end - monotonic_s) <= LEAD_S:
                ended.add(light)
        return ended
