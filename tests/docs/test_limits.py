"""Limits of size, and where modules and names stand.

What passes a limit says why in its docstring, or in a comment right above it, and names the limit in the words that are
looked for: "more than 400 lines", "more than 50 lines", "more than 15 methods", "more than 8 parameters".
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import pytest

FILE_LINES, FUNCTION_LINES, METHODS, PARAMETERS = 400, 50, 15, 8
ONE_NAME = ("schemas", "flows", "sinks")
"""Rooms in which no two classes have one name."""
AT_THE_ROOT_OF_FLOWS = {"__init__", "air", "arrays", "resources", "settings"}
"""Dataflows, and what every room below them may use."""


class Size(NamedTuple):
    """A size that passes its limit: what has it, the words that must be said of it, and what is said."""

    name: str
    words: str
    said: str


def sizes(text: str) -> Iterator[Size]:
    """What in a file passes a limit."""
    lines = text.splitlines()
    tree = ast.parse(text)
    if len(lines) > FILE_LINES:
        yield Size("the file", f"more than {FILE_LINES} lines", ast.get_docstring(tree) or "")
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        said = comment_above(node, lines) + (ast.get_docstring(node) or "")
        if isinstance(node, ast.ClassDef):
            if sum(isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) for part in node.body) > METHODS:
                yield Size(node.name, f"more than {METHODS} methods", said)
            continue
        if length(node) > FUNCTION_LINES:
            yield Size(node.name, f"more than {FUNCTION_LINES} lines", said)
        if len(parameters(node)) > PARAMETERS:
            yield Size(node.name, f"more than {PARAMETERS} parameters", said)


def comment_above(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, lines: list[str]) -> str:
    """The comment right above a function or class, and its decorators."""
    end = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
    begin = end
    while begin and lines[begin - 1].lstrip().startswith("#"):
        begin -= 1
    return "\n".join(lines[begin:end])


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its decorators and its docstring."""
    said = node.body[0] if ast.get_docstring(node) is not None else None
    return (node.end_lineno or 0) - node.lineno + 1 - ((said.end_lineno or 0) - said.lineno + 1 if said else 0)


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of the parameters, but for that of the object itself."""
    names = [parameter.arg for parameter in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


@pytest.fixture(scope="module")
def modules(texts, root):
    """The text of every Python file, by its path from the root."""
    return {path.relative_to(root): text for path, text in texts.items() if path.suffix == ".py"}


def test_what_passes_a_limit_says_why(modules):
    silent = [
        f"{path}: {size.name}: {size.words}, and no sentence says why"
        for path, text in modules.items()
        for size in sizes(text)
        if size.words not in " ".join(size.said.replace("#", " ").lower().split())
    ]
    assert silent == []


def test_no_two_classes_have_one_name(modules):
    places = defaultdict(list)
    for path, text in modules.items():
        if path.parts[0] in ONE_NAME:
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(str(path))
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_at_the_root_of_flows_stand_dataflows_and_what_all_rooms_use(modules):
    assert {path.stem for path in modules if path.parts[0] == "flows" and len(path.parts) == 2} == AT_THE_ROOT_OF_FLOWS


GOOD = '''
# More than 8 parameters: for this test.
@decorator
def wide(a, b, c, d, e, f, g, h, i):
    """Nothing."""
'''


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#\n" * 401, ["more than 400 lines"]),
        ("#\n" * 400, []),
        ("def long():\n" + "    pass\n" * 50, ["more than 50 lines"]),
        ('def long():\n    """One.\n\n    Two.\n    """\n' + "    pass\n" * 49, []),
        ("class Large:\n" + "".join(f"    def m{i}(self): ...\n" for i in range(16)), ["more than 15 methods"]),
        ("def wide(a, b, c, d, /, e, f, g, *, h, i): ...", ["more than 8 parameters"]),
        ("class A:\n    def wide(self, b, c, d, e, f, g, h, i): ...", []),
        (GOOD, ["more than 8 parameters"]),
    ],
)
def test_sizes(text, words):
    assert [size.words for size in sizes(text)] == words


def test_a_sentence_stands_in_the_docstring_or_in_the_comment_above():
    [size] = sizes(GOOD)
    assert size.said == "# More than 8 parameters: for this test.Nothing."
    [size] = sizes(GOOD.replace("# More", "\nx = 1  # More"))
    assert "More" not in size.said
