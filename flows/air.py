"""The air flow: readings of a city's monitors become flags, rolling means, indices, alerts and light states."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

from flows.analyses.base import Analysis
from flows.analyses.indices import Indices, Scales
from flows.analyses.ozone_hours import OzoneHours
from flows.analyses.quality import AirTests, Quality
from flows.analyses.windows import RollingMeans
from flows.decode.decoder import Decoder
from flows.engine.flow import Flow, Published, SideInput
from flows.kernels.display import TOLERANCE
from flows.signals.air import AirSignals
from flows.signals.base import SignalBatch
from flows.zone.plan import ZoneSettings
from flows.zone.zone import DEFAULT, Zone
from schemas.city import City
from schemas.durations import seconds
from schemas.light import LightMessage, LightState, WildState, parse_state
from schemas.measured import AIR, Instrument

ROLLING_TOPIC = "env.air.rolling.v1"
LIGHT_TOPIC = "env.light.state.v1"
ALERT_TOPIC = "env.air.alert.v1"
LIGHT_MESSAGE_TOPIC = "env.light.message.v1"


def instruments(city: City) -> list[Instrument]:
    """Stations of the city file."""
    return [Instrument(s.id, s.lat, s.lon, seconds(s.every), s.zone) for s in city.stations]


def analyses(city: City) -> list[Analysis]:
    """Analyses of a zone: flags first, because means count what they suspect; ozone's hours before its indices."""
    scales = Scales(city.indices.korea, city.indices.ozone)
    ozone = OzoneHours() if scales.regression else None
    quality = Quality(AIR, lambda cadence_slots: AirTests(city, cadence_slots), "flags", AirTests.longest(city))
    means = RollingMeans(AIR, city.windows.lengths, "rolling", ROLLING_TOPIC, ZoneInfo(city.city.timezone))
    return [quality, *([ozone] if ozone else []), Indices(scales, ozone), means]


def signals_of(zone: Zone) -> AirSignals:
    """Alerts and lights of a zone of this flow."""
    return cast("AirSignals", zone.signals)


def _refuse(city: City, message: Any) -> str:
    if message.light_id not in {light.id for light in city.lights}:
        return f"{message.light_id[:64]!r} is no light of the city file - at `$.light_id`"
    return "" if message.text.isprintable() else "a text holds characters that no light can show - at `$.text`"


def _parse_published(value: bytes, now: datetime) -> LightState | WildState:
    """Read a state of the topic; one of air that lies ahead of every clock must not hold up decisions."""
    state = parse_state(value)
    if isinstance(state, LightState) and state.as_of - now > TOLERANCE:
        # Lights take its seq, and are gray by their own clocks: the next state has to lie above it.
        fault = f"as_of, {state.as_of.isoformat()}, lies ahead of this machine's clock"
        return WildState(state.light_id, state.seq, fault)
    return state


def _set_messages(zone: Zone, messages: Sequence[Any]) -> None:
    signals_of(zone).set_messages(messages)


def _load(zone: Zone, states: Sequence[Any]) -> SignalBatch:
    return SignalBatch(states=signals_of(zone).load_published(states))


def _reset(zone: Zone, states: Sequence[Any]) -> None:
    signals_of(zone).reset_to(states)


FLOW = Flow(
    name="air",
    measured=AIR,
    outputs=(ROLLING_TOPIC, LIGHT_TOPIC, ALERT_TOPIC),
    instruments=instruments,
    limits=lambda city: city.limits(),
    windows=lambda city: city.windows,
    analyses=analyses,
    signals=AirSignals,
    side_input=SideInput("words", LIGHT_MESSAGE_TOPIC, LightMessage, _refuse, _set_messages),
    published=Published(LIGHT_TOPIC, _parse_published, _load, _reset),
)


def decoder(city: City) -> Decoder:
    """Make the decoder of air readings."""
    return FLOW.decoder(city)


def zone(city: City, name: str, settings: ZoneSettings = DEFAULT) -> Zone:
    """Make the state of a zone."""
    return FLOW.zone(city, name, settings)
