"""The pages for whoever carries the project on, held against the files; their examples are run."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
SOURCE = PROJECT / "src" / "echowire"
DESIGN = PROJECT / "docs" / "design.md"
CONTRIBUTING = PROJECT / "docs" / "contributing.md"
PAGES = (DESIGN, CONTRIBUTING, PROJECT / "SECURITY.md")
"""Pages that name files; in backticks, from `src/echowire/` or the project's root on."""

ROOTS = (SOURCE, PROJECT)
LEAST_ENTRIES = 40
MOST_FOLDERS = 60
"""What one can read through to choose a folder."""

CODE = re.compile(r"`([^`\n]+)`")
PATH = re.compile(r"[\w.-]*(?:/[\w.-]+)*(?:/|\.(?:py|md|toml|json|txt|lock))")
PLANNED = re.compile(r"`([^`\n]+)` \*\(to come\)\*")
NAMED = re.compile(r"`([^`\n]+\.py)`\s\((`[^)]+`)\)")
"""A file, and in round brackets names that are defined in it."""
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```python file=(\S+)(?: after=\"([^\n]*)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATIENCE_S = 120.0


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def section(page: Path, title: str) -> str:
    return prose(page).split(f"\n## {title}\n")[1].split("\n## ")[0]


def cells(table: str) -> list[list[str]]:
    """The rows of a table, without its head."""
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in lines[2:]]


def find(path: str) -> Path | None:
    return next((root / path for root in ROOTS if (root / path).exists()), None)


def paths_of(text: str) -> list[str]:
    """The paths that a text names as there."""
    there = PLANNED.sub("", text)
    return [word for word in CODE.findall(there) if PATH.fullmatch(word)]


@cache
def defined_in(file: Path) -> frozenset[str]:
    """The names that a file defines: at its top, and within its classes as `Class.name`."""
    return frozenset(_defined(ast.parse(file.read_text(encoding="utf-8")).body, ""))


def _defined(body: Sequence[ast.stmt], prefix: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from _defined(node.body, f"{node.name}.")
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        yield from (prefix + target.id for target in targets if isinstance(target, ast.Name))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_path_that_is_named_is_there(page: Path) -> None:
    paths = paths_of(prose(page))
    assert paths and [path for path in paths if find(path) is None] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_name_is_defined_in_its_file(page: Path) -> None:
    wrong = []
    for path, names in NAMED.findall(prose(page)):
        file = find(path)
        known = defined_in(file) if file else frozenset[str]()
        wrong += [f"{path}: {name}" for name in CODE.findall(names) if name not in known]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_to_come_has_not_come_yet(page: Path) -> None:
    assert [path for path in PLANNED.findall(prose(page)) if find(path)] == [], "take the mark away"


@pytest.mark.parametrize("page", [*PAGES, PROJECT / "README.md"], ids=lambda page: page.name)
def test_each_link_leads_somewhere(page: Path) -> None:
    links = LINK.findall(prose(page))
    assert links and [link for link in links if not (page.parent / link).exists()] == []


def test_the_index_answers_many_questions() -> None:
    rows = cells(section(DESIGN, "Where is …"))
    assert len(rows) >= LEAST_ENTRIES
    assert [row for row in rows if len(row) != 2] == []
    assert [question for question, answer in rows if not (paths_of(answer) or PLANNED.findall(answer))] == []
    questions = [question for question, _ in rows]
    assert sorted(set(questions)) == sorted(questions)


def test_every_folder_is_in_the_picture_of_the_rooms() -> None:
    picture = DESIGN.read_text(encoding="utf-8").split("## The rooms")[1].split("\n## ")[0]
    folders = [path.parent.relative_to(SOURCE) for path in SOURCE.rglob("__init__.py") if path.parent != SOURCE]
    assert len(folders) < MOST_FOLDERS
    assert [str(folder) for folder in folders if f" {folder.name}/" not in picture] == []


def test_a_walk_is_two_look_ups() -> None:
    rows = cells(section(DESIGN, "Ten walks"))
    assert len(rows) == 10
    for question, folder, file in rows:
        [chosen] = PLANNED.findall(folder) or paths_of(folder)
        assert chosen.endswith("/"), question
        for path in paths_of(file):
            assert str(Path(path).parent) == chosen.rstrip("/"), question


@dataclass(frozen=True)
class Block:
    """A piece of code of a page: a whole file, or lines that stand behind a line of one."""

    file: str
    after: str
    text: str


def blocks(title: str) -> list[Block]:
    """The blocks of one chapter of contributing.md that are for a file."""
    text = CONTRIBUTING.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    return [Block(*found) for found in BLOCK.findall(text)]


def written(folder: Path, chapter: Sequence[Block]) -> None:
    """The project's code in `folder`, with the blocks in it."""
    for name in ("src", "tests", "fuzz"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", folder)
    for block in chapter:
        path = folder / block.file
        if not block.after:
            assert not path.exists(), f"{block.file} is there already: take another example"
            path.write_text(block.text, encoding="utf-8")
            continue
        before, line, behind = path.read_text(encoding="utf-8").partition(f"{block.after}\n")
        assert line, f"{block.file} has no line {block.after!r} any more: mend docs/contributing.md"
        path.write_text(before + line + block.text + behind, encoding="utf-8")


def run_tests(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest over the code in `folder`, not over that of the project."""
    begin = f"import sys; sys.path[:0] = [{str(folder / 'src')!r}, {str(folder)!r}]; import pytest; "
    end = f"import echowire; assert echowire.__file__.startswith({str(folder)!r}); sys.exit(status)"
    code = f"{begin}status = pytest.main(sys.argv[1:]); {end}"
    command = [sys.executable, "-c", code, "-q", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)


def test_the_protocol_of_contributing_dissects_packets(tmp_path: Path) -> None:
    chapter = blocks("A protocol, from nothing")
    source, test = chapter
    written(tmp_path, chapter)
    done = run_tests(tmp_path, test.file)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / source.file).unlink()
    done = run_tests(tmp_path, test.file, "-k", "is_up")
    assert done.returncode == 1 and "there is no field 'bfd." in done.stdout, "its test passes without the protocol"


def test_the_cause_of_contributing_is_told(tmp_path: Path) -> None:
    chapter = blocks("A cause of failure, from nothing")
    written(tmp_path, chapter)
    [name] = re.findall(r"def (test_\w+)", chapter[-1].text)
    done = run_tests(tmp_path, f"{chapter[-1].file}::{name}", "tests/core/failures/test_explain.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_cause_of_contributing_is_told_by_what_it_adds(tmp_path: Path) -> None:
    *_, test = blocks("A cause of failure, from nothing")
    written(tmp_path, [test])
    [name] = re.findall(r"def (test_\w+)", test.text)
    done = run_tests(tmp_path, f"{test.file}::{name}")
    assert done.returncode == 1 and "1 failed" in done.stdout
