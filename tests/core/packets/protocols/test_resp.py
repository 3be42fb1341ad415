"""RESP: commands and answers, and what is a fragment."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.packets.applications import assert_sturdy, columns, conversation, infos, values

SET = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n"


def test_commands_and_answers() -> None:
    layer = conversation(
        "resp", b">" + SET + SET, b"<+OK\r\n:-7\r\n", b"<-ERR no\r\n", b"<$-1\r\n*2\r\n:1\r\n+a\r\n", port=6379
    )
    assert values(layer, "resp.bulk_string.value")[0] == [b"SET", b"k", b"\r\n"] * 2
    assert values(layer, "resp.bulk_string.length")[0] == [3, 1, 2] * 2
    assert values(layer, "resp.array.length") == [[3, 3], [], [], [2]]
    assert values(layer, "resp.integer") == [[], [-7], [], [1]]
    assert values(layer, "resp.error") == [[], [], ["ERR no"], []]
    assert infos(layer) == [
        "Request: SET k \\r\\n SET k \\r\\n",
        "Response: OK -7",
        "Response: ERR no",
        "Response: Array(2) a",
    ]
    assert set(columns(layer)) == {"RESP"}


def test_what_is_no_element_is_a_fragment() -> None:
    layer = conversation(
        "resp", b">PING\r\nPING\r\n", b"<$5\r\nab", b"<:x\r\n", b"<*99999999999999999999\r\n", port=6379
    )
    assert values(layer, "resp.fragment") == [[1, 1], [1], [1], [1]]
    assert infos(layer)[0] == "Request: [fragment] [fragment]"


def test_arrays_within_arrays_end_somewhere() -> None:
    layer = conversation("resp", b"<" + b"*1\r\n" * 5_000, port=6379)
    assert layer.walked is not None
    assert max(item.level for item in layer.walked.items[0]) <= 100


def test_cut_anywhere() -> None:
    assert_sturdy("resp", SET + b"+OK\r\n:1\r\n", port=6379)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="*$+-:019a\r\n", max_size=60))
def test_anything(noise: str) -> None:
    conversation("resp", b">" + noise.encode(), b"<" + noise.encode(), port=6379)
