"""Writing in the background: in order, whole, and no error lost."""

from __future__ import annotations

import io
import threading
from typing import BinaryIO, cast

import pytest

from echowire.cli.environment import Environment
from echowire.cli.write_behind import WriteBehind
from echowire.errors import OperationError


class Full(io.RawIOBase):
    """A stream that takes some blocks and no more."""

    def __init__(self, blocks: int, error: OSError) -> None:
        self.left, self.error = blocks, error

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return len(cast(bytes, data))


def environment(stream: object) -> Environment:
    return Environment(io.BytesIO(), cast(BinaryIO, stream), io.StringIO(), {})


def writers() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "write-behind"]


def test_blocks_come_out_in_order() -> None:
    out = io.BytesIO()
    with WriteBehind(environment(out)) as output:
        for number in range(100):
            output.write(b"%d\n" % number)
    assert out.getvalue() == b"".join(b"%d\n" % number for number in range(100))
    assert writers() == []


def test_one_block_needs_no_thread() -> None:
    out = io.BytesIO()
    with WriteBehind(environment(out)) as output:
        output.write(b"x")
        assert out.getvalue() == b"x"
        assert writers() == []


@pytest.mark.parametrize("blocks", [0, 1, 5])
def test_a_full_disk_is_told(blocks: int) -> None:
    stream = Full(blocks, OSError(28, "No space left on device"))
    with (
        pytest.raises(OperationError, match=r"write standard output: no space left on device \(ENOSPC 28\)"),
        WriteBehind(environment(stream)) as output,
    ):
        for _ in range(20):
            output.write(b"x")
    assert writers() == []


def test_a_reader_that_has_left_is_told_as_such() -> None:
    with (
        pytest.raises(BrokenPipeError),
        WriteBehind(environment(Full(2, BrokenPipeError(32, "Broken pipe")))) as output,
    ):
        for _ in range(20):
            output.write(b"x")


def test_an_error_of_the_block_itself_goes_on() -> None:
    with pytest.raises(KeyError), WriteBehind(environment(io.BytesIO())) as output:
        output.write(b"a")
        output.write(b"b")
        raise KeyError
    assert writers() == []
