"""What can go wrong that a person can mend, with the exit status each has at the command line."""


class CityairError(Exception):
    """A fault outside the code: the message names what, where, and the cure."""

    status = 1


class UsageError(CityairError):
    """The command's words do not fit together."""

    status = 2


class ConfigurationError(CityairError):
    """A city file, map, lake or recovery store that does not fit."""

    status = 3


class ContractError(CityairError):
    """Data that breaks a promise of ours: a lake whose books do not balance."""

    status = 4


class BrokerError(CityairError):
    """The broker cannot be reached, or refuses us."""

    status = 5


class DataQualityError(CityairError):
    """More was refused than was allowed."""

    status = 6
