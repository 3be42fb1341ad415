"""The layers, as a test: who may import whom, that no two modules import each other, and what the package exports.

The tables below are the rule; the rest walks the syntax trees, so that an import inside a function or under
TYPE_CHECKING counts as one at the top does.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import echowire

PROJECT = Path(__file__).parents[1]
SOURCE = PROJECT / "src" / "echowire"

PUBLIC = "echowire"
"""The row of the package itself: the public names."""

ANY = "*"
"""What is imported by a name made at run time, as `__getattr__` of the public names does."""

ROWS: tuple[str, ...] = (
    "core.text",  # an error is told in text that cannot harm
    "errors",
    "model",
    "core",  # schemas, units, nearest
    "core.bpf",
    "core.figures",
    "core.captures",
    "core.packets",
    "core.packets.tcp",
    "core.packets.protocols.dns",
    "core.packets.protocols.dhcp",
    "core.packets.protocols.ethernet",
    "core.packets.protocols.http",
    "core.packets.protocols.ipv4",
    "core.packets.protocols.ipv6",
    "core.packets.protocols.quic",
    "core.packets.protocols.tcp",
    "core.packets.protocols.tls",
    "core.packets.protocols",
    "core.packets.registry",  # made of the protocols
    "core.packets.dissect",  # asks the registry for the next of them
    "core.packets.chosen",
    "core.filters",
    "core.views",
    "core.probing",
    "core.services",  # one of them is a reflector of probes
    "core.load",
    "core.reports",
    "core.reports.tcp",
    "core.reports.choose",  # knows all reports by name
    "core.owners",
    "core.sockets",
    "core.failures.facts",
    "core.failures.causes",
    "core.failures",
    "kernel",  # boundary, clock, interpreter, key_file, output_files, privileges
    "kernel.bpf",
    "kernel.connections",
    "kernel.tables",
    "kernel.captures",
    "engines",
    "engines.serving",
    "engines.load",
    "engines.probing",
    "verbs",
    "aio",
    PUBLIC,
    "testing",
    "pytest_plugin",
    "cli",
    "__main__",
)
"""The rooms, one subject a folder, from the ground up: each may import those before it and itself, no other.

A module is of the longest row that it is in, so that one which stands above, or beneath, the rest of its folder can
have a row of its own.
"""

ONLY: Mapping[str, frozenset[str]] = {
    "cli": frozenset({PUBLIC, "errors"}),
    "pytest_plugin": frozenset({PUBLIC, "errors"}),
    "__main__": frozenset({"cli"}),
}
"""Rows that know less than all that is beneath them: the thin ones, which stand on the public names."""

SHARED_BY_VERBS: Mapping[str, str] = {
    "echowire.verbs.explained": "every verb explains its errors the same way",
}
"""Modules in verbs/ that are no verb, for any of them to import."""

VERB_ON_VERB: Mapping[tuple[str, str], str] = {
    ("echowire.verbs.capture", "echowire.verbs.live_capture"): "the stream that `capture` keeps",
    (
        "echowire.verbs.live_capture",
        "echowire.verbs.capture_start",
    ): "the beginning of the stream: a part of the same verb",
    ("echowire.verbs.live_capture", "echowire.verbs.packet_owners"): "whose the packets are: a part of the same verb",
    ("echowire.verbs.capture", "echowire.verbs.read"): "what `capture` keeps is asked as a file that was read",
    ("echowire.verbs.read", "echowire.verbs.exports"): "what a capture carried, as files: a part of the same verb",
    ("echowire.verbs.serve", "echowire.verbs.workers"): "`serve --workers` is a group of processes",
    ("echowire.verbs.conversation", "echowire.verbs.call"): "what one does with call's peer: a part of the same verb",
    ("echowire.verbs.call", "echowire.verbs.lines"): "lines out of a connection: a part of what call gives",
    ("echowire.verbs.listen", "echowire.verbs.call"): "whoever comes in is a peer as call gives one",
    ("echowire.verbs.tables", "echowire.verbs.sockets"): "the tables beside the sockets': a part of the same verb",
    ("echowire.verbs.socket_events", "echowire.verbs.sockets"): "`sockets --events` chooses as `sockets` does",
    ("echowire.verbs.socket_usage", "echowire.verbs.sockets"): "who uses the network is asked of the same sockets",
    ("echowire.verbs.socket_usage", "echowire.verbs.packet_owners"): "and whose the others are, as of packets",
    ("echowire.verbs.path", "echowire.verbs.ping"): "a path is found by the probes of ping, with hops or sizes",
    ("echowire.verbs.serve", "echowire.verbs.serving"): "what it is asked for",
    ("echowire.verbs.worker", "echowire.verbs.serving"): "one of these processes; it loads a handler as serve does",
}
"""Verbs that are built on another module of verbs/, and why."""

VALUE_MODULES = frozenset(
    {
        "__future__",
        "collections",
        "dataclasses",
        "datetime",
        "enum",
        "errno",
        "functools",
        "ipaddress",
        "math",
        "typing",
    }
)
"""The standard library's value types: all that errors and model may import of it."""

IMPURE = frozenset({"asyncio", "os", "posix", "select", "selectors", "socket", "_socket", "ssl", "subprocess", "time"})
"""Clocks, descriptors and system calls, by any door: never in core."""

PURE_PARTS: Mapping[tuple[str, str], tuple[frozenset[str], str]] = {
    ("echowire.core.services", "time"): (frozenset({"gmtime"}), "a conversion of its argument; reads no clock"),
}
"""What core may take of an impure module all the same, and why."""

IMPURE_CALLS = frozenset({"open", "now", "utcnow", "today"})
"""Calls by which a file or a clock is reached without an import of its own: `open()`, and `datetime`'s."""

_PROTOCOLS = frozenset(row for row in ROWS if row.startswith("core.packets.protocols"))

THIRD_PARTY: Mapping[str, frozenset[str]] = {
    "numpy": _PROTOCOLS
    | {
        "core.captures", "core.figures", "core.filters", "core.load", "core.owners", "core.packets",
        "core.packets.tcp", "core.packets.dissect", "core.packets.registry", "core.packets.chosen", "core.reports",
        "core.reports.tcp", "core.sockets", "core.views", "kernel.captures",
    },
    "polars": frozenset({"core.filters", "core.views"}),
    "psutil": frozenset({"kernel.tables"}),
    "re2": frozenset({"core.filters"}),
    "backports": frozenset({"kernel.captures"}),
    "lz4": frozenset({"kernel.captures"}),
    "uvloop": frozenset({"engines.serving"}),
    "click": frozenset({"cli"}),
    "rich": frozenset({"cli"}),
}  # fmt: skip
"""Package by package, the rows that may import it, if pyproject.toml declares it."""

LIGHT: Mapping[str, frozenset[str]] = {
    "echowire.verbs.serve": frozenset(),
    "echowire.verbs.call": frozenset(),
    "echowire.pytest_plugin": frozenset({"pytest"}),
    "echowire.testing": frozenset(),
    "echowire.cli.serve": frozenset({"click"}),
    "echowire.cli.call": frozenset({"click"}),
}
"""What a server and a client start with, and the only packages that they may load as they start."""

BROUGHT_BY_THE_CALLER: Mapping[tuple[str, str], str] = {
    ("echowire.pytest_plugin", "pytest"): "only pytest loads it",
}
"""Third-party imports that need no declaration, and why."""


DISTRIBUTIONS: Mapping[str, str] = {"re2": "google_re2"}
"""Packages that are declared under another name than that by which they are imported."""


@dataclass(frozen=True, slots=True)
class Import:
    """One import: the module that it stands in, its line, and what it imports."""

    importer: str
    line: int
    target: str

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


@cache
def modules_of(root: Path) -> dict[str, ast.Module]:
    """The syntax tree of each module under `root`, the directory of the package echowire."""
    trees = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        trees[".".join((PUBLIC, *parts))] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return trees


def packages_of(root: Path) -> set[str]:
    return {".".join((PUBLIC, *path.parent.relative_to(root).parts)) for path in root.rglob("__init__.py")}


def imports_of(root: Path) -> list[Import]:
    """Every import under `root`. `from package import name` is of the module `package.name`, where there is one."""
    trees, packages = modules_of(root), packages_of(root)
    return [
        Import(importer, node.lineno, target)
        for importer, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Call)
        for target in _targets(node, importer if importer in packages else importer.rpartition(".")[0], trees)
    ]


def _targets(node: ast.Import | ast.ImportFrom | ast.Call, package: str, known: Iterable[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, base] if base else above)
        for alias in node.names:
            yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in known else base
    elif re.search(r"\b(import_module|__import__)$", ast.unparse(node.func)) and node.args:
        yield from _constant_start(node.args[0])


def _constant_start(name: ast.expr) -> Iterator[str]:
    """What an import by name is of: `echowire.cli.*` for `f"echowire.cli.{verb}"`, nothing for a variable."""
    first = name.values[0] if isinstance(name, ast.JoinedStr) and name.values else name
    if isinstance(first, ast.Constant) and isinstance(first.value, str):
        yield first.value if first is name else f"{first.value.rpartition('.')[0]}.*"


def row_of(module: str) -> str:
    """The row that a module of the package is in: the longest that it begins with; empty where there is none."""
    if module == PUBLIC:
        return PUBLIC
    parts = module.split(".")[1:]
    prefixes = (".".join(parts[:size]) for size in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in ROWS), "")


def is_ours(module: str) -> bool:
    return module.split(".")[0] == PUBLIC


def forbidden_arrows(imports: Iterable[Import]) -> list[str]:
    """Imports within the package that the tables do not allow."""
    return [str(one) for one in imports if is_ours(one.target) and not _may(one.importer, one.target)]


def _may(importer: str, target: str) -> bool:
    row, other = row_of(importer), row_of(target)
    if row == "verbs" == other and importer != target:
        return target in SHARED_BY_VERBS or (importer, target) in VERB_ON_VERB
    if row == other:
        return row != ""
    if target.endswith(f".{ANY}"):
        return row == PUBLIC or target == f"{PUBLIC}.{row}.{ANY}"
    if not row or not other:
        return False
    return other in ONLY.get(row, ROWS) and ROWS.index(other) < ROWS.index(row)


def cycle(imports: Iterable[Import]) -> list[str]:
    """The modules of one ring of imports within the package, empty if there is none."""
    graph: dict[str, set[str]] = {}
    for one in imports:
        if is_ours(one.target) and not one.target.endswith(".*"):
            graph.setdefault(one.importer, set()).add(one.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def impure_imports(root: Path) -> list[str]:
    """What core takes of clocks and files, and what errors and model import beyond value types."""
    trees, wrong = modules_of(root), []
    for one in imports_of(root):
        top = one.target.split(".")[0]
        if row_of(one.importer) in ("errors", "model") and top in sys.stdlib_module_names and top not in VALUE_MODULES:
            wrong.append(str(one))
        elif is_core(one.importer) and top in IMPURE:
            allowed, _reason = PURE_PARTS.get((one.importer, top), (frozenset(), ""))
            used = _used_of(top, trees[one.importer])
            if not used <= allowed:
                wrong.append(f"{one}, and uses {', '.join(sorted(used - allowed)) or 'it'}")
    for module, tree in trees.items():
        if is_core(module):
            wrong += [f"{module}:{line} calls {name}" for line, name in _impure_calls(tree)]
    return wrong


def is_core(module: str) -> bool:
    return module.split(".")[1:2] == ["core"]


def _impure_calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in IMPURE_CALLS:
                yield node.lineno, ast.unparse(node.func)


def _used_of(module: str, tree: ast.Module) -> set[str]:
    """The names that `tree` takes of `module`; `*` where it is used as a whole, and so beyond telling."""
    used, aliases = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {alias.asname or alias.name for alias in node.names if alias.name.split(".")[0] == module}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == module:
            used |= {alias.name for alias in node.names}
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    used |= {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id in aliases}
    as_attribute = {id(node.value) for node in attributes}
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in aliases)
    return used | {"*" for node in names if id(node) not in as_attribute} or {"*"}


def foreign_imports(imports: Iterable[Import], declared: Iterable[str]) -> list[str]:
    """Third-party imports that the row may not have, or that pyproject.toml does not declare."""
    wrong = []
    for one in imports:
        top = one.target.split(".")[0]
        if top in sys.stdlib_module_names or is_ours(one.target) or (one.importer, top) in BROUGHT_BY_THE_CALLER:
            continue
        if row_of(one.importer) not in THIRD_PARTY.get(top, frozenset()):
            wrong.append(f"{one}, which its row may not")
        elif DISTRIBUTIONS.get(top, top) not in declared:
            wrong.append(f"{one}, which pyproject.toml does not declare")
    return wrong


def declared_packages() -> set[str]:
    """The packages that a user gets by pyproject.toml: dependencies and extras, without the developers'."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [lines for name, lines in project.get("optional-dependencies", {}).items() if name != "dev"]
    requirements = [*project["dependencies"], *(line for lines in extras for line in lines)]
    names = (re.match(r"[\w.-]+", line) for line in requirements)
    return {name[0].lower().replace("-", "_") for name in names if name}


def loaded_with(module: str, root: Path) -> set[str]:
    """All that is imported as `module` is: what stands at the top of it, and of what it imports in turn."""
    trees, packages = modules_of(root), packages_of(root)
    seen, queue = set[str](), [module]
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in trees:
            package = name if name in packages else name.rpartition(".")[0]
            queue += [t for node in _at_the_top(trees[name]) for t in _targets(node, package, trees)]
            queue += [above for above in (name.rpartition(".")[0],) if above]
    return seen


def _at_the_top(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that are made when the module is loaded, so none in a function, none for the types alone."""
    queue: list[ast.AST] = [*tree.body]
    while queue:
        node = queue.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            queue += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            queue += ast.iter_child_nodes(node)


def test_every_module_is_in_a_row_of_the_table() -> None:
    assert [module for module in modules_of(SOURCE) if not row_of(module)] == []


def test_every_row_of_the_table_has_a_module() -> None:
    assert set(ROWS) == {row_of(module) for module in modules_of(SOURCE)}


def test_every_folder_has_a_row_of_its_own() -> None:
    folders = {package.removeprefix(f"{PUBLIC}.") for package in packages_of(SOURCE)}
    assert folders <= set(ROWS)


@pytest.mark.parametrize("module", LIGHT)
def test_a_server_and_a_client_start_light(module: str) -> None:
    tops = {name.split(".")[0] for name in loaded_with(module, SOURCE)}
    assert tops - sys.stdlib_module_names - {PUBLIC} <= LIGHT[module]


def test_nothing_imports_but_what_its_row_may() -> None:
    assert forbidden_arrows(imports_of(SOURCE)) == []


def test_no_two_modules_import_each_other() -> None:
    assert cycle(imports_of(SOURCE)) == []


def test_formats_and_values_are_pure() -> None:
    assert impure_imports(SOURCE) == []


def test_third_party_packages_are_declared_and_in_their_row() -> None:
    assert foreign_imports(imports_of(SOURCE), declared_packages()) == []


def test_exports() -> None:
    typed = {
        alias.asname or alias.name: node.module
        for block in ast.walk(modules_of(SOURCE)[PUBLIC])
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == {name: f"{PUBLIC}.{home}" for name, home in echowire._HOME.items()}
    assert sorted(echowire.__all__) == sorted([*typed, "__version__"])
    assert set(echowire.__all__) <= set(dir(echowire))


@pytest.mark.parametrize("name", echowire._HOME)
def test_each_public_name_resolves_to_what_its_module_defines(name: str) -> None:
    home = import_module(f"{PUBLIC}.{echowire._HOME[name]}")
    assert getattr(echowire, name) is getattr(home, name)
    assert getattr(getattr(echowire, name), "__module__", home.__name__) == home.__name__, "made in another module"


def test_a_name_that_is_not_public_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        getattr(echowire, "nothing")  # noqa: B009 - the types know that it is not there


# The tests above can fail: trees that break each rule.


def tree(root: Path, files: Mapping[str, str]) -> Path:
    """A package under `root` with these files, and the `__init__.py` that they need."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        for folder in path.relative_to(root).parents:
            (root / folder / "__init__.py").touch()
    return root


FILES = (
    "core/captures/pcap.py", "core/failures/causes/bind.py", "core/packets/protocols/udp.py",
    "core/packets/registry.py", "core/reports/base.py", "core/services.py", "engines/base.py",
    "engines/load/plan.py", "kernel/connections/listen.py", "kernel/listen.py", "model.py", "verbs/call.py",
)  # fmt: skip


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("core/captures/pcap.py", "from echowire.core.reports.base import Report"),
        ("core/captures/pcap.py", "from ..reports.base import Report"),
        ("core/packets/layers.py", "from echowire.core.packets import registry"),
        ("core/failures/facts.py", "from echowire.core.failures.causes import bind"),
        ("core/packets/protocols/dns/names.py", "from echowire.core.packets.protocols import udp"),
        ("core/units.py", "from echowire.core.services import Service"),
        ("engines/serving/base.py", "from echowire.engines.load import plan"),
        ("kernel/boundary.py", "from echowire.kernel.connections.listen import Listener"),
        ("core/dns.py", "import echowire.kernel.listen"),
        ("core/dns.py", "from echowire.kernel import listen"),
        ("core/dns.py", "from echowire.kernel.listen import Listener"),
        ("core/dns.py", "from ..kernel import listen"),
        ("core/dns.py", "from ..kernel.listen import Listener"),
        ("core/packets/protocols/tcp.py", "from ....kernel.listen import Listener"),
        ("core/__init__.py", "from ..kernel import listen"),
        ("core/dns.py", "def late():\n    from echowire.kernel import listen"),
        ("core/dns.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import echowire.kernel.listen"),
        ("core/dns.py", "from importlib import import_module\nimport_module('echowire.kernel.listen')"),
        ("core/dns.py", "import importlib\nimportlib.import_module(f'echowire.kernel.{1}')"),
        ("kernel/listen.py", "import echowire.engines.base"),
        ("verbs/read.py", "import echowire"),
        ("verbs/read.py", "from echowire.verbs.call import call"),
        ("verbs/call.py", "from echowire.verbs.workers import WorkerGroup"),
        ("cli/serve.py", "from echowire.model import Endpoint"),
        ("testing.py", "from echowire.cli import main"),
        ("cli/serve.py", "from importlib import import_module\nimport_module(f'echowire.{1}')"),
        ("attic/old.py", "import echowire.errors"),
    ],
)
def test_a_forbidden_arrow_is_found(tmp_path: Path, file: str, text: str) -> None:
    others = dict.fromkeys(FILES, "")
    found = forbidden_arrows(imports_of(tree(tmp_path, others | {file: text})))
    assert len(found) == 1, found


def test_an_allowed_arrow_is_none(tmp_path: Path) -> None:
    files = {
        "core/dns.py": "from ..errors import UsageError\nfrom . import names\nimport struct",
        "core/names.py": "from echowire.model import Endpoint",
        "verbs/serve.py": "from echowire.verbs import workers, explained\nfrom echowire.kernel.listen import Listener",
        "cli/serve.py": "import echowire\nfrom echowire import serve\nfrom echowire.cli import common",
        "cli/common.py": "from importlib import import_module\nimport_module(f'echowire.cli.{1}')",
        **dict.fromkeys(("errors.py", "model.py", "kernel/listen.py", "verbs/workers.py", "verbs/explained.py"), ""),
    }
    assert forbidden_arrows(imports_of(tree(tmp_path, files))) == []
    assert cycle(imports_of(tmp_path)) == []


@pytest.mark.parametrize(
    "files",
    [
        {"core/a.py": "import echowire.core.b", "core/b.py": "from echowire.core import a"},
        {"core/a.py": "from .b import x", "core/b.py": "def late():\n    from .a import y"},
        {"core/a.py": "from . import b", "core/b.py": "from .c import x", "core/c.py": "from . import a"},
        {"core/__init__.py": "from .a import x", "core/a.py": "from echowire import core"},
        {"core/a.py": "import echowire.core.a"},
        {"core/a.py": "import importlib\nimportlib.import_module('echowire.core.b')", "core/b.py": "from . import a"},
    ],
)
def test_a_cycle_is_found(tmp_path: Path, files: Mapping[str, str]) -> None:
    assert cycle(imports_of(tree(tmp_path, files)))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("core/dns.py", "import time"),
        ("core/dns.py", "import os.path"),
        ("core/dns.py", "def late():\n    from socket import inet_aton"),
        ("core/dns.py", "import time as _time\n_time.gmtime(0)"),
        ("core/services.py", "import time as _time\n_time.gmtime(0), _time.time()"),
        ("core/services.py", "from time import gmtime, time"),
        ("core/services.py", "import time\nclock = time"),
        ("core/services.py", "import os"),
        ("core/views/frame.py", "data = open('file').read()"),
        ("core/views/frame.py", "from datetime import datetime\nnow = datetime.now()"),
        ("model.py", "import socket"),
        ("errors.py", "import re"),
    ],
)
def test_an_impure_import_is_found(tmp_path: Path, file: str, text: str) -> None:
    assert impure_imports(tree(tmp_path, {file: text}))


@pytest.mark.parametrize("text", ["import time\ntime.gmtime(0)", "from time import gmtime"])
def test_a_pure_part_of_an_impure_module_is_allowed(tmp_path: Path, text: str) -> None:
    assert impure_imports(tree(tmp_path, {"core/services.py": text})) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("core/packets/columns.py", "import polars"),
        ("core/sockets/columns.py", "import numpy.typing"),
        ("core/units.py", "import numpy"),
        ("kernel/diag.py", "from click import echo"),
        ("engines/base.py", "import pytest"),
    ],
)
def test_an_undeclared_or_misplaced_package_is_found(tmp_path: Path, file: str, text: str) -> None:
    assert foreign_imports(imports_of(tree(tmp_path, {file: text})), declared={"click", "polars"})


def test_what_makes_a_start_heavy_is_found(tmp_path: Path) -> None:
    files = {
        "verbs/serve.py": "from echowire.core import units\nfrom echowire.core.light import x",
        "core/units.py": "try:\n    from echowire.core.packets import columns\nexcept ImportError:\n    pass",
        "core/packets/columns.py": "import numpy as np",
        "core/light.py": "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    import polars\ndef f():\n    import rich",
    }
    assert loaded_with("echowire.verbs.serve", tree(tmp_path, files)) & {"numpy", "polars", "rich"} == {"numpy"}


def test_declared_packages_are_read() -> None:
    assert "click" in declared_packages()
    assert "pytest" not in declared_packages()
