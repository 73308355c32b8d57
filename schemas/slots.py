"""Time as the grid counts it: slots, minutes since 1970 UTC named by their end, so that (09:30, 09:31] is 09:31.

Constants bear their unit: ``_SLOTS``, ``_S`` for seconds, ``_US`` for microseconds.
"""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SLOT = timedelta(minutes=1)

SLOT_S = 60
DAY_S = 86_400
MILLISECOND_US = 1000
SECOND_US = 1_000_000
SLOT_US = SLOT_S * SECOND_US
DAY_US = DAY_S * SECOND_US
HOUR_SLOTS = 60
DAY_SLOTS = 1440

NEVER = -(1 << 60)
"""A slot before all slots: an instrument not heard, a watermark not set."""
ALWAYS = 1 << 60
"""A slot after all slots."""


def micros(at: datetime) -> int:
    """Microseconds since 1970 of a time.

    >>> micros(EPOCH + SLOT) == SLOT_US
    True
    """
    return (at - EPOCH) // MICROSECOND


def end_of(slot: int) -> datetime:
    """The moment at which a slot ends, in UTC.

    >>> end_of(1).isoformat()
    '1970-01-01T00:01:00+00:00'
    """
    return EPOCH + slot * SLOT


def slot_at(at: datetime) -> int:
    """The slot in which a moment lies.

    >>> slot_at(end_of(7)), slot_at(end_of(7) + MICROSECOND)
    (7, 8)
    """
    return -((EPOCH - at) // SLOT)
