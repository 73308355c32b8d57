"""What the lights of a city show, by the rules of ``flows.kernels.display``."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

from msgspec import Struct

from flows.kernels import display
from schemas.city import City
from schemas.light import Color, LightState, WildState
from sinks.lights.states import StateSource

log = logging.getLogger("cityair")


class LightView(Struct, frozen=True):
    """What one light shows at a moment of its own clock, and its newest state."""

    light_id: str
    name: str
    at: datetime
    color: Color
    face: str | None
    pm10: float | None
    pm25: float | None
    o3: float | None
    temperature: float | None
    humidity: float | None
    text: str | None
    why: str
    """As ``display.Shown`` says: by the newest state, or gray by itself."""
    seq: int | None
    """From here on: of the newest state, in force or not; null before the first. Of a wild one only ``reason`` is
    known: what is wrong with it."""
    as_of: datetime | None
    valid_until: datetime | None
    reason: str | None


class Board:
    """The lights of a city, each with its newest state.

    Args:
        city: names and order of the lights; lights that the city does not name follow behind.
        only: id of the one light to show; None: all.

    >>> from datetime import UTC, timedelta
    >>> from schemas.city import parse
    >>> city = parse(b'''
    ... city = { id = "c", name = "C", timezone = "UTC" }
    ... stations = [{ id = "a", lat = 35.0, lon = 128.0 }]
    ... lights = [{ id = "light-1", name = "Station square", lat = 35.0, lon = 128.0 }]
    ... ''')
    >>> noon, later = (datetime(2026, 3, 2, 12, minute, tzinfo=UTC) for minute in (0, 15))
    >>> state = LightState(
    ...     light_id="light-1", seq=1, color="blue", grade=1, parameter="pm25", pm10=None, pm25=9.0, as_of=noon,
    ...     valid_until=later, stations=["a"], coverage=1.0, reason="pm25 1 h mean 9 µg/m³", text=None,
    ... )
    >>> board = Board(city)
    >>> board.update([state])
    >>> [(view.color, view.why) for clock in (noon, later) for view in board.views(clock)]
    [('blue', 'told'), ('gray', 'over')]
    """

    def __init__(self, city: City, only: str | None = None) -> None:
        self._names = {light.id: light.name for light in city.lights}
        self._newest: dict[str, display.Memory] = dict.fromkeys(self._names)
        self._only = only

    @property
    def light_ids(self) -> list[str]:
        """Lights of the city, then others that a state came for."""
        return [*self._newest]

    def update(self, states: Iterable[LightState | WildState]) -> None:
        """Hand each light the states that came for it."""
        for state in states:
            self._newest[state.light_id] = display.take(state.light_id, self._newest.get(state.light_id), state)

    def views(self, clock: datetime) -> list[LightView]:
        """What each light shows at a time."""
        lights = self._newest if self._only is None else [self._only]
        return [self._view(light, clock) for light in lights]

    def _view(self, light: str, clock: datetime) -> LightView:
        newest = self._newest[light]
        shown = display.show(newest, clock)
        match newest:
            case None:
                about: tuple[Any, ...] = (None,) * 4
            case WildState():
                about = newest.seq, None, None, newest.fault
            case _:
                about = newest.seq, newest.as_of, newest.valid_until, newest.reason
        return LightView(light, self._names.get(light, ""), clock, *shown, *about)


def changed_views(before: Iterable[LightView], after: Iterable[LightView]) -> list[LightView]:
    """Views of lights that show something else than before; a heartbeat changes nothing."""
    shown_before = {view.light_id: _shown(view) for view in before}
    return [view for view in after if shown_before.get(view.light_id) != _shown(view)]


def _shown(view: LightView) -> tuple[object, ...]:
    return tuple(getattr(view, name) for name in display.Shown._fields)


def follow(
    source: StateSource, board: Board, views: list[LightView], clock: Callable[[], datetime]
) -> Iterator[list[LightView]]:
    """Yield views of lights that come to show something else, for ever; warn once while no states can come.

    Args:
        source: of new states.
        board: is updated with them.
        views: what the lights show at the start.
        clock: of the lights.
    """
    warned = ""
    while True:
        board.update(source.poll(to_next_second()))
        if changes := changed_views(views, after := board.views(clock())):
            yield changes
        views = after
        if (trouble := source.trouble) and not warned:
            log.warning("nothing can come: %s", trouble)
        warned = trouble


def to_next_second() -> float:
    """Seconds until just after the clock's next whole one: lights change on whole minutes."""
    return 1.001 - time.time() % 1
