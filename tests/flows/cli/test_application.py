"""The command line as a whole: its help, its version, its exit statuses."""

import logging
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from flows import cli
from flows.cli import COMMANDS, application, main, overview
from schemas import errors

ROOT = Path(__file__).parents[3]


def test_commands_are_named_as_their_help_begins():
    real = typer.main.get_command(application())
    assert list(real.commands) == list(COMMANDS)
    for name, command in COMMANDS.items():
        assert real.commands[name].help.split("\n\n")[0].replace("\n", " ") == command.summary


def test_help_is_that_of_the_whole_command_line():
    run = CliRunner().invoke
    assert run(overview(), ["--help"]).output == run(application(), ["--help"]).output


def test_help_loads_no_engine():
    code = (
        "import sys; from flows.cli import main; sys.argv = ['cityair', '--help']\n"
        "try:\n    main()\nfinally:\n    print(sorted({'bytewax', 'duckdb', 'numpy', 'pandas'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "Commands" in done.stdout
    assert done.stdout.rstrip().endswith("[]")


@pytest.fixture
def ended(monkeypatch, capsys):
    """Runs ``cityair`` with words: its exit status, and what it says on stdout and stderr."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["cityair", *words])
        with pytest.raises(SystemExit) as exit_:
            main()
        return (exit_.value.code or 0, *capsys.readouterr())

    return run


def test_version_is_that_of_the_distribution(ended):
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert ended("--version") == (0, f"cityair {wanted}\n", "")


@pytest.fixture
def failing(monkeypatch):
    """A command line that raises an error."""

    def raising(error):
        def app(*, standalone_mode):
            raise error

        monkeypatch.setattr(cli, "application", lambda *_: app)

    return raising


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        *((kind("why"), kind.status, "cityair: why\n") for kind in errors.CityairError.__subclasses__()),
        (KeyboardInterrupt(), 130, "cityair: interrupted\n"),
        (caused(RuntimeError("a step failed"), errors.BrokerError("away")), 5, "cityair: away\n"),
        (caused(RuntimeError("a step failed"), KeyboardInterrupt()), 130, "cityair: interrupted\n"),
        (BrokenPipeError(), 0, ""),
        (OSError(28, "No space left on device"), 3, "free some space and start again"),
        (RuntimeError("DiskFull"), 3, "for the recovery store; free some space"),
        (ZeroDivisionError("1 / 0"), 1, "this is a fault in cityair itself: ZeroDivisionError('1 / 0')"),
    ],
    ids=str,
)
def test_every_end_has_its_status(ended, failing, error, status, says):
    failing(error)
    code, out, err = ended("run")
    assert (code, out) == (status, "")
    assert says in err
    assert ("Traceback" in err) == (status == 1)


def test_words_that_are_not_known_are_usage(ended):
    code, _, err = ended("nothing")
    assert code == 2
    assert "No such command" in err


def test_every_status_is_documented_in_one_place():
    documented = {int(status) for status in re.findall(r"^(\d+) ", cli.__doc__, re.M)}
    assert documented == {error.status for error in errors.CityairError.__subclasses__()} | {0, 1, 130}


def test_warnings_of_the_library_are_messages_like_all(ended, monkeypatch):
    def app(*, standalone_mode):
        logging.getLogger("cityair").warning("%s is left out", "it")

    monkeypatch.setattr(cli, "application", lambda *_: app)
    assert ended("run") == ended("run") == (0, "", "cityair: it is left out\n")
