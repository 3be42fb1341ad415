"""What docstrings, comments and documents name is there: files, folders, modules, and what is in them."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import pytest

from echowire.core.schemas import SCHEMAS

PROJECT = Path(__file__).parents[1]
FOLDERS = ("src", "tests", "bench", "fuzz", "examples")
TEXTS = ("README.md", "docs")

FILE = re.compile(r"(?<![\w./<*{-])(?:[\w-]+/)*[\w-]+\.py\b")
"""`engines/serving/base.py`, `base.py`."""

FOLDER = re.compile(r"`((?:[\w-]+/)+)`")
"""A folder, which stands in backticks with a slash at its end."""

NAME = re.compile(r"(?<![\w./<-])(?:echowire|core|kernel|engines|verbs|cli|testing)(?:\.(?!py\b)[A-Za-z_]\w*)+")
"""`echowire.core.packets.layers`, `kernel.connections`, and what is in a module: `echowire.errors.UsageError`."""

ELSEWHERE: Mapping[str, str] = {
    "json.py": "a file that somebody else has put into the working directory",
    "kernel.org": "a site",
    "make_capture.py": "makes the capture that docs/performance.md measures with, and is no part of the project",
}
"""What looks like a name of the project's and is none, and what it is."""

HELD_ELSEWHERE = frozenset({"docs/design.md", "docs/contributing.md", "SECURITY.md"})
"""Pages that also name what is to come: `tests/test_docs.py` looks at them."""


def mentions(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a document, or of the docstrings and comments of a module, and their numbers."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from enumerate(node.value.value.splitlines(), node.lineno)


def documents() -> list[Path]:
    """All files whose words are looked at."""
    modules = [path for folder in FOLDERS for path in (PROJECT / folder).rglob("*.py")]
    texts = [path for name in TEXTS for path in (PROJECT / name, *(PROJECT / name).rglob("*.md")) if path.is_file()]
    return [path for path in (*modules, *texts) if path.relative_to(PROJECT).as_posix() not in HELD_ELSEWHERE]


def faults(path: Path) -> list[str]:
    """What a file names that is not there."""
    found = []
    for line, text in mentions(path):
        wrong = [name for name in FILE.findall(text) if name not in ELSEWHERE and not is_file(name)]
        wrong += [name for name in FOLDER.findall(text) if not is_folder(name)]
        wrong += [name for name in NAME.findall(text) if name not in ELSEWHERE and not is_name(name)]
        found += [f"{path.name}:{line} names {name}" for name in wrong]
    return found


@cache
def _files() -> frozenset[str]:
    return frozenset(
        path.relative_to(PROJECT).as_posix() for folder in FOLDERS for path in (PROJECT / folder).rglob("*.py")
    )


def is_file(name: str) -> bool:
    """Whether a file has this name, or ends in this path."""
    return any(path == name or path.endswith(f"/{name}") for path in _files())


def is_folder(name: str) -> bool:
    """The same of a folder with a slash at its end."""
    return (PROJECT / name).is_dir() or any(f"/{name}" in f"/{path}" for path in _files())


@cache
def _schemas() -> frozenset[str]:
    """What JSON documents are called."""
    return frozenset(f"echowire.{name}" for name in SCHEMAS)


@cache
def is_name(name: str) -> bool:
    """Whether `name` is a module of the package, what is in one (`echowire.` in front of it may be left out), or a
    document's."""
    if name in _schemas():
        return True
    parts = name.removeprefix("echowire.").split(".")
    for size in range(len(parts), -1, -1):
        module = ".".join(("echowire", *parts[:size]))
        try:
            if find_spec(module) is None:
                continue
        except ModuleNotFoundError:
            continue
        thing: object = import_module(module)
        for part in parts[size:]:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("# as `units.py` and core/units.py and src/echowire/core/units.py have it", []),
        ("# as wire/units.py has it", ["wire/units.py"]),
        ('"""See `engines/load/` and `core/`."""', []),
        ('"""See\n`wire/`."""', ["wire/"]),
        ("x = 1\n'''See `echowire.errors.UsageError`, `core.units`, `echowire.ping`.'''", []),
        ("# `echowire.objects` is a document", []),
        ("# as `kernel.listen` and echowire.errors.NoError have it", ["kernel.listen", "echowire.errors.NoError"]),
        ("x = 'wire/units.py, kernel.listen'", []),
    ],
)
def test_what_is_not_there_is_found(tmp_path: Path, text: str, found: list[str]) -> None:
    (tmp_path / "a.py").write_text(text, encoding="utf-8")
    assert [fault.rpartition(" ")[2] for fault in faults(tmp_path / "a.py")] == found


@pytest.mark.parametrize("folder", [*FOLDERS, *TEXTS])
def test_what_is_named_is_there(folder: str) -> None:
    named = [path for path in documents() if path.relative_to(PROJECT).parts[0] == folder]
    assert [fault for path in named for fault in faults(path)] == []
