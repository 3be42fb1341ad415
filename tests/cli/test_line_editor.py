"""Lines as they are typed: keys, characters of all widths, cut anywhere, and what is echoed of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echowire import CrlfReader, UsageError
from echowire.cli.line_editor import NO_KEYS, Keys, LineEditor


class Typed:
    """An editor, and what it has shown and complained of."""

    def __init__(self, keys: Keys = Keys(), *, end: bytes = b"\n", hexadecimal: bool = False) -> None:  # noqa: B008
        self.shown: list[str] = []
        self.complaints: list[str] = []

        def message_of(line: bytes) -> bytes:
            try:
                return bytes.fromhex(line.decode()) if hexadecimal else line
            except ValueError:
                raise UsageError("no hex") from None

        self.editor = LineEditor(message_of, self.shown.append, self.complaints.append, keys, end=end)

    def feed(self, data: bytes) -> list[bytes]:
        return self.editor.feed(data)

    @property
    def screen(self) -> str:
        return "".join(self.shown)


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (b"abc", b"abc"),
        (b"abx\x7fc", b"abc"),
        (b"abx\x08c", b"abc"),
        (b"\x7f\x7fabc", b"abc"),
        ("naï\x7fïve".encode(), "naïve".encode()),
        ("a☃\x7fb".encode(), b"ab"),
        ("e\u0301\x7fa".encode(), b"a"),
        (b"wrong\x15right", b"right"),
        (b"two words\x17things", b"two things"),
        (b"word  \x17x", b"x"),
        (b"a\x12b", b"ab"),
        (b"a\tb\x1b[A", b"a\tb\x1b[A"),
        (b"\xff\xfe", b"\xff\xfe"),
        (b"", b""),
    ],
)
def test_keys(keys: bytes, line: bytes) -> None:
    assert Typed().feed(keys + b"\n") == [line + b"\n"]
    typed = Typed()
    assert [message for key in [*keys, 10] for message in typed.feed(bytes([key]))] == [line + b"\n"]


@pytest.mark.parametrize(
    ("keys", "screen"),
    [
        (b"ab\n", "ab\n"),
        (b"ab\x7f", "ab\b \b"),
        ("字\x7f".encode(), "字\b \b\b \b"),
        (b"\x1b[2J", "^[[2J"),
        (b"\x1b\x7f", "^[\b \b\b \b"),
        (b"\t\x7f", "    " + "\b \b" * 4),
        ("\x9b\u202e".encode(), "\\x9b\\u202e"),
        (b"ab\x15", "ab" + "\b \b" * 2),
        (b"ab\x12", "ab^R\nab"),
    ],
)
def test_the_echo(keys: bytes, screen: str) -> None:
    typed = Typed()
    typed.feed(keys)
    assert typed.screen == screen


@pytest.mark.parametrize(
    ("typed", "messages", "has_ended"),
    [
        (b"half\x04", [b"half"], False),
        (b"half\x04\x04lost\n", [b"half"], True),
        (b"a\nb\n\x04", [b"a\n", b"b\n"], True),
        (b"\x04", [], True),
    ],
)
def test_the_end(typed: bytes, messages: list[bytes], has_ended: bool) -> None:
    person = Typed()
    assert person.feed(typed) == messages
    assert person.editor.has_ended == has_ended


def test_without_keys_all_is_text() -> None:
    typed = Typed(NO_KEYS)
    assert typed.feed(b"a\x7f\x04\x15\x08\n") == [b"a\x7f\x04\x15\x08\n"]
    assert typed.feed(b"rest") == [] and typed.editor.finish() == [b"rest"] and typed.editor.has_ended


def test_lines_that_are_no_messages_are_complained_of() -> None:
    typed = Typed(end=b"", hexadecimal=True)
    assert typed.feed(b"4z\n48 65\n") == [b"He"]
    assert typed.complaints == ["no hex"]


@given(st.lists(st.binary(max_size=50).map(lambda line: line.replace(b"\n", b"")), max_size=5), st.data())
def test_whatever_is_typed_without_keys_goes_as_it_is(lines: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(line + b"\n" for line in lines)
    at = data.draw(st.integers(0, len(whole)))
    typed = Typed(NO_KEYS)
    assert typed.feed(whole[:at]) + typed.feed(whole[at:]) == [line + b"\n" for line in lines]
    assert all(char.isprintable() or char == "\n" for char in typed.screen)


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n"]), max_size=12).map(b"".join), st.integers(0, 12))
def test_line_ends_wherever_the_input_is_cut(text: bytes, at: int) -> None:
    reader = CrlfReader()
    pieces = [piece for part in (text[:at], text[at:]) if part for piece in reader.feed(part)]
    assert b"".join(pieces) == text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
