"""Pages fit together and fit the code: links, names of files and functions, tables, settings, decisions."""

import ast
import itertools
import re
import tomllib
from pathlib import Path

import pytest

from schemas.tables import TABLES
from sinks.catalog import catalog

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
NAMED_PATH = re.compile(
    r"`((?:benchmarks|config|docs|examples|flows|notebooks|schemas|sinks|tests)/(?:[\w./-]*\w)?/?)(?=[`:])"
)
NAMED = re.compile(r"`([\w/]+\.py): ([\w.]+)")
PATH = re.compile(r"\w+(/|\.py)")
ROOMS = ("schemas", "flows", "sinks")


def anchors(text):
    """Names under which a page's headings are linked."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)}


def test_links_resolve(root, pages):
    checked = 0
    for page, text in pages.items():
        for link in LINK.findall(text):
            if link.startswith(("http:", "https:")):
                continue
            path, _, anchor = link.partition("#")
            target = (root / page.parent / path).resolve() if path else root / page
            assert target.exists(), f"{page}: {link}"
            if anchor:
                assert anchor in anchors(target.read_text(encoding="utf-8")), f"{page}: {link}"
            checked += 1
    assert checked > 20


@pytest.fixture(scope="module")
def modules(tracked, root):
    """Python files of the three packages, by path from the root."""
    found = [path.relative_to(root) for path in tracked if path.suffix == ".py"]
    return [path for path in found if path.parts[0] in ROOMS and path.name != "__init__.py"]


def test_every_module_has_its_place_in_the_tree(pages, modules):
    tree = pages[Path("docs/architecture.md")].split("```text\n")[1].split("```")[0]
    assert sorted(listed(tree)) == sorted(path.as_posix() for path in modules)


def listed(tree):
    """Yield the modules of a tree, by path: a folder ends in a slash, and two spaces lead into it."""
    folders = []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        for name in itertools.takewhile(PATH.fullmatch, line.split()):
            if name.endswith("/"):
                folders = [*folders[:depth], name]
            else:
                yield "".join([*folders[:depth], name])


def test_layers_are_those_that_are_held(root, pages):
    held = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    [layers] = [contract["layers"] for contract in held if contract["type"] == "layers"]
    told = pages[Path("docs/architecture.md")].split("```layers\n")[1].split("```")[0]
    assert told.splitlines() == layers


def test_functions_named_exist(root, pages, modules):
    named = NAMED.findall(pages[Path("docs/architecture.md")] + pages[Path("CONTRIBUTING.md")])
    assert len(named) > 20
    for file, dotted in named:
        assert Path(file) in modules, file
        scope = ast.parse((root / file).read_text(encoding="utf-8")).body
        for name in dotted.rstrip(".").split("."):
            scope = next((inner for inner in definitions(scope) if inner[0] == name), (None, None))[1]
            assert scope is not None, f"{file} has no {dotted}"


def test_paths_named_exist(root, pages):
    checked = 0
    for page, text in pages.items():
        if page.parent == Path("docs/decisions") or page == Path("CHANGELOG.md"):
            continue  # they tell of their day
        for path in NAMED_PATH.findall(text):
            assert (root / path).exists(), f"{page}: {path}"
            checked += 1
    assert checked > 100


def definitions(body):
    """Yield names defined in a module or class, with what is defined in them."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node.body
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    yield target.id, []


def test_every_table_and_view_is_told(pages):
    page = pages[Path("docs/tables.md")]
    for name in TABLES:
        assert f"\n## {name}\n" in page
    for view in catalog.views():
        assert f"| `{view.name}` |" in page


def test_every_setting_of_the_environment_is_told(root, modules, pages):
    read = {
        name
        for module in modules
        for name in re.findall(r"""["'](CITYAIR_[A-Z]+)["']""", (root / module).read_text(encoding="utf-8"))
    }
    told = set(re.findall(r"^\| `(CITYAIR_[A-Z]+)` \|", pages[Path("docs/operations.md")], re.M))
    assert told == read
    assert len(told) > 5


def test_decisions_are_dated_and_listed(pages):
    folder = Path("docs/decisions")
    listed = LINK.findall(pages[folder / "README.md"])
    found = sorted(page.name for page in pages if page.parent == folder and page.name != "README.md")
    assert listed == found
    numbers = [name.partition("-")[0] for name in found]
    assert len({*numbers}) == len(numbers), "a number stands for one decision"
    for number, name in zip(numbers, found, strict=True):
        text = pages[folder / name]
        assert re.match(rf"# {number} .+\n\n20\d\d-\d\d-\d\d\n\n\*\*Context\.\*\* ", text), name
        assert re.fullmatch(r"\d{4}", number)
        assert all(f"**{part}" in text for part in ("Choice.", "Why", "What it costs.")), name
        assert f"[{number}]({name}) | {text.splitlines()[0][7:]} |" in pages[folder / "README.md"]


def test_the_changelog_has_a_place_for_what_comes(pages):
    assert "\n## [Unreleased]\n" in pages[Path("CHANGELOG.md")]
