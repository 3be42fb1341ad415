"""`echowire read --export-objects` and `--export-streams`: the files, what is said of them, and what tshark writes."""

from __future__ import annotations

import gzip
import json
import os
import random
import socket
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

import echowire as public
from echowire.kernel.captures import export_directory
from echowire.kernel.captures.writer import CaptureWriter
from tests.captures import needs_tshark
from tests.commands import run_command as echowire
from tests.core.packets.tcp.traffic import ACK, CLIENT, FIN, PSH, SERVER, SYN, ipv4, tcp, write_pcap
from tests.netns import why_not
from tests.recorded import read_all, two_hosts

DEV = Path(os.environ.get("ECHOWIRE_CAPTURES", "/nonexistent")) / "dev"

OK = b"HTTP/1.1 200 OK\r\n"


class Talk:
    """A TCP conversation made by hand; both ends begin at 1 behind their SYN."""

    def __init__(self, port: int = 40000) -> None:
        self.port, self.sequence = port, [1, 1]
        self.packets = [self._packet(0, SYN, -1, 0), self._packet(1, SYN | ACK, -1, 1)]

    def _packet(self, end: int, flags: int, back: int = 0, acked: int | None = None, payload: bytes = b"") -> bytes:
        ports = (self.port, 80) if end == 0 else (80, self.port)
        ends = (CLIENT, SERVER) if end == 0 else (SERVER, CLIENT)
        ack = self.sequence[1 - end] if acked is None else acked
        return ipv4(6, tcp(*ports, self.sequence[end] + back, ack, flags, payload=payload), *ends)

    def say(self, end: int, data: bytes, segment: int = 1000) -> Talk:
        for at in range(0, len(data), segment):
            some = data[at : at + segment]
            self.packets.append(self._packet(end, PSH | ACK, payload=some))
            self.sequence[end] += len(some)
        return self

    def close(self) -> Talk:
        for end in (1, 0):
            self.packets.append(self._packet(end, FIN | ACK))
            self.sequence[end] += 1
        return self


def request(target: str, method: str = "GET", body: bytes = b"") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {target} HTTP/1.1\r\nHost: example.com\r\n{length}\r\n".encode() + body


def answer(body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{one}\r\n" for one in ("Content-Type: text/html; charset=utf-8", *headers))
    return OK + lines.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


PAGE = b"<p>" + bytes(range(256)) * 20
BARE = zlib.compressobj(wbits=-15)
BARE_PAGE = BARE.compress(PAGE) + BARE.flush()


def conversations() -> list[bytes]:
    """What HTTP can be, in the packets of four connections."""
    talk = Talk(40001)
    for target, body, headers in (
        ("/dir/page.html?a=b", PAGE, ()),
        ("/dir/page.html", gzip.compress(PAGE), ("Content-Encoding: gzip",)),
        ("/", zlib.compress(PAGE), ("Content-Encoding: deflate",)),
        ("/x/..", BARE_PAGE, ("Content-Encoding: deflate",)),
        ("/a.b/c/", b"1", ()),
    ):
        talk.say(0, request(target)).say(1, answer(body, *headers))
    talk.say(0, request("/dir/page.html", "POST", b"name=value" * 200))
    talk.say(1, OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n3;x\r\nfgh\r\n0\r\n\r\n", 7)
    talk.say(0, request("/none")).say(1, b"HTTP/1.1 304 Not Modified\r\n\r\n").close()
    closing = Talk(40002).say(0, request("/close.txt")).say(1, OK + b"\r\n" + PAGE).close()
    orphan = Talk(40003).say(1, answer(PAGE)).close()
    return [*talk.packets, *closing.packets, *orphan.packets]


def files_of(directory: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in directory.iterdir()}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    write_pcap(tmp_path / "a.pcap", conversations())
    return tmp_path / "a.pcap"


def theirs(capture: Path, directory: Path) -> dict[str, bytes]:
    command = ["tshark", "-n", "-q", "-r", str(capture), "--export-objects", f"http,{directory}"]
    subprocess.run(command, capture_output=True, check=True, timeout=60)
    return files_of(directory)


@needs_tshark
def test_objects_are_tsharks(made: Path, tmp_path: Path) -> None:
    ran = echowire("read", made, "--export-objects", f"http,{tmp_path / 'ours'}")
    expected = theirs(made, tmp_path / "theirs")
    expected["%2e%2e"] = expected.pop(next(name for name in expected if set(name) <= set("().%2e1")))
    assert files_of(tmp_path / "ours") == expected
    assert len(expected) == 9
    assert (ran.status, ran.out) == (0, "")


REAL = (
    "PcapPlusPlus/Tests__ExamplesTest__pcap_examples__http-packets2.pcap",
    "PcapPlusPlus/Tests__Pcap++Test__PcapExamples__raw_ip.pcap",
    "PcapPlusPlus/Tests__Pcap++Test__PcapExamples__one_tcp_stream_max_seq.pcap",
    "arkime/tests__pcap__http-100-continue.pcap",
    "zeek/testing__btest__Traces__http__missing-zlib-header.pcap",
    "zeek/testing__btest__Traces__http__iso-download.pcap.gz",
    "zeek/testing__btest__Traces__http__docker-http-upgrade.pcap",
    "zeek/testing__btest__Traces__tunnels__vxlan-encapsulated-http.pcap",
)


@needs_tshark
@pytest.mark.parametrize("name", REAL)
def test_objects_of_real_captures_are_tsharks(name: str, tmp_path: Path) -> None:
    if not (DEV / name).is_file():
        pytest.skip("ECHOWIRE_CAPTURES does not have it")
    ran = echowire("read", DEV / name, "--export-objects", f"http,{tmp_path / 'ours'}", "--json")
    expected = theirs(DEV / name, tmp_path / "theirs")
    assert files_of(tmp_path / "ours") == expected
    document = json.loads(ran.out)
    assert {one["name"]: one["size"] for one in document["objects"]} == {k: len(v) for k, v in expected.items()}
    assert (document["schema"], document["version"], document["incomplete"]) == ("echowire.objects", 1, 0)


def test_the_library_gives_the_same_objects(made: Path, tmp_path: Path) -> None:
    export = public.read(made).export_objects(tmp_path / "out")
    assert [(one.object.name, (tmp_path / "out" / one.file).read_bytes()) for one in export.written] == [
        (one.name, one.data) for one in public.read(made).http_objects()
    ]
    first = next(public.read(made).http_objects())
    assert (first.host, first.content_type, first.name, first.size) == (
        "example.com", "text/html", "page.html?a=b", len(PAGE),
    )  # fmt: skip


def without(packets: Sequence[bytes], data: bytes) -> list[bytes]:
    return [one for one in packets if data not in one]


def test_an_object_with_missing_bytes_is_named(tmp_path: Path) -> None:
    body = b"a" * 1000 + b"b" * 1000 + b"c" * 1000
    talk = Talk().say(0, request("/x")).say(1, answer(body)[:-3000], 5000).say(1, body)
    talk.say(0, request("/y")).say(1, answer(b"whole")).close()
    write_pcap(tmp_path / "a.pcap", without(talk.packets, b"b" * 1000))
    ran = echowire("read", tmp_path / "a.pcap", "--export-objects", f"http,{tmp_path / 'out'}")
    assert ran.status == 1
    assert ran.err.splitlines()[0] == "echowire: x: not whole: bytes missing, 1000 bytes missing"
    assert files_of(tmp_path / "out") == {"x": b"a" * 1000 + b"c" * 1000, "y": b"whole"}


@pytest.mark.parametrize(
    ("body", "given", "problem"),
    [
        (gzip.compress(PAGE, mtime=0)[:-8], PAGE, "cut off"),
        (b"no gzip at all", b"no gzip at all", "not decoded"),
        (gzip.compress(PAGE, mtime=0)[:-8] + bytes(8), PAGE, "broken"),
        (gzip.compress(b"one", mtime=0) + gzip.compress(b"two", mtime=0), b"onetwo", None),
    ],
)
def test_an_encoding_that_is_broken_is_told(tmp_path: Path, body: bytes, given: bytes, problem: str | None) -> None:
    talk = Talk().say(0, request("/x")).say(1, answer(body, "Content-Encoding: gzip")).close()
    write_pcap(tmp_path / "a.pcap", talk.packets)
    (found,) = public.read(tmp_path / "a.pcap").http_objects()
    assert [(problem or "") in one for one in found.problems] == ([True] if problem else [])
    assert found.data == given


def test_nothing_is_written_over_and_no_name_leads_elsewhere(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "passwd").write_bytes(b"mine")
    (out / "link").symlink_to(tmp_path / "target")
    talk = Talk()
    for target in ("/../../passwd", "/link", "/a\\..\\b"):
        talk.say(0, request(target)).say(1, answer(b"x"))
    write_pcap(tmp_path / "a.pcap", talk.close().packets)
    ran = echowire("read", tmp_path / "a.pcap", "--export-objects", f"http,{out}")
    assert ran.status == 0, ran.err
    assert sorted(one.name for one in out.iterdir()) == ["a%5c..%5cb", "link", "link(1)", "passwd", "passwd(1)"]
    assert (out / "passwd").read_bytes() == b"mine"
    assert not (tmp_path / "target").exists()


def test_what_is_gathered_is_written_before_it_is_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_directory, "MAX_GATHERED_BYTES", 1000)
    write_pcap(tmp_path / "a.pcap", conversations())
    few = public.read(tmp_path / "a.pcap").export_objects(tmp_path / "out")
    assert [len((tmp_path / "out" / one.file).read_bytes()) for one in few.written] == [
        one.object.size for one in few.written
    ]


def test_more_files_than_may_be_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echowire.verbs.exports.MAX_FILES", 3)
    write_pcap(tmp_path / "a.pcap", conversations())
    ran = echowire("read", tmp_path / "a.pcap", "--export-objects", f"http,{tmp_path / 'out'}")
    assert ran.status == 1
    assert "6 parts were left out" in ran.err
    assert len(files_of(tmp_path / "out")) == 3


@pytest.mark.parametrize(
    "words",
    [
        ["--export-objects", "smb,DIR"],
        ["--export-objects", "DIR"],
        ["--export-streams", "DIR", "-w", "x.pcap"],
        ["--export-streams", "DIR", "-z", "conv,tcp"],
        ["--export-streams", "a.pcap/b"],
    ],
)
def test_wrong_usage_is_told(made: Path, tmp_path: Path, words: list[str]) -> None:
    words = [one.replace("DIR", str(tmp_path / "out")).replace("a.pcap", str(made)) for one in words]
    ran = echowire("read", made, *words)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("echowire: ")


# Streams.


def followed(capture: Path, protocol: str, stream: int) -> list[bytes]:
    """What both ends said, as tshark follows it: the first speaker's, then the other's."""
    command = ["tshark", "-n", "-q", "-r", str(capture), "-z", f"follow,{protocol},raw,{stream}"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    said = [b"", b""]
    for line in done.stdout.decode().splitlines()[6:-1]:
        said[line.startswith("\t")] += bytes.fromhex(line.strip())
    return said


@needs_tshark
@pytest.mark.parametrize("name", ["made", REAL[0], REAL[2], REAL[6]])
def test_streams_are_as_tshark_follows_them(name: str, made: Path, tmp_path: Path) -> None:
    capture = made if name == "made" else DEV / name
    if not capture.is_file():
        pytest.skip("ECHOWIRE_CAPTURES does not have it")
    export = public.read(capture).export_streams(tmp_path / "out")
    files = files_of(tmp_path / "out")
    assert export.written
    for one in export.written:
        ours = [files.pop(name) if name else b"" for name in one.files]
        assert ours == followed(capture, one.protocol, one.number), one.base
    assert files == {}


def test_a_file_is_named_by_its_ends_and_gaps_are_told(tmp_path: Path) -> None:
    talk = Talk(40000).say(0, b"a" * 1000 + b"b" * 1000 + b"c" * 1000).say(1, b"reply").close()
    write_pcap(tmp_path / "a.pcap", without(talk.packets, b"b" * 1000))
    ran = echowire("read", tmp_path / "a.pcap", "--export-streams", tmp_path / "out", "--json")
    (stream,) = json.loads(ran.out)["streams"]
    base = "tcp-0000-10.0.0.1.40000-10.0.0.2.80"
    assert stream["client"] == {
        "host": "10.0.0.1", "port": 40000, "name": f"{base}.client.bin", "size": 2000, "missing_bytes": 1000,
        "gaps": [{"at": 1000, "missing_bytes": 1000}],
    }  # fmt: skip
    assert files_of(tmp_path / "out")[f"{base}.server.bin"] == b"reply"
    assert ran.status == 1
    assert f"echowire: {base}: 1000 bytes are missing in 1 gaps" in ran.err
    again = echowire("read", tmp_path / "a.pcap", "--export-streams", tmp_path / "out")
    assert again.status == 2
    assert "is there already" in again.err


def test_the_answer_to_a_syn_comes_from_the_server(tmp_path: Path) -> None:
    talk = Talk().say(0, b"hello")
    write_pcap(tmp_path / "a.pcap", talk.packets[1:])
    (one,) = public.read(tmp_path / "a.pcap").export_streams(tmp_path / "out").written
    assert one.client == ("10.0.0.1", 40000)
    assert one.size == [5, 0]


def test_streams_that_are_not_followed_any_more_go_on_where_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("echowire.core.reports.all_streams.MAX_FOLLOWED", 1)
    one, other = Talk(1), Talk(2)
    packets = one.packets + other.packets
    for number in range(5):
        for talk in (one, other):
            at = len(talk.packets)
            packets += talk.say(number % 2, bytes([65 + number]) * 10).packets[at:] * 2  # each is sent twice
    write_pcap(tmp_path / "a.pcap", packets)
    for stream in public.read(tmp_path / "a.pcap").export_streams(tmp_path / "out").written:
        said = [(tmp_path / "out" / name).read_bytes() for name in stream.files]
        assert said == [b"A" * 10 + b"C" * 10 + b"E" * 10, b"B" * 10 + b"D" * 10]


def test_what_waits_for_what_never_comes_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("echowire.core.reports.all_streams.MAX_HELD_BYTES", 5000)
    talk = Talk().say(0, b"a" * 1000 + b"b" * 1000 + b"c" * 20000)
    write_pcap(tmp_path / "a.pcap", without(talk.packets, b"b" * 1000))
    (one,) = public.read(tmp_path / "a.pcap").export_streams(tmp_path / "out").written
    assert (one.size, one.gaps[0]) == ([21000, 0], [(1000, 1000)])


def test_a_report_and_an_export_are_of_so_many_packets(made: Path, tmp_path: Path) -> None:
    (found,) = public.read(made).head(5).http_objects()
    assert found.problems == ["cut off"]
    (conversation,) = public.read(made).head(3).report("conv,tcp")[0].document()["conversations"]
    assert conversation["frames"] == 3


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "")
def test_streams_are_what_the_sockets_carried(tmp_path: Path) -> None:
    rng = random.Random(3)
    there, back = rng.randbytes(200_000), rng.randbytes(300_000)
    read: list[bytes] = []

    def client(peer: socket.socket) -> None:
        peer.sendall(there)
        peer.shutdown(socket.SHUT_WR)
        read.append(read_all(peer))

    def server(peer: socket.socket) -> None:
        read.append(read_all(peer))
        peer.sendall(back)

    with two_hosts() as hosts:
        packets = hosts.recorded(client, server)
    with CaptureWriter(tmp_path / "a.pcapng") as writer:
        writer.write(packets)
    (one,) = public.read(tmp_path / "a.pcapng").export_streams(tmp_path / "out").written
    assert [(tmp_path / "out" / name).read_bytes() for name in one.files] == [there, back] == read
