"""A dataflow of the same steps as a flow's that does nothing but leave their states in the recovery store."""

from collections.abc import Iterable, Mapping
from typing import Any

from bytewax import operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

State = dict[str, Any]


def seeds(flow: str, source: State, zones: Mapping[str, State], lake: State) -> Dataflow:
    """Make the dataflow.

    Args:
        flow: name of the flow.
        source: snapshot of its input.
        zones: snapshot of each zone.
        lake: snapshot of the lake's step.
    """
    dataflow = Dataflow(flow)
    batches = op.input("input", dataflow, _Source(source))
    names = op.flat_map("zones", batches, lambda _: [(name, name) for name in zones])
    op.inspect("done", op.stateful_batch("grid", names, lambda _: _Zone(zones)), lambda *_: None)
    op.output("lake", op.map("lake_rows", batches, lambda item: ("lake", item)), _Sink(lake))
    return dataflow


class _Seed(StatefulSourcePartition[tuple[str, None], State], StatefulSinkPartition[Any, State]):
    """A partition, of a source or a sink, that has one item and a given snapshot."""

    def __init__(self, state: State) -> None:
        self._state, self._given = state, False

    def next_batch(self) -> Iterable[tuple[str, None]]:
        if self._given:
            raise StopIteration
        self._given = True
        return [("input", None)]

    def write_batch(self, values: list[Any]) -> None:
        """Nothing to write."""

    def snapshot(self) -> State:
        return self._state

    def close(self) -> None:
        """Nothing to close."""


class _Source(FixedPartitionedSource[tuple[str, None], State]):
    def __init__(self, state: State) -> None:
        self._state = state

    def list_parts(self) -> list[str]:
        return ["input"]

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _Seed:
        return _Seed(self._state)


class _Sink(FixedPartitionedSink[Any, State]):
    def __init__(self, state: State) -> None:
        self._state = state

    def list_parts(self) -> list[str]:
        return ["lake"]

    def part_fn(self, item_key: str) -> int:
        return 0

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _Seed:
        return _Seed(self._state)


class _Zone(StatefulBatchLogic[str, str, State]):
    """A zone that has a given snapshot."""

    def __init__(self, states: Mapping[str, State]) -> None:
        self._states, self._name = states, ""

    def on_batch(self, values: list[str]) -> tuple[Iterable[str], bool]:
        self._name = values[0]
        return [], StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[Iterable[str], bool]:
        return [], StatefulBatchLogic.RETAIN

    def snapshot(self) -> State:
        return self._states[self._name]
