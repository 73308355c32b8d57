"""Two flows between topics compared, one of them disturbed: lakes, messages, dead letters, lights."""

import json
from collections.abc import Iterator

from flows.air import ALERT_TOPIC, FLOW, LIGHT_TOPIC
from schemas.headers import EVENT_ID
from sinks.catalog import catalog
from tests.chaos.city_air import SWING_MINUTES
from tests.chaos.compare import NEWEST, lake_faults, view_differences
from tests.chaos.kafka_flow import DEAD_LETTERS, OUT_TOPICS, READINGS, ROLLING, KafkaFlow
from tests.support.until import until

VIEWS = NEWEST | {
    "cai": "* EXCLUDE (revision)",
    "aqi": "* EXCLUDE (revision)",
    "alerts": "*",
    "light_states": "*",
}
"""Columns that must be equal: more than of a run over files."""
MAX_SHOWN = 3


def differences(calm: KafkaFlow, killed: KafkaFlow) -> Iterator[str]:
    """What one lake has and the other has not, messages that are doubled, or in one topic only, or out of order."""
    with catalog.connect(calm.lake) as con:
        [minutes] = con.execute(
            "SELECT date_diff('minute', min(observed_at), max(observed_at)) FROM air_readings"
        ).fetchone()
    may_be_empty = {"alerts", ALERT_TOPIC} if minutes < SWING_MINUTES else set()  # the dust has not been high for long
    yield from view_differences(calm.lake, killed.lake, VIEWS, may_be_empty)
    for topic in OUT_TOPICS:
        yield from _topic_differences(topic, calm, killed, may_be_empty)
    for flow in (calm, killed):
        yield from _light_faults(flow)
        yield from _steps_back(flow)


def _topic_differences(topic: str, calm: KafkaFlow, killed: KafkaFlow, may_be_empty: set[str]) -> Iterator[str]:
    (expected, doubled_calm), (actual, doubled) = calm.messages(topic), killed.messages(topic)
    if not expected and topic in {ROLLING, DEAD_LETTERS, LIGHT_TOPIC, ALERT_TOPIC} - may_be_empty:
        yield f"{topic} is empty: nothing was proved"
    if doubled or doubled_calm:
        shown = (doubled or doubled_calm)[:MAX_SHOWN]
        yield f"{topic}: {len(doubled)} and {len(doubled_calm)} ids are there twice: {shown}"
    if lone := sorted(expected.keys() ^ actual.keys()):
        yield f"{topic}: {len(lone)} ids are in one run only: {lone[:MAX_SHOWN]}"
    if topic == DEAD_LETTERS:
        unlike = [name for name in expected.keys() & actual.keys() if expected[name] != actual[name]]
        if unlike:
            yield f"{topic}: {len(unlike)} dead letters differ, first {expected[unlike[0]]} and {actual[unlike[0]]}"


def _steps_back(flow: KafkaFlow) -> Iterator[str]:
    """Means of a station that are older than those before them in its partition."""
    for partition, messages in enumerate(flow.contents(ROLLING)):
        newest: dict[bytes, int] = {}
        for message in messages:
            at = int(dict(message.headers())[EVENT_ID].decode().rsplit(":")[-1])
            if newest.get(message.key(), 0) >= at:
                yield f"{ROLLING} [{partition}]: {message.key()} goes back in time at offset {message.offset()}"
            newest[message.key()] = at


def _light_faults(flow: KafkaFlow) -> Iterator[str]:
    """Light states that the topic or the lake lacks, and numbers that do not rise by one."""
    states = [json.loads(message.value()) for messages in flow.contents(LIGHT_TOPIC) for message in messages]
    with catalog.connect(flow.lake) as con:
        stored = con.execute("SELECT light_id, seq, color, reason FROM light_states ORDER BY ALL").fetchall()
    sent = sorted((state["light_id"], state["seq"], state["color"], state["reason"]) for state in states)
    if not sent:
        yield f"{LIGHT_TOPIC} is empty: nothing was proved"
    if sent != stored:
        lone = next(iter({*sent} ^ {*stored}), None)
        yield f"{LIGHT_TOPIC}: {len(sent)} states, light_states {len(stored)}, first {lone}"
    for light in sorted({state["light_id"] for state in states}):
        numbers = [state["seq"] for state in states if state["light_id"] == light]
        if numbers != list(range(len(numbers))):
            yield f"{light}: its seqs do not rise by one: {numbers[:10]}"


def message_differences(calm: KafkaFlow, killed: KafkaFlow) -> tuple[int, list[str]]:
    """Number of messages of one id that differ, and the first of them."""
    unlike: list[str] = []
    for topic in FLOW.outputs:
        (expected, _), (actual, _) = calm.messages(topic), killed.messages(topic)
        names = sorted(name for name in expected.keys() & actual.keys() if expected[name] != actual[name])
        unlike += [f"{topic}: {name}: {expected[name].value!r} and {actual[name].value!r}" for name in names]
    return len(unlike), unlike[:MAX_SHOWN]


def flow_faults(flow: KafkaFlow) -> Iterator[str]:
    """Faults of one flow's lake against its input topic; waits until its consumer group has no lag."""
    yield from lake_faults(flow.lake, [len(messages) for messages in flow.contents(READINGS)])
    until(lambda: not any(flow.lag().values()), lambda: f"the group lags after the end: {flow.lag()}")
