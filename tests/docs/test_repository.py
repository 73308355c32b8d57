"""What must hold of every file of the project."""

import importlib.metadata
import re

from ruamel.yaml import YAML

ROOMS = ("cityair", "schemas", "flows", "sinks")
MISSPELLED_ON_PURPOSE = {
    "tests/flows/cli/test_run.py": "asks for a flow that does not exist",
    "tests/sinks/catalog/test_snapshot.py": "a key that no city file has",
}
# Written in pieces, because this file is searched too.
PLACES = re.compile("|".join(f"/{top}/" for top in ("work", "root", "home", "Users")))
REGISTRIES = re.compile(
    "|".join(("index-" + "url", "trusted-" + "host", "pypi" + r"\.org", "python" + "hosted", "/sim" + "ple/"))
)


def test_no_place_of_one_machine_and_no_registry(texts, root):
    for path, text in texts.items():
        for pattern in (PLACES, REGISTRIES):
            found = pattern.search(text)
            assert not found, f"{path.relative_to(root)}: {found[0]}"


def test_constraints_are_names_and_versions_alone(root):
    for line in (root / "constraints.txt").read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"[\w.-]+==[\w.+!]+", line), line


def test_pages_stand_on_their_own(pages):
    elsewhere = re.compile(r"\bshared/|\b(?:engine|design|style|kafka|domain|peers)\.md\b|\bissue #?\d")
    for page, text in pages.items():
        found = elsewhere.search(text)
        assert not found, f"{page}: {found[0]}"


def test_no_other_distribution_claims_our_packages():
    claimed = importlib.metadata.packages_distributions()
    for room in ROOMS:
        assert set(claimed.get(room, [])) <= {"cityair"}


def test_odor_is_spelled_as_those_who_asked_spell_it(texts, root):
    other = "odo" + "ur"
    for path, text in texts.items():
        name = path.relative_to(root).as_posix()
        assert other not in text.lower() or name in MISSPELLED_ON_PURPOSE, name


def test_pre_commit_runs_what_make_lint_runs(root):
    [repository] = YAML(typ="safe").load((root / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == ["make lint"]
