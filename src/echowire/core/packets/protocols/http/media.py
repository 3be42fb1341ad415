"""What messages carry, by its media type (RFC 9110, section 8.3): told apart, and shown as it is.

These have no fields of their own. What a body says is not looked into.
"""

from __future__ import annotations

from collections.abc import Mapping

from echowire.core.packets.layers import Protocol
from echowire.core.text import ascii_text

TEXT, JSON, XML, FORM, GIF, JPEG, PNG, OTHER = range(1, 9)
"""Kinds of body: the keys of the table `media_type`."""

KINDS: Mapping[str, int] = {
    "application/json": JSON,
    "application/json-rpc": JSON,
    "application/jsonrequest": JSON,
    "application/x-javascript": TEXT,
    "application/javascript": TEXT,
    "application/xml": XML,
    "application/xml-dtd": XML,
    "application/soap+xml": XML,
    "application/rss+xml": XML,
    "application/atom+xml": XML,
    "application/xhtml+xml": XML,
    "application/x-www-form-urlencoded": FORM,
    "application/x-ns-proxy-autoconfig": TEXT,
    "image/gif": GIF,
    "image/jpeg": JPEG,
    "image/jpg": JPEG,
    "image/png": PNG,
    "image/svg+xml": XML,
    "text/xml": XML,
    "text/css": TEXT,
    "text/html": TEXT,
    "text/javascript": TEXT,
    "text/plain": TEXT,
}
"""Media types in lower case, without their parameters."""


def kind_of(media_type: str) -> int:
    """The kind of body that a media type stands for; its parameters do not count."""
    name = media_type.split(";", 1)[0].strip().lower()
    return KINDS.get(name) or (TEXT if name.startswith("text/") else OTHER)


def remark(kind: int, media_type: str, body: bytes) -> str:
    """What the packet list says of a body."""
    if kind == XML:
        return ""
    if kind == JSON:
        return ", JavaScript Object Notation (application/json)"
    if kind == GIF:
        return f" ({ascii_text(body[:6])})"
    name = {JPEG: "JPEG JFIF image", PNG: "PNG"}.get(kind) or media_type.split(";", 1)[0].strip().lower()
    return f" ({name})"


def _protocol(name: str, title: str, kind: int, column: str = "") -> Protocol:
    return Protocol(name, title, column, keys=(("media_type", kind),))


PROTOCOLS = (
    _protocol("data-text-lines", "Line-based text data", TEXT),
    _protocol("json", "JavaScript Object Notation", JSON, "HTTP/JSON"),
    _protocol("xml", "eXtensible Markup Language", XML, "HTTP/XML"),
    _protocol("urlencoded-form", "HTML Form URL Encoded", FORM),
    _protocol("image-gif", "Compuserve GIF", GIF),
    _protocol("image-jfif", "JPEG File Interchange Format", JPEG),
    _protocol("png", "Portable Network Graphics", PNG),
    _protocol("media", "Media Type", OTHER),
)
