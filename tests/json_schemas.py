"""The JSON Schemas of the reference, ready to hold a document, or lines of --jsonl, against."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource

FOLDER = Path(__file__).parents[1] / "docs" / "reference" / "json"
SUFFIX = ".schema.json"


def schema_of(name: str) -> dict[str, Any]:
    """The schema of the document `name`, such as `sockets.groups`."""
    schema = json.loads((FOLDER / f"{name}{SUFFIX}").read_text(encoding="utf-8"))
    assert isinstance(schema, dict)
    return schema


@cache
def _validator(name: str, part: str) -> Draft202012Validator:
    whole = schema_of(name)
    registry = Registry[Any]().with_resource(whole["$id"], Resource.from_contents(whole))
    return Draft202012Validator({"$ref": f"{whole['$id']}{part}"}, registry=registry)


def faults(name: str, document: Any, part: str = "") -> list[str]:
    """What of `document` the schema `name` refuses, or its `part` such as `#/$defs/line`; empty where it holds."""
    errors = list(_validator(name, part).iter_errors(document))
    best = best_match(errors)
    return [] if best is None else [f"{best.json_path}: {best.message}", *(error.message for error in errors)]


def check_document(text: str | bytes, name: str = "") -> Any:
    """The document of `text`, once it is held against the schema that it names itself: `name`, if that is given."""
    document = json.loads(text)
    named = str(document["schema"]).removeprefix("echowire.")
    assert not name or named == name
    assert faults(named, document) == []
    return document


def check_lines(text: str | bytes | Sequence[str], name: str) -> list[Any]:
    """The lines of --jsonl in `text`, once each is held against the lines of the document `name`; one at least."""
    lines = [json.loads(line) for line in (_split(text) if isinstance(text, str | bytes) else text)]
    assert lines
    for line in lines:
        assert faults(name, line, "#/$defs/line") == [], line
    return lines


def _split(text: str | bytes) -> list[str]:
    return (text.decode() if isinstance(text, bytes) else text).splitlines()
