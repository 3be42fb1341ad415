"""Would the tests notice? Small faults put into the pure code, one at a time, and its own tests run against each.

A fault is one comparison, one number, one `and` or one `+` that is another than it was. It is *killed* when a test of
the module, or of its folder, fails. What survives is a line that nothing holds, or one where the fault makes no
difference: both are printed, to be looked at.

    python -m fuzz.mutations [COUNT] [SEED] [--under core/packets] [--jobs 2]
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

PROJECT = Path(__file__).parents[1]
SOURCE = PROJECT / "src"
TESTS_S = 300
"""What the tests of one fault may take; a fault that makes them take longer is killed."""

COMPARISONS: Mapping[type[ast.cmpop], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.In: "not in",
    ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
SIGNS: Mapping[type[ast.operator], str] = {ast.Add: "-", ast.Sub: "+"}


@dataclass(frozen=True, slots=True)
class Fault:
    """Text of a module from `start` to `end`, in bytes, that becomes `text`."""

    path: Path
    line: int
    start: int
    end: int
    text: str

    def __str__(self) -> str:
        source = self.path.read_bytes()
        was = source[self.start : self.end].decode().strip()
        line = source.decode().splitlines()[self.line - 1].strip()
        return f"{self.path.relative_to(SOURCE)}:{self.line} {was!r} became {self.text.strip()!r}: {line}"


def faults_of(path: Path) -> Iterator[Fault]:
    """Every fault that can be put into a module, but none into the values of its tables and of its types."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def at(line: int, column: int) -> int:
        return starts[line - 1] + column

    def between(left: ast.expr, right: ast.expr, text: str) -> Fault:
        start, end = at(left.end_lineno or 0, left.end_col_offset or 0), at(right.lineno, right.col_offset)
        gap = source[start:end].decode()
        # Brackets may stand between an operand and its sign: they stay.
        head, tail = gap[: len(gap) - len(gap.lstrip(" )\n"))], gap[len(gap.rstrip(" (\n")) :]
        return Fault(path, left.end_lineno or 0, start, end, f"{head or ' '}{text}{tail or ' '}")

    for node in _in_functions(ast.parse(source)):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
            yield between(node.left, node.comparators[0], COMPARISONS[type(node.ops[0])])
        elif isinstance(node, ast.BoolOp):
            yield between(node.values[0], node.values[1], "or" if isinstance(node.op, ast.And) else "and")
        elif isinstance(node, ast.BinOp) and type(node.op) in SIGNS:
            yield between(node.left, node.right, SIGNS[type(node.op)])
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            start, end = at(node.lineno, node.col_offset), at(node.lineno, node.end_col_offset or 0)
            yield Fault(path, node.lineno, start, end, str(node.value + 1))


def _in_functions(tree: ast.Module) -> Iterator[ast.AST]:
    """Nodes of what runs: in functions, their annotations left out."""
    seen: set[int] = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.Lambda):
            for part in function.body if isinstance(function.body, list) else [function.body]:
                for node in ast.walk(part):
                    if id(node) not in seen and not isinstance(node, ast.AnnAssign):
                        seen.add(id(node))
                        yield node


def tests_of(path: Path) -> list[Path]:
    """Those of the module itself, or of its family, and then those of its folder."""
    inside = path.relative_to(SOURCE / "echowire")
    mirror = PROJECT / "tests" / inside.parent
    own = [mirror / f"test_{path.stem}.py", mirror.with_name(f"test_{mirror.name}.py")]
    while not mirror.is_dir():
        mirror = mirror.parent
    return [*(each for each in own if each.exists()), mirror]


def is_killed(fault: Fault, copy: Path) -> bool:
    """Put the fault into a copy of the source, run the tests, and mend it."""
    victim = copy / fault.path.relative_to(SOURCE)
    source = fault.path.read_bytes()
    victim.write_bytes(source[: fault.start] + fault.text.encode() + source[fault.end :])
    try:
        return any(_fails(tests, copy) for tests in tests_of(fault.path))
    finally:
        victim.write_bytes(source)


def _fails(tests: Path, copy: Path) -> bool:
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    words = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout", "60", str(tests))
    try:
        done = subprocess.run(words, cwd=PROJECT, env=environment, capture_output=True, timeout=TESTS_S)
    except subprocess.TimeoutExpired:
        return True
    return done.returncode not in (0, 5)  # 5: no test was there


def main() -> int:
    """Draw, run, and print; exit 1 where fewer than nine of ten are killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, nargs="?", default=300)
    parser.add_argument("seed", type=int, nargs="?", default=1)
    parser.add_argument("--under", default="core")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    every = [fault for path in sorted((SOURCE / "echowire" / asked.under).rglob("*.py")) for fault in faults_of(path)]
    drawn = random.Random(asked.seed).sample(every, min(asked.count, len(every)))
    survivors: list[Fault] = []
    with tempfile.TemporaryDirectory() as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(asked.jobs):
            copies.put(Path(shutil.copytree(SOURCE, Path(folder) / str(number))))

        def judge(fault: Fault) -> bool:
            copy = copies.get()
            try:
                return is_killed(fault, copy)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(asked.jobs) as pool:
            for number, (fault, killed) in enumerate(zip(drawn, pool.map(judge, drawn), strict=True), 1):
                if not killed:
                    survivors.append(fault)
                    print(f"survived: {fault}", flush=True)
                if number % 20 == 0:
                    print(f"{number} of {len(drawn)}: {len(survivors)} survived", file=sys.stderr, flush=True)
    print(f"{len(drawn) - len(survivors)} of {len(drawn)} killed (of {len(every)} that there are)")
    return 0 if len(survivors) * 10 <= len(drawn) else 1


if __name__ == "__main__":
    sys.exit(main())
