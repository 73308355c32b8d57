"""The verdict that a message is refused, or of another flow's kind, raised where it is found."""

from typing import Literal

from schemas.rejected import Reason


class Refused(Exception):  # noqa: N818 - it is a verdict on a message, not an error of ours
    """Why a message is refused: one of the closed list of reasons, and the field with what was expected there."""

    def __init__(self, reason: Reason | Literal["other"], detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason | Literal["other"] = reason
        self.detail = detail
