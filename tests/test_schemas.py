"""The registry of JSON documents, and their schemas: one each, exact, and the only place that names a document.

That real output is as the schemas say is in `tests/cli/test_documents.py`.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import echowire
from echowire import SCHEMAS, document_head
from echowire.core.sockets import columns, fields
from echowire.core.sockets import sock_diag as diag
from echowire.core.sockets.columns import Names
from echowire.core.sockets.holders import Holders, Person
from tests.json_schemas import FOLDER, SUFFIX, faults, schema_of

SOURCE = Path(echowire.__file__).parent
REGISTRY = SOURCE / "core" / "schemas.py"

UNIT = re.compile(r"_(ns|us|ms|s|bytes|hex|bits_per_s|bytes_per_s|per_s)$")


def parts(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each object and list in a schema, with where it stands."""
    yield path, schema
    for key, value in schema.items() if isinstance(schema, dict) else enumerate(schema):
        if isinstance(value, dict | list):
            yield from parts(value, f"{path}/{key}")


def properties(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each property that a schema describes, with where it stands. A part of an `if` only chooses."""
    for path, part in parts(schema):
        if isinstance(part, dict) and isinstance(part.get("properties"), dict) and not path.endswith("/if"):
            for name, described in part["properties"].items():
                yield f"{path}/{name}", described


def test_each_document_has_one_schema_and_each_schema_one_document() -> None:
    assert {path.name.removesuffix(SUFFIX) for path in FOLDER.glob(f"*{SUFFIX}")} == set(SCHEMAS)
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}{SUFFIX}" for name in SCHEMAS} | {"README.md"}
    assert len({schema.title for schema in SCHEMAS.values()}) == len(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one(name: str) -> None:
    schema, registered = schema_of(name), SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == f"urn:echowire:schema:{name}:{registered.version}"
    assert (schema["title"], schema["description"]) == (f"echowire.{name}", registered.title)
    heads = [part for _, part in properties(schema) if "const" in part and str(part["const"]).startswith("echowire.")]
    assert heads and {part["const"] for part in heads} == {registered.head["schema"]}
    versions = [part["const"] for path, part in properties(schema) if path.endswith("/version") and "const" in part]
    assert set(versions) == {registered.version} and len(versions) == len(heads)
    assert bool(registered.lines or "jsonl" in registered.whole) == ("line" in schema.get("$defs", {}))


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_property_has_a_type_and_is_described(name: str) -> None:
    for path, described in properties(schema_of(name)):
        assert {"type", "enum", "const", "oneOf", "$ref"} & set(described), path
        assert described.get("description", "").endswith(".") or "$ref" in described, path


@pytest.mark.parametrize("name", SCHEMAS)
def test_nothing_that_is_not_described_passes(name: str) -> None:
    """Each object is closed: by itself, or where it is referred to with something beside it."""
    schema = schema_of(name)
    closed = {part.get("$ref") for _, part in parts(schema) if isinstance(part, dict) and _is_sealed(part)}
    if _is_sealed(schema):
        closed |= {part["$ref"] for part in schema.get("oneOf", ())}
    references = [part for _, part in parts(schema) if isinstance(part, dict) and "$ref" in part]
    for path, part in parts(schema):
        if not isinstance(part, dict) or "properties" not in part or path.endswith("/if") or _is_sealed(part):
            continue
        if "additionalProperties" not in part:
            assert f"#{path}" in closed, path
            bare = [one for one in references if one["$ref"] == f"#{path}" and not _is_sealed(one)]
            assert all(one in schema.get("oneOf", ()) for one in bare), path


def _is_sealed(part: dict[str, Any]) -> bool:
    return part.get("unevaluatedProperties") is False and bool({"$ref", "oneOf"} & set(part))


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_a_name_says_of_its_unit_is_a_number(name: str) -> None:
    for path, described in properties(schema_of(name)):
        unit = UNIT.search(path)
        if unit and "type" in described and described["type"] != "object":
            kinds = {described["type"]} if isinstance(described["type"], str) else set(described["type"])
            expected = {"ns": {"integer"}, "bytes": {"integer"}, "hex": {"string"}}.get(unit[1], {"integer", "number"})
            assert kinds - {"null"} <= expected, path


def test_every_column_of_sockets_is_described_and_no_other() -> None:
    """Of whatever kernel: what this one does not tell is described as well."""
    names = Names(holders=Holders({}, lambda pid: Person(pid, "", "", "")), netns=1)
    known = {"netid", "netns"}
    kinds = [(diag.AF_INET, kind) for kind in ("tcp", "udp", "mptcp", "raw")]
    for family, kind in [*kinds, *((family, "") for family in columns._DERIVED)]:
        for release in ((6, 18), (7, 0)):
            known |= {name for name in fields.fields_of(family, kind, release) if not name.startswith("_")}
        known |= set(columns._DERIVED.get(family, columns._inet)(names)) | set(columns._BLOBS.get(family, ()))
    assert set(schema_of("sockets")["$defs"]["socket"]["properties"]) == known


def test_the_registry_is_the_only_place_that_names_a_document() -> None:
    heads = {schema.head["schema"] for schema in SCHEMAS.values()}
    second = []
    for path in sorted(SOURCE.rglob("*.py")):
        if path == REGISTRY:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Constant) and node.value in heads
            made = isinstance(node, ast.Dict) and any(
                isinstance(key, ast.Constant) and key.value == "schema" for key in node.keys
            )
            if named or made:
                second.append(f"{path.relative_to(SOURCE)}:{getattr(node, 'lineno', 0)}")
    assert second == []


def test_the_registry_imports_nothing() -> None:
    imports = [node for node in ast.walk(ast.parse(REGISTRY.read_text())) if isinstance(node, ast.Import)]
    froms = [node.module for node in ast.walk(ast.parse(REGISTRY.read_text())) if isinstance(node, ast.ImportFrom)]
    assert (imports, froms) == ([], ["__future__"])


def test_a_head() -> None:
    assert document_head("sockets.groups") == {"schema": "echowire.sockets.groups", "version": 1}
    with pytest.raises(KeyError):
        document_head("nothing")


def test_the_page_lists_the_documents() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = [
        f"| [`{schema.head['schema']}`]({schema.name}{SUFFIX}) | {schema.version} | {_commands(schema.whole)} | "
        f"{_commands(schema.lines)} | {schema.title} |"
        for schema in SCHEMAS.values()
    ]
    assert [line for line in page.splitlines() if line.startswith("| [")] == rows


def _commands(text: str) -> str:
    return ", ".join(f"`{one}`" for one in text.split(", ") if one)


# The validation can fail.

DOCUMENT: dict[str, Any] = {
    **document_head("path_mtu"),
    "target": "192.0.2.1",
    "address": "192.0.2.1",
    "mtu": 1400,
    "told_by": None,
    "black_hole": True,
    "lost_after": "192.0.2.9",
    "seconds": 1.5,
    "probes": 20,
    "error": None,
}
FAILURE = {**document_head("path_mtu"), "ok": False, "error": "resolve nosuch.invalid: name or service not known"}


def test_a_document_that_is_right_passes() -> None:
    assert faults("path_mtu", DOCUMENT) == []
    assert faults("path_mtu", FAILURE) == []
    assert faults("path_mtu", {**DOCUMENT, "event": "summary"}, "#/$defs/line") == []


@pytest.mark.parametrize("name", DOCUMENT)
def test_a_property_that_is_missing_is_found(name: str) -> None:
    document = copy.copy(DOCUMENT)
    del document[name]
    assert faults("path_mtu", document)
    assert faults("path_mtu", {**document, "event": "summary"}, "#/$defs/line")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schema", "echowire.path"),
        ("version", 2),
        ("mtu", "1400"),
        ("mtu", -1),
        ("mtu", 1400.5),
        ("target", None),
        ("seconds", None),
        ("black_hole", 1),
        ("error", "a success that failed"),
        ("unknown", 1),
        ("event", "summary"),
    ],
)
def test_a_wrong_value_and_an_unknown_property_are_found(name: str, value: object) -> None:
    assert faults("path_mtu", {**DOCUMENT, name: value})


@pytest.mark.parametrize("name", FAILURE)
def test_a_failure_without_its_head_or_reason_is_found(name: str) -> None:
    assert faults("path_mtu", {key: value for key, value in FAILURE.items() if key != name})
    assert faults("path_mtu", {**FAILURE, "unknown": 1})


def test_a_document_is_no_line_and_a_line_no_document() -> None:
    assert faults("path_mtu", DOCUMENT, "#/$defs/line")
    assert faults("path_mtu", {**DOCUMENT, "event": "finished"}, "#/$defs/line")


def test_a_socket_lacks_none_of_its_kind_s_columns() -> None:
    socket = {"netid": "v_str", "state": "LISTEN", "unread": None, "unacked": None, "cookie": 1, "inode": 2}
    place = {"local_address": None, "local_port": 4000, "peer_address": None, "peer_port": None, "shutdown": 0}
    assert faults("sockets", {**socket, **place}, "#/$defs/line") == []
    assert faults("sockets", socket, "#/$defs/line")
    assert faults("sockets", {**socket, **place, "netid": "tcp"}, "#/$defs/line")
    assert faults("sockets", {**socket, **place, "tcpi_unknown": 1}, "#/$defs/line")
