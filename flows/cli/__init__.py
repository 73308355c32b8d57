"""The ``cityair`` command: results on stdout, everything else on stderr, and exit statuses for scripts.

====== ================================================================================================
status means
====== ================================================================================================
0      done; also where a reader of the output, such as ``head``, has closed it
1      a fault in cityair itself: its trace is printed
2      usage: words of the command line that do not fit together (``UsageError``)
3      configuration, or a store that does not fit or cannot be written (``ConfigurationError``)
4      a contract violated: a lake whose books do not balance (``ContractError``)
5      the broker cannot be reached, or refuses us (``BrokerError``)
6      the data-quality gate: more was refused than allowed (``DataQualityError``)
130    interrupted by Ctrl-C or SIGTERM
====== ================================================================================================

The errors are those of ``schemas.errors``, and each knows its status. A command is a function whose parameters are its
arguments and options: as many as there are.
"""

import contextlib
import errno
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from importlib.metadata import version
from typing import Annotated, NamedTuple, Protocol, runtime_checkable

import typer
from deltalake.exceptions import DeltaError

from schemas.errors import CityairError, ConfigurationError

FAULT_STATUS = 1
INTERRUPTED_STATUS = 130
RESUMES = "the flow goes on where its last epoch ended, and nothing is lost"


class Command(NamedTuple):
    """Where a command is defined, and how its help begins."""

    module: str
    attribute: str
    """A function, or a group of commands (``typer.Typer``)."""
    summary: str
    """First paragraph of its help: ``--help`` of the whole command line needs no more, and imports no command."""


COMMANDS = {
    "run": Command(
        "flows.cli.run",
        "run",
        "Play an input through a dataflow into a lake; a second start goes on where the first stopped.",
    ),
    "sql": Command(
        "flows.cli.sql", "sql", "Ask the lake in SQL. Times are the city's; means are the newest revisions."
    ),
    "demo": Command(
        "flows.cli.demo.command",
        "demo",
        "Play a day of a whole city, with trouble, and two weeks of real air; then show what happened. "
        "No broker needed.",
    ),
    "rebuild": Command(
        "flows.cli.rebuild",
        "rebuild",
        "Make a recovery store from the lake: its ledger says where each input goes on, "
        "its newest readings fill the grid.",
    ),
    "redrive": Command(
        "flows.cli.redrive",
        "redrive",
        "Send dead letters to their topic again, once their cause is mended: original bytes, key and headers.",
    ),
    "simulate": Command(
        "flows.cli.simulate",
        "simulate",
        "Write the readings of an invented city in the order they arrive, and the truth about them beside it.",
    ),
    "lights": Command(
        "flows.cli.lights",
        "app",
        "Show the lights as the city sees them: gray once their time is over, whether the pipeline lives or not.",
    ),
    "lake": Command("flows.cli.lake", "app", "Prove that a lake is whole, and look after it."),
    "topics": Command("flows.cli.topics", "app", "Make and check a city's topics on its Kafka broker."),
    "config": Command("flows.cli.config", "app", "Show the settings."),
}
"""Every command, in the order of the help."""


def application(*names: str) -> typer.Typer:
    """Make the command line of these commands, importing only them; of all where none is named."""
    app = _root()
    for name in names or COMMANDS:
        command = COMMANDS[name]
        target = getattr(importlib.import_module(command.module), command.attribute)
        if isinstance(target, typer.Typer):
            app.add_typer(target, name=name)
        else:
            app.command(name)(target)
    return app


def overview() -> typer.Typer:
    """Make a command line that only names the commands, and imports none of them: all that ``--help`` needs."""
    app = _root()
    for name, command in COMMANDS.items():
        app.command(name, help=command.summary)(lambda: None)
    return app


def _root() -> typer.Typer:
    app = typer.Typer(
        name="cityair",
        help="A city's air, from its sensors to its signal lights.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root_options)  # with a callback a single command does not stand for the whole command line
    return app


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"cityair {version('cityair')}")
        raise typer.Exit


def _root_options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options of the command line as a whole."""


def main() -> None:
    """Run the command line and exit with the status of how it ended."""
    os.environ["RUST_BACKTRACE"] = "0"  # the engine would print one before each refusal
    named = [word for word in sys.argv[1:2] if word in COMMANDS]
    completing = "_CITYAIR_COMPLETE" in os.environ  # a shell that completes asks for every option
    try:
        with _warnings_on_stderr():
            app = application(*named) if named or completing else overview()
            sys.exit(app(standalone_mode=False) or 0)
    except (typer.Abort, KeyboardInterrupt):
        _complain("interrupted")
        sys.exit(INTERRUPTED_STATUS)
    except Exception as err:
        if isinstance(err, _UsageProblem):
            err.show()
            sys.exit(err.exit_code)
        sys.exit(_explain(err))


@contextlib.contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    """Print warnings of the library, logged as ``cityair``, in the form of all messages."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("cityair: %(message)s"))
    log = logging.getLogger("cityair")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


@runtime_checkable
class _UsageProblem(Protocol):
    """An error of typer about the words of the command line, which prints itself and the usage.

    Typer's class of these errors has no public name, so it is known by what it can do.
    """

    exit_code: int

    def show(self) -> None:
        """Print it with the usage."""


def _explain(err: BaseException) -> int:
    """Print on stderr what a person can do about an error, or the trace of a bug of ours; return the exit status."""
    for cause in _causes(err):
        if isinstance(cause, CityairError):
            _complain(str(cause))
            return cause.status
    for cause in _causes(err):
        if isinstance(cause, DeltaError):
            _complain(f"{cause}; see that the lake is whole (cityair lake check) and can be written, and start again")
            return ConfigurationError.status
        if "DiskFull" in str(cause):  # SQLite's, of the recovery store, which comes without an error number
            _complain(f"No space left on device for the recovery store; free some space and start again: {RESUMES}")
            return ConfigurationError.status
        if isinstance(cause, KeyboardInterrupt):
            _complain("interrupted")
            return INTERRUPTED_STATUS
        if isinstance(cause, BrokenPipeError):
            return 0
        if isinstance(cause, OSError):
            cure = "free some space and start again" if cause.errno == errno.ENOSPC else "mend it and start again"
            _complain(f"{cause}; {cure}: {RESUMES}")
            return ConfigurationError.status
    traceback.print_exception(err, file=sys.stderr)
    _complain(f"this is a fault in cityair itself: {next(iter(_causes(err)))!r}; please report it with the lines above")
    return FAULT_STATUS


def _causes(err: BaseException) -> list[BaseException]:
    """Return the error and its causes, the deepest first."""
    chain = [err]
    while (deeper := chain[0].__cause__ or chain[0].__context__) is not None:
        chain.insert(0, deeper)
    return chain


def _complain(text: str) -> None:
    print(f"cityair: {text}", file=sys.stderr)
