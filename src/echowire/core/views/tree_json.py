"""Packets in full as JSON: the tree of details, in the structure of `tshark -T json` and `-T ek` without `-e`.

Fields are keys and their values text, as tshark prints them; what lies beneath a field `x` is under `x_tree`. Where a
packet has a key several times, its values are an array, as with tshark's `--no-duplicate-keys`: nothing is lost in a
reader that takes the last of equal keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from echowire.core.captures.ticks import NO_TIME, SECOND_NS
from echowire.core.packets.cells import text_of
from echowire.core.packets.chosen import Chosen
from echowire.core.packets.columns import INTS, UINTS, Type
from echowire.core.packets.layers import Field
from echowire.core.views.field_json import FieldJson, FieldLinesJson
from echowire.core.views.tree import Node, Trees

VALUELESS = frozenset({Type.PROTOCOL, Type.NONE})
"""Types of fields that say no more than that they are there."""


class TreeJson(FieldJson):
    """Chunks of packets, dissected with all fields wanted, in; the text of one JSON array out, a piece at a time."""

    def __init__(self) -> None:
        super().__init__(())

    def layers(self, chosen: Chosen) -> list[dict[str, Any]]:
        """Each packet's layers."""
        trees = Trees(chosen.packets.layers)
        return [_object(trees.of(row)) for row in chosen.numbers.tolist()]


class TreeLinesJson(FieldLinesJson):
    """The same for Elasticsearch's bulk interface: the fields of a layer side by side, each with its layer's name in
    front."""

    def __init__(self) -> None:
        super().__init__(())

    def layers(self, chosen: Chosen) -> list[dict[str, Any]]:
        """Each packet's layers."""
        trees = Trees(chosen.packets.layers)
        return [_flat_layers(trees.of(row)) for row in chosen.numbers.tolist()]


def value_text(field: Field, value: Any) -> str:
    """A value as tshark's JSON has it: as in `-T fields`, but bytes with colons."""
    kind = field.type
    if kind is Type.BYTES:
        return bytes(value).hex(":")
    if kind is Type.BOOLEAN:
        return "1" if value else "0"
    if (kind in UINTS or kind in INTS) and field.base not in ("hex", "hex_dec"):
        return str(int(value))
    return text_of(field, bytes(value) if kind is Type.IPV6 and isinstance(value, bytes) else value)


def _add(found: dict[str, Any], key: str, value: Any) -> None:
    """Several values of one key become a list. None of the values is a list itself."""
    before = found.get(key)
    if key not in found:
        found[key] = value
    elif isinstance(before, list):
        before.append(value)
    else:
        found[key] = [before, value]


def _object(nodes: Sequence[Node]) -> dict[str, Any]:
    """The lines at one depth."""
    found: dict[str, Any] = {}
    for node in nodes:
        field, children = node.field, node.children
        itself = _itself(node)
        if itself is not None:
            field, children = itself.field, [one for one in children if one is not itself]
        if field is None or field.type in VALUELESS:
            key = node.name if node.name else field.name if field is not None else node.text
            _add(found, key, _object(children) if children else "" if not node.name else {})
            continue
        _add(found, field.name, value_text(field, (itself or node).value))
        if children:
            _add(found, f"{field.name}_tree", _object(children))
    return found


def _itself(node: Node) -> Node | None:
    """Of a part's line, the field of the same name, which is its bytes: `tcp.options.mss`."""
    if not node.name:
        return None
    return next((one for one in node.children if one.field is not None and one.field.name == node.name), None)


def _flat_layers(nodes: Sequence[Node]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in nodes:
        layer: dict[str, Any] = {}
        _flatten(layer, node.name, node)
        _add(found, node.name.replace(".", "_"), layer)
    return found


def _flatten(found: dict[str, Any], layer: str, outer: Node) -> None:
    """All lines beneath one."""
    for node in outer.children:
        field = node.field
        if field is None:
            if not node.name:
                _add(found, "text", node.text)
        else:
            name = field.name.replace(".", "_")
            is_part = outer.name == field.name != layer
            _add(found, name if is_part else f"{layer.replace('.', '_')}_{name}", _bulk_value(field, node.value))
        _flatten(found, layer, node)


def _bulk_value(field: Field, value: Any) -> Any:
    if field.type in VALUELESS:
        return None
    if field.type is Type.BOOLEAN:
        return bool(value)
    if field.type is Type.ABSOLUTE_TIME and field.base != "epoch" and int(value) != NO_TIME:
        seconds, rest = divmod(int(value), SECOND_NS)
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
    return value_text(field, value)
