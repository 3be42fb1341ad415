"""Capture files as they are opened: paths, streams, compression, damage; and real ones, held against tshark."""

from __future__ import annotations

import errno
import gzip
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fuzz.capture_files import check_written, compressed, packets, pcap, pcapng

from echowire.core.captures.pcap import PcapWriter
from echowire.core.captures.pcapng_writer import PcapngWriter
from echowire.core.captures.records import Records
from echowire.core.captures.ticks import NO_TIME
from echowire.errors import OperationError, UsageError
from echowire.kernel.captures.files import PIECE_BYTES, CaptureFile, read_records

CAPTURES = os.environ.get("ECHOWIRE_CAPTURES")
needs_captures = pytest.mark.skipif(not CAPTURES, reason="ECHOWIRE_CAPTURES names no folder of real captures")
needs_tshark = pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")

COLUMNS = ("frame.number", "frame.time_epoch", "frame.len", "frame.cap_len")
LONG = pcap(count=120)
PACKED = compressed(LONG)

OTHERWISE = {
    "18446744073204": "a time before 1970, which tshark takes for one far off",
    "1632380379.1000000000": "a second of 1,000,000 microseconds",
}
"""Begins of tshark's times that are not ours, and why."""

OTHER_FILES = {
    "tests__atm-oam-heapoverflow.pcap": "tshark takes the pseudo-header of SunATM off the packet",
    "tests__atm-oam-loopback-print-overrun.pcap": "the same, and a microsecond count beyond a second",
    "tests__dsa.pcap": "tshark does not know link type 284",
    "tests__vtp_asan.pcap": "tshark does not know link type 182",
}
"""Files of which tshark makes something else, and why."""


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def of(data: bytes, chunk_bytes: int = 100) -> tuple[list[Records], CaptureFile]:
    file = read_records(io.BytesIO(data), chunk_bytes=chunk_bytes)
    return list(file), file


def test_a_path_is_read_chunk_by_chunk(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", LONG)
    with read_records(path, chunk_bytes=1000) as file:
        assert (file.size, file.position) == (len(LONG), 0)
        chunks = list(file)
        assert (file.position, file.problem, file.compression) == (len(LONG), None, None)
    assert len(chunks) > 5
    assert packets(chunks) == packets(list(read_records(str(path))))
    assert next(iter(file), None) is None, "it has ended"


def test_a_file_can_be_left_in_the_middle(tmp_path: Path) -> None:
    for data in (LONG, gzip.compress(LONG)):
        with read_records(write(tmp_path / "a", data), chunk_bytes=1000) as file:
            assert len(next(file)) > 1


def test_standard_input_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    inside, outside = os.pipe()
    with os.fdopen(inside, "rb") as stream, os.fdopen(outside, "wb", buffering=0) as sender:
        text = io.TextIOWrapper(stream)
        monkeypatch.setattr(sys, "stdin", text)
        file, first = read_records("-"), pcap(count=2)
        sender.write(first)
        assert len(next(file)) == 2
        sender.write(first[24:])
        assert [file.size, len(next(file)), file.name] == [None, 2, "standard input"]
        sender.close()
        assert list(file) == []
        assert not stream.closed
        text.detach()


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("chunk_bytes", [64, 1 << 22])
def test_compressed_files(name: str, chunk_bytes: int) -> None:
    chunks, file = of(PACKED[name], chunk_bytes)
    assert (file.problem, file.compression, file.position) == (None, name, len(PACKED[name]))
    assert packets(chunks) == packets(of(LONG)[0])


@pytest.mark.parametrize("name", PACKED)
def test_members_one_after_another(name: str) -> None:
    parts = [compressed(part)[name] for part in (LONG[:500], b"", LONG[500:])]
    chunks, file = of(b"".join(parts), 64)
    assert file.problem is None
    assert packets(chunks) == packets(of(LONG)[0])


@pytest.mark.parametrize("name", [name for name in PACKED if name != "gzip"])
def test_frames_to_be_skipped(name: str) -> None:
    skipped = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    begin = skipped if name == "zstd" else b""
    chunks, file = of(begin + PACKED[name] + skipped)
    assert (file.problem, file.compression) == (None, name)
    assert len(packets(chunks)) == 120


@pytest.mark.parametrize("name", PACKED)
def test_a_cut_compressed_file_gives_what_came_before(name: str) -> None:
    whole, data = packets(of(LONG)[0]), PACKED[name]
    for end in range(8, len(data), 7):
        try:
            chunks, file = of(data[:end])
        except UsageError as error:
            pytest.fail(f"{end}: {error}")
        found = packets(chunks)
        assert found == whole[: len(found)]
        assert file.problem is not None
        assert (file.problem.kind, file.problem.offset) == ("compression", end)
        assert str(file.problem) == f"the {name} data is cut, at byte {end}"
    assert name != "gzip" or len(found) > 60


def test_a_wrong_checksum_loses_no_packet() -> None:
    chunks, file = of(PACKED["gzip"][:-8] + bytes(8))
    assert len(packets(chunks)) == 120
    assert file.problem is not None
    assert "the gzip data is damaged (Error -3 while decompressing data: incorrect data check)" in str(file.problem)


@pytest.mark.parametrize("name", PACKED)
def test_damage_is_one_line(name: str) -> None:
    data = bytearray(PACKED[name])
    data[len(data) // 2 :] = bytes(b ^ 0x5A for b in data[len(data) // 2 :])
    _, file = of(bytes(data))
    assert file.problem is not None
    assert "\n" not in str(file.problem)


def test_padding_behind_gzip_is_none_of_it_and_anything_else_is_told() -> None:
    chunks, file = of(PACKED["gzip"] + bytes(1000))
    assert (len(packets(chunks)), file.problem) == (120, None)
    chunks, file = of(PACKED["gzip"] + b"garbage")
    assert len(packets(chunks)) == 120
    assert str(file.problem) == f"what follows the gzip data is no gzip, at byte {len(PACKED['gzip'])}"


def test_a_bomb_grows_nothing() -> None:
    bomb = gzip.compress(pcap(count=0) + bytes(1 << 26))
    file = read_records(io.BytesIO(bomb), chunk_bytes=1 << 16)
    assert max(len(one.data) for one in file) < (1 << 16) + 2 * PIECE_BYTES


def test_a_cut_file_gives_its_packets_and_says_where(tmp_path: Path) -> None:
    with read_records(write(tmp_path / "a", LONG[:-1])) as file:
        assert len(packets(list(file))) == 119
    assert file.problem is not None
    assert file.problem.kind == "cut"


@pytest.mark.parametrize(
    ("data", "said"), [(b"", "nothing"), (b"hello world", "68656c6c"), (gzip.compress(b"x" * 9, mtime=0), "78787878")]
)
def test_what_is_no_capture_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    path = write(tmp_path / "a", data)
    with pytest.raises(UsageError, match=f"{path} is no capture file: neither pcap nor pcapng.*{said}"):
        list(read_records(path))


def test_what_the_system_refuses(tmp_path: Path) -> None:
    with pytest.raises(OperationError, match=r"open .*missing: no such file") as refused:
        read_records(tmp_path / "missing")
    assert (refused.value.operation, refused.value.number) == ("open", errno.ENOENT)
    with pytest.raises(OperationError, match=r"open .*directory"):
        read_records(tmp_path)

    class Broken(io.BytesIO):
        name = "broken"

        def read1(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.EIO, "no")

    with pytest.raises(OperationError, match="read broken: input/output error"):
        list(read_records(Broken(LONG)))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lz4.frame", None)
    with pytest.raises(UsageError, match="compressed with lz4 needs the package lz4"):
        of(b"\x04\x22\x4d\x18" + bytes(20))


def test_a_pipe_that_comes_in_small_pieces() -> None:
    inside, outside = os.pipe()

    def send() -> None:
        with os.fdopen(outside, "wb", buffering=0) as sender:
            for at in range(0, len(PACKED["gzip"]), 50):
                sender.write(PACKED["gzip"][at : at + 50])

    sending = threading.Thread(target=send)
    sending.start()
    with os.fdopen(inside, "rb", buffering=0) as stream:
        assert len(packets(list(read_records(stream)))) == 120
    sending.join()


# Real captures, and tshark.


def golden() -> Iterator[dict[str, Any]]:
    with lzma.open(Path(CAPTURES or "") / "golden.jsonl.xz", "rt") as lines:
        yield from map(json.loads, lines)


def columns_of(file: CaptureFile) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in COLUMNS}
    for one in file:
        times = ["" if t == NO_TIME else "{}.{:09}".format(*divmod(t, 10**9)) for t in one.time_ns.tolist()]
        numbers: list[list[int]] = [column.tolist() for column in (one.number, one.length, one.cap_len)]
        number, length, cap_len = ([str(value) for value in values] for values in numbers)
        for name, values in zip(COLUMNS, (number, times, length, cap_len), strict=True):
            found[name] += values
    return found


@needs_captures
def test_real_captures_are_read_as_tshark_reads_them() -> None:
    wrong = []
    for answer in golden():
        path = Path(CAPTURES or "") / "dev" / answer["file"]
        if any(path.name.endswith(name) for name in OTHER_FILES):
            continue
        try:
            ours = columns_of(read_records(path, chunk_bytes=5000))
        except UsageError:
            pytest.fail(f"{path}: not read")
        for name, values in ours.items():
            theirs = answer["columns"].get(name, [""] * answer["rows"])
            if len(theirs) != len(values):
                wrong.append(f"{path}: {len(theirs)} rows, ours {len(values)}")
            pairs = enumerate(zip(theirs, values, strict=False))
            wrong += [
                f"{path} {row} {name}: {theirs} {ours}"
                for row, (theirs, ours) in pairs
                if theirs != ours and not theirs.startswith(tuple(OTHERWISE))
            ]
    assert wrong == []


@needs_captures
def test_real_captures_are_written_and_read_back_equal() -> None:
    for path in sorted(one for one in (Path(CAPTURES or "") / "dev").rglob("*") if one.is_file()):
        with read_records(path, chunk_bytes=50_000) as file:
            chunks = list(file)
        if chunks:  # none of a section whose version nobody knows
            check_written(chunks, packets(chunks))


def tshark(path: Path) -> list[str]:
    fields = [word for name in (*COLUMNS, "frame.md5_hash", "frame.comment") for word in ("-e", name)]
    command = ["tshark", "-n", "-r", str(path), "-o", "frame.generate_md5_hash:TRUE", "-T", "fields", *fields]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@needs_tshark
@pytest.mark.parametrize("data", [LONG, pcapng(), pcapng(">")], ids=["pcap", "pcapng", "big-endian"])
def test_tshark_reads_what_is_written(tmp_path: Path, data: bytes) -> None:
    answers = tshark(write(tmp_path / "a", data))
    with read_records(tmp_path / "a") as file:
        chunks = list(file)
    writer = PcapngWriter()
    assert tshark(write(tmp_path / "b", b"".join(map(writer.write, chunks)))) == answers
    if data is LONG:
        plain = PcapWriter()
        assert tshark(write(tmp_path / "c", b"".join(map(plain.write, chunks)))) == answers


@needs_captures
@needs_tshark
def test_tshark_reads_real_captures_that_were_written_anew(tmp_path: Path) -> None:
    captures = [one["file"] for one in golden() if one["rows"] and not one["file"].endswith(tuple(OTHER_FILES))]
    for name in captures[::40]:
        path, writer = Path(CAPTURES or "") / "dev" / name, PcapngWriter()
        written = write(tmp_path / "a.pcapng", b"".join(map(writer.write, read_records(path))))
        assert tshark(written) == tshark(path), name
