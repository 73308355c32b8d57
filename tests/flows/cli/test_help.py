"""``cityair --help`` names every command as it is, and loads none."""

import subprocess
import sys

import typer
from typer.testing import CliRunner

from flows.cli import COMMANDS, application, overview


def test_commands_are_named_as_their_help_begins():
    real = typer.main.get_command(application())
    assert list(real.commands) == list(COMMANDS)
    for name, summary in COMMANDS.items():
        assert real.commands[name].help.split("\n\n")[0].replace("\n", " ") == summary


def test_help_is_that_of_the_whole_command_line():
    run = CliRunner().invoke
    assert run(overview(), ["--help"]).output == run(application(), ["--help"]).output


def test_help_loads_no_engine():
    code = (
        "import sys; from flows.cli import main; sys.argv = ['cityair', '--help']\n"
        "try:\n    main()\nfinally:\n    print(sorted({'bytewax', 'duckdb', 'numpy', 'pandas'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Commands" in done.stdout
    assert done.stdout.rstrip().endswith("[]")
