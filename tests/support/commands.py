"""Commands of ``cityair``, run in this process."""

from typer.testing import CliRunner

from flows.cli import application


def invoke(*words, check=True):
    """Run a command with these words and return its result; with ``check``, an error of ours is raised as itself."""
    result = CliRunner().invoke(application(str(words[0])), [str(word) for word in words])
    if check and result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def stdout_of(*words):
    """Run a command that must succeed; return what it prints on stdout."""
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    return result.stdout
