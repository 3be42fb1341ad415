"""FTP, SMTP, POP, IMAP, IRC and Telnet: lines of text, and what stands between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.packets.packets import answered, assert_as_tshark, assert_bounded, dissect, in_order, segment, tree_of

TALKS: dict[int, tuple[tuple[bool, bytes], ...]] = {
    21: (
        (False, b"220 ready\r\n"),
        (True, b"USER anonymous\r\n"),
        (False, b"331 Please specify\r\n"),
        (True, b"PASV\r\n"),
        (False, b"227 Entering Passive Mode (10,0,0,2,19,137).\r\n"),
        (True, b"PORT 10,0,0,1,1,2\r\n"),
        (False, b"500 no\r\n"),
    ),
    25: (
        (False, b"220 mail.example.com ESMTP\r\n"),
        (True, b"EHLO client\r\n"),
        (False, b"250-mail.example.com\r\n250-SIZE 100\r\n250 HELP\r\n"),
        (True, b"MAIL FROM:<a@b.c>\r\n"),
        (False, b"250 OK\r\n"),
        (True, b"QUIT\r\n"),
        (False, b"221 bye\r\n"),
    ),
    110: (
        (False, b"+OK POP3 ready\r\n"),
        (True, b"USER me\r\n"),
        (False, b"-ERR who\r\n"),
        (True, b"STAT\r\n"),
    ),
    143: (
        (False, b"* OK ready\r\n"),
        (True, b"a1 CAPABILITY\r\n"),
        (False, b"* CAPABILITY IMAP4rev1\r\na1 OK done\r\n"),
    ),
    6667: (
        (True, b"NICK me\r\nUSER me me host :My Name\r\n"),
        (False, b":irc.example 001 me :Welcome\r\nPING :xyz\r\n"),
    ),
    23: (
        (False, b"\xff\xfd\x18\xff\xfb\x01login: "),
        (True, b"\xff\xfa\x18\x00xterm\xff\xf0me\r\n"),
    ),
}


def packets_of(port: int) -> list[bytes]:
    """A conversation with a server."""
    packets, said = [], {True: 1, False: 1}
    for from_client, payload in TALKS[port]:
        make = segment if from_client else answered
        packets.append(make(payload, port, sequence=said[from_client], acknowledged=said[not from_client]))
        said[from_client] += len(payload)
    return packets


def test_ftp() -> None:
    fields = ["ftp.request.command", "ftp.response.code", "ftp.passive.port", "ftp.active.cip", "_ws.col.Info"]
    found = dissect(packets_of(21), fields)
    assert found["ftp.request.command"] == [[], ["USER"], [], ["PASV"], [], ["PORT"], []]
    assert found["ftp.response.code"] == [["220"], [], ["331"], [], ["227"], [], ["500"]]
    assert found["ftp.passive.port"][4] == ["5001"]
    assert found["ftp.active.cip"][5] == ["10.0.0.1"]
    assert found["_ws.col.Info"][1] == ["Request: USER anonymous"]


def test_a_message_is_no_command() -> None:
    talk = [
        segment(b"DATA\r\n", 25),
        segment(b"Subject: x\r\nQUIT\r\n", 25),
        segment(b".\r\n", 25),
        segment(b"QUIT\r\n", 25),
    ]
    found = dissect(in_order(talk), ["smtp.req.command", "_ws.col.Info"], chunk=1)
    assert found["smtp.req.command"] == [["DATA"], [], [], ["QUIT"]]
    assert found["_ws.col.Info"][1] == ["C: DATA fragment, 18 bytes"]


def test_after_starttls_it_is_tls() -> None:
    talk = [segment(b"STARTTLS\r\n", 25), answered(b"220 go\r\n", 25), segment(bytes.fromhex("150303000202 28"), 25)]
    assert dissect(in_order(talk), ["tls.record.content_type"])["tls.record.content_type"] == [[], [], ["21"]]


def test_telnet_shows_commands_and_text() -> None:
    lines = tree_of(packets_of(23)[1])
    assert "  Suboption Terminal Type" in lines
    assert "  Suboption End" in lines
    assert "  Data: me\\r\\n" in lines


@pytest.mark.parametrize(
    ("port", "name"), [(21, "ftp"), (25, "smtp"), (110, "pop"), (143, "imap"), (6667, "irc"), (23, "telnet")]
)
def test_conversations_are_as_tshark_has_them(tmp_path: Path, port: int, name: str) -> None:
    # tshark reads what a terminal's type is; of several lines it gives IMAP's last alone in some fields.
    but = {"telnet.option_data", "telnet.subcmd", "imap.response.status"}
    assert_as_tshark(tmp_path, packets_of(port), name, but=but)


def test_cut_and_damaged_lines_are_read() -> None:
    for port in TALKS:
        assert_bounded(*packets_of(port)[-2:])
