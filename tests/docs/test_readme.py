"""The README tells the truth: its commands exist, its examples run and answer as shown, its settings can be read."""

import doctest
import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest
import typer

from flows.cli import application, main
from flows.sources.tables import column_map as columns
from schemas import city, errors

BLOCK = re.compile(r"^ *```(\w+)(?: (\S+))?\n(.*?)^ *```$", re.M | re.S)


@pytest.fixture(scope="module")
def blocks(pages):
    """Fenced blocks of the README: language, name of the file it shows, text."""
    return BLOCK.findall(pages[Path("README.md")])


@pytest.fixture(scope="module")
def commands(root):
    """Every command that does something, by its words."""
    spec = importlib.util.spec_from_file_location("generate_cli", root / "docs" / "generate_cli.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, dict(module.commands(typer.main.get_command(application())))


def shown(blocks, *languages):
    """Words of each `$ cityair …` line; two spaces begin its explanation."""
    for language, _, text in blocks:
        if language in languages:
            for line in re.findall(r"^\$ (cityair .*)$", text, re.M):
                yield shlex.split(re.split(r" {2,}(?=[a-z ]+$)", line)[0])


def named(words, known):
    """Name the command that words call."""
    return max((name for name in known if words[1:][: len(name.split())] == name.split()), key=len, default=None)


def test_every_command_is_listed_and_every_listed_one_exists(blocks, commands):
    _, known = commands
    listed = [named(words, known) for words in shown(blocks, "text")]
    assert sorted(listed) == sorted(known)


def test_options_of_the_examples_exist(blocks, commands):
    _, known = commands
    for words in shown(blocks, "text", "console"):
        command = known[named(words, known)]
        options = {option for parameter in command.params for option in parameter.opts}
        for word in words:
            assert not word.startswith("--") or word in options, words


def test_the_page_of_commands_is_current(root, commands):
    module, known = commands
    page = (root / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == module.page(), "run: python docs/generate_cli.py"
    assert re.findall(r"^## cityair (.*)$", page, re.M) == list(known)


def test_examples_run_and_answer_as_shown(blocks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for _, name, text in blocks:
        if name:
            (tmp_path / name).write_text(text, encoding="utf-8")
    ran = 0
    for language, _, text in blocks:
        if language == "python":
            check_python(text)
        for command in re.split(r"^\$ ", text, flags=re.M)[1:] if language == "console" else ():
            line, _, wanted = command.partition("\n")
            monkeypatch.setattr(sys, "argv", shlex.split(line))
            with pytest.raises(SystemExit) as ended:
                main()
            said = "".join(capsys.readouterr())
            assert ended.value.code == 0, said
            assert re.fullmatch(".*?".join(map(re.escape, flat(wanted).split("…"))), flat(said)), f"{line}\n{said}"
            ran += 1
    assert ran >= 4


def check_python(text):
    """Run a Python session; its answers must be those shown, but for blanks."""
    session = doctest.DocTestParser().get_doctest(text, {}, "README.md", "README.md", 0)
    differences = []
    ran = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(session, out=differences.append)
    assert not differences, "".join(differences)
    assert ran.attempted >= 3


def flat(text):
    """Without blanks at line ends."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def test_settings_shown_can_be_read(blocks):
    files = {name: text.encode() for _, name, text in blocks if name}
    assert city.parse(files["city.toml"]).stations[0].every == "1h"
    assert columns.parse(files["map.toml"], "map.toml").layout("x.csv").values["o3"].scale == 0.001


def test_maps_that_ship_are_named(pages):
    told = pages[Path("README.md")].split("Maps that ship:")[1].split(".")[0]
    assert sorted(re.findall(r"`([\w-]+)`", told)) == sorted(columns.known_maps())


@pytest.mark.parametrize("page", ["README.md", "docs/operations.md"])
def test_every_exit_code_is_told(pages, page):
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", pages[Path(page)], re.M)}
    ours = {error.status for error in errors.CityairError.__subclasses__()}
    assert told == ours | {0, 1, 130}
