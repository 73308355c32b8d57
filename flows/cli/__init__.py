"""The ``cityair`` command: results on stdout, logs on stderr, and exit codes that a script can tell apart.

0 done, 2 usage, 3 configuration or a store that does not fit, 4 contract violated, 5 broker unreachable, 6 data-quality
gate, 130 interrupted.
"""

import errno
import importlib
import os
import sys
import traceback
from typing import Protocol, runtime_checkable

import typer
from deltalake.exceptions import DeltaError

from schemas.errors import CityairError

COMMANDS = {
    "run": "Play an input through a dataflow into a lake; a second start goes on where the first stopped.",
    "sql": "Ask the lake in SQL. Times are the city's; means are the newest revisions.",
    "demo": "Play a day of a whole city, with trouble, and two weeks of real air; then show what happened. "
    "No broker needed.",
    "rebuild": "Make a recovery store from the lake: its ledger says where each input goes on, "
    "its newest readings fill the grid.",
    "redrive": "Send dead letters to their topic again, once their cause is mended: original bytes, key and headers.",
    "simulate": "Write the readings of an invented city in the order they arrive, and the truth about them beside it.",
    "lights": "Show the lights as the city sees them: gray once their time is over, whether the pipeline lives or not.",
    "lake": "Prove that a lake is whole, and look after it.",
    "topics": "Make and check a city's topics on its Kafka broker.",
    "config": "Show the settings.",
}
"""Each is a module here, with a function of its name or a group called ``app``, and how its help begins."""
PLACES = {"demo": "demo.command"}
"""Where a command's module is not called as the command."""
INTERRUPTED = 130
OUR_FAULT = 1
STORE = 3
GOES_ON = "the flow goes on where its last epoch ended, and nothing is lost"


def application(*names: str) -> typer.Typer:
    """Make the command line of these commands, of all where none is named: each is imported for its own use only."""
    app = _application()
    for name in names or COMMANDS:
        module = importlib.import_module(f"flows.cli.{PLACES.get(name, name)}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, name))
    return app


def overview() -> typer.Typer:
    """Make a command line that only names the commands, and imports none of them: all that ``--help`` needs."""
    app = _application()
    for name, summary in COMMANDS.items():
        app.command(name, help=summary)(_group)
    return app


def _application() -> typer.Typer:
    app = typer.Typer(
        name="cityair",
        help="A city's air, from its sensors to its signal lights.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_group)
    return app


def _group() -> None:
    """Keep one command alone from standing for the whole command line."""


def main() -> None:
    """Run the command line; every way it can end has its exit code."""
    os.environ["RUST_BACKTRACE"] = "0"  # the engine would print one before each refusal
    asked = [word for word in sys.argv[1:2] if word in COMMANDS]
    completing = "_CITYAIR_COMPLETE" in os.environ  # a shell that completes asks for every option
    try:
        app = application(*asked) if asked or completing else overview()
        sys.exit(app(standalone_mode=False) or 0)
    except (typer.Abort, KeyboardInterrupt):
        _say("interrupted")
        sys.exit(INTERRUPTED)
    except Exception as err:
        if isinstance(err, _Shown):  # a word that the command line does not know; typer's own class has no public name
            err.show()
            sys.exit(err.exit_code)
        sys.exit(_explain(err))


@runtime_checkable
class _Shown(Protocol):
    """An error of the command line's words, which knows how to show itself."""

    exit_code: int

    def show(self) -> None:
        """Print it with the usage."""


def _explain(err: BaseException) -> int:
    """Say on stderr what a person can do about an error; a bug of ours shows its trace."""
    for cause in _causes(err):
        if isinstance(cause, CityairError):
            _say(str(cause))
            return cause.status
    for cause in _causes(err):
        if isinstance(cause, DeltaError):
            _say(f"{cause}; see that the lake is whole (cityair lake check) and can be written, and start again")
            return STORE
        if "DiskFull" in str(cause):  # SQLite's, of the recovery store, which comes without an error number
            _say(f"No space left on device for the recovery store; free some space and start again: {GOES_ON}")
            return STORE
        if isinstance(cause, KeyboardInterrupt):
            _say("interrupted")
            return INTERRUPTED
        if isinstance(cause, BrokenPipeError):
            return 0
        if isinstance(cause, OSError):
            cure = "free some space and start again" if cause.errno == errno.ENOSPC else "mend it and start again"
            _say(f"{cause}; {cure}: {GOES_ON}")
            return STORE
    traceback.print_exception(err, file=sys.stderr)
    _say(f"this is a fault in cityair itself: {next(iter(_causes(err)))!r}; please report it with the lines above")
    return OUR_FAULT


def _causes(err: BaseException) -> list[BaseException]:
    """The error and what caused it, the deepest first."""
    chain = [err]
    while (deeper := chain[0].__cause__ or chain[0].__context__) is not None:
        chain.insert(0, deeper)
    return chain


def _say(text: str) -> None:
    print(f"cityair: {text}", file=sys.stderr)
