"""What the Makefile calls exists, and takes the options that it gives."""

import importlib
import re

import pytest

MODULE = re.compile(r"^\t\$\(BIN\)/python -m ((?:benchmarks|tests)[\w.]*)(.*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def makefile(root):
    return (root / "Makefile").read_text(encoding="utf-8")


def test_every_module_that_a_target_runs_takes_its_options(makefile, capsys):
    calls = MODULE.findall(makefile)
    assert {name for name, _ in calls} > {"tests.chaos.kill", "tests.chaos.kafka_kill", "tests.chaos.proofs"}
    for name, words in calls:
        module = importlib.import_module(f"{name}.__main__" if "." not in name else name)
        with pytest.raises(SystemExit) as ended:
            module.main(["--help"])
        assert not ended.value.code
        printed = capsys.readouterr().out
        for word in words.split():
            assert word.isdecimal() or word in printed, f"python -m {name} {words}: no {word}"


def test_every_target_is_phony_and_says_what_it_does(makefile):
    [phony] = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    targets = dict(re.findall(r"^([a-z-]+):(.*)$", makefile, re.MULTILINE))
    assert set(phony.split()) == set(targets)
    for name, rest in targets.items():
        assert "## " in rest, name


def test_pages_name_targets_that_are_there(makefile, pages):
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page, text in pages.items():
        for name in re.findall(r"`make ([a-z-]+)`", text):
            assert name in targets, f"{page}: make {name}"
