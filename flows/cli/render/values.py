"""Values as people read them, and the console they are printed on."""

import sys
from datetime import datetime

import msgspec
from rich.console import Console

UNBOUNDED = 10_000
"""Characters of a line where stdout is no terminal: nothing is cut or wrapped."""
JSON = msgspec.json.Encoder(decimal_format="number")
"""NaN becomes null, bytes base64, times RFC 3339."""


def stdout_console() -> Console:
    """Console of stdout, as wide as the terminal, or unbounded where there is none."""
    width = None if sys.stdout.isatty() else UNBOUNDED
    return Console(file=sys.stdout, width=width, highlight=False)


def has_colour(console: Console) -> bool:
    """Whether a console shows colours: it is a terminal or was forced to be one, and ``NO_COLOR`` is not set."""
    return console.color_system is not None and not console.no_color


def cell(value: object) -> str:
    r"""Write a value for people; what could steer a terminal is escaped.

    >>> cell(None), cell(0.1 + 0.2), cell(b"\x1b[2J"), cell("a\x1b"), cell(True)
    ('-', '0.3', '\\x1b[2J', 'a\\x1b', 'true')
    """
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.1f}"
        case bytes():
            return repr(value)[2:-1]
        case datetime():
            return str(value)
        case str():
            return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in value)
        case list() | dict():
            return cell(JSON.encode(value).decode())
        case _:
            return str(value)
