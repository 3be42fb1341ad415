"""The files of a capture: what a write leaves over, and when the next file begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echowire.core.captures.in_place import Pieces
from echowire.core.captures.limits import Rotation
from echowire.errors import OperationError
from echowire.kernel.captures.output import IOV_MAX, CaptureOutput, _after, numbered

S = 1_000_000_000


def pieces(*parts: bytes) -> Pieces:
    """Pieces with two bytes between them that are none, the last one's last byte apart."""
    block = np.frombuffer(b"".join(part + b"??" for part in parts), np.uint8)
    size = np.array([len(part) for part in parts])
    start = np.cumsum(size + 2) - size - 2
    return Pieces(block, start, size, parts[-1][-1:], np.zeros(len(parts), np.int64))


def output(path: Path, **options: object) -> CaptureOutput:
    return CaptureOutput(str(path), lambda: b"<", lambda now: b">", now_ns=0, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("written", range(13))
def test_what_a_short_write_leaves_is_written_next(written: int) -> None:
    vectors = np.array([[100, 4], [200, 0], [300, 8]], np.uint64)
    every = [at + n for at, size in vectors.tolist() for n in range(size)]
    left = [at + n for at, size in _after(vectors, written).tolist() for n in range(size)]
    assert left == every[written:]


def test_more_pieces_than_one_write_takes(tmp_path: Path) -> None:
    parts = [b"%05d" % number for number in range(3 * IOV_MAX + 5)]
    made = output(tmp_path / "a")
    assert made.write(pieces(*parts), np.zeros(len(parts), np.int64)) == len(parts)
    made.finish(0)
    assert (tmp_path / "a").read_bytes() == b"<" + b"".join(parts) + b">"
    assert made.written == 2 + 5 * len(parts)


@pytest.mark.parametrize(
    ("rotation", "files"),
    [
        (Rotation(packets=2), ["<aabb>", "<ccdd>", "<ee>"]),
        (Rotation(file_bytes=6), ["<aabb>", "<ccdd>", "<ee>"]),
        (Rotation(file_bytes=1), ["<aa>", "<bb>", "<cc>", "<dd>", "<ee>"]),
        (Rotation(duration_s=2), ["<aabb>", "<ccdd>", "<ee>"]),
        (Rotation(packets=2, files=1), ["<ee>"]),
    ],
)
def test_the_next_file(tmp_path: Path, rotation: Rotation, files: list[str]) -> None:
    made = output(tmp_path / "a.x", rotation=rotation)
    made.write(pieces(b"aa", b"bb", b"cc", b"dd", b"ee"), np.arange(5) * S)
    made.finish(0)
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == files


def test_a_file_ends_by_time_though_nothing_comes(tmp_path: Path) -> None:
    made = output(tmp_path / "a", rotation=Rotation(duration_s=1))
    made.turn(S - 1)
    made.turn(S)
    made.finish(2 * S)
    assert made.files == len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_and_a_file_that_cannot_be() -> None:
    with pytest.raises(OperationError, match=r"^write /dev/full: no space left on device \(ENOSPC 28\)"):
        output(Path("/dev/full"))
    with pytest.raises(OperationError, match="ENOENT"):
        output(Path("/nowhere/a"))


def test_names_in_turn() -> None:
    name = numbered("/x/a.b.pcapng", 7, S)
    assert name.startswith("/x/a.b_00007_19")
    assert name.endswith(".pcapng")
