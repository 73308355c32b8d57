"""What a look at a lake found."""

import msgspec

from schemas.errors import ContractError


class Report(msgspec.Struct):
    """What a look at a lake found.

    Attributes:
        faults: what breaks a promise, a sentence each.
        warnings: what does not, but is worth knowing.

    >>> Report(warnings=["flags: 1 files not in the log"]).require()
    >>> Report(faults=["flags: a file is gone"]).require()
    Traceback (most recent call last):
    schemas.errors.ContractError: flags: a file is gone
    """

    faults: list[str] = []
    warnings: list[str] = []

    def require(self) -> None:
        """Require that there are no faults.

        Raises:
            ContractError: there are; the message has them all.
        """
        if self.faults:
            raise ContractError("\n".join(self.faults))
