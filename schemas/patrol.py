"""What patrols are asked to do, and what they answer."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.reading import Id, Time


class PatrolTask(Struct, frozen=True, kw_only=True):
    """A message of ``env.patrol.task.v1``. The highest revision holds.

    A place is a sensor's or a suspected source's, or a citizen's rounded to 100 m: reports are personal. A task that
    expires before it was made is refused (ValueError).
    """

    task_id: Id
    episode_id: Id
    kind: Annotated[str, Meta(min_length=1, max_length=40, description="what to do there, such as sample or visit")]
    priority: Literal["watch", "next_round", "go_now"]
    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]
    source_id: Id | None
    """The farm or plant suspected; null where the wind names none."""
    bring: list[str]
    """What to take along, such as a sampling bag."""
    created_at: Annotated[Time, Meta(description="RFC 3339 with an offset")]
    expires_at: Annotated[Time, Meta(description="an odor is gone by then")]
    state: Literal["open", "acknowledged", "done", "expired", "withdrawn"]
    revision: Annotated[int, Meta(ge=0)]

    def __post_init__(self) -> None:
        if self.expires_at < self.created_at:
            raise ValueError("expires_at lies before created_at")


class PatrolAck(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message of ``env.patrol.ack.v1``: a patrol's answer to a task."""

    task_id: Id
    acknowledged_at: Annotated[Time, Meta(description="RFC 3339 with an offset")]
    state: Literal["acknowledged", "done"] = "acknowledged"
    patrol: Annotated[str, Meta(max_length=128, description="who answers")] = ""
    note: Annotated[str, Meta(max_length=1000)] = ""
