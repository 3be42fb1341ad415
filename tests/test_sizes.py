"""Sizes, as a test: a file of the package has at most 500 lines, a function at most 60, but for those below."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "echowire"

FILE_LINES = 500
FUNCTION_LINES = 60
"""From `def` to its last line, with its docstring, without decorators."""

EXCEPTIONS: Mapping[str, str] = {}
"""What may be longer, and why: a file that is a table, or a function with an essay that says what it would lose."""


def too_long(root: Path) -> dict[str, int]:
    """How many lines each file, and each function, has that has too many."""
    sizes = {}
    for path in sorted(root.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        name = path.relative_to(root).as_posix()
        lines = len(text.splitlines())
        if lines > FILE_LINES:
            sizes[name] = lines
        sizes |= {f"{name} {function}": size for function, size in _functions(ast.parse(text)) if size > FUNCTION_LINES}
    return sizes


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, int]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield prefix + node.name, node.end_lineno - node.lineno + 1
        inner = f"{prefix}{node.name}." if isinstance(node, ast.ClassDef) else prefix
        yield from _functions(node, inner)


def test_nothing_is_too_long_but_the_exceptions() -> None:
    assert {name: lines for name, lines in too_long(SOURCE).items() if name not in EXCEPTIONS} == {}


def test_every_exception_is_one() -> None:
    assert sorted(EXCEPTIONS.keys() - too_long(SOURCE).keys()) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x = 1\n" * 500, {}),
        ("x = 1\n" * 501, {"a.py": 501}),
        ("def f():\n" + "    x = 1\n" * 59, {}),
        ("def f():\n" + "    x = 1\n" * 60, {"a.py f": 61}),
        ("class A:\n    async def f(self):\n" + "        x = 1\n" * 60, {"a.py A.f": 61}),
        ("if True:\n    def f():\n" + "        x = 1\n" * 60, {"a.py f": 61}),
    ],
)
def test_what_is_too_long_is_found(tmp_path: Path, text: str, found: Mapping[str, int]) -> None:
    (tmp_path / "a.py").write_text(text, encoding="utf-8")
    assert too_long(tmp_path) == found
