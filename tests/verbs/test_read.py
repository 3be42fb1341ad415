"""A capture as a library's user has it: filtered, as frames, written, exported, and shown in a notebook."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from fuzz.capture_files import packets, samples

import echowire
from echowire import CaptureWarning, FilterError, OperationError, UsageError
from echowire.core.filters import parse, syntax
from echowire.kernel.captures.files import read_records
from tests.captures import PACKETS, write_capture


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_capture(tmp_path / "a.pcap")


def test_nothing_is_opened_before_it_is_asked() -> None:
    assert echowire.read("/no/such/file").head(3).limit == 3
    with pytest.raises(OperationError, match="open /no/such/file"):
        len(echowire.read("/no/such/file"))


def test_a_filter_is_parsed_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def counted(text: str) -> list[syntax.Token]:
        parsed.append(text)
        return syntax.tokens(text)

    monkeypatch.setattr(parse, "tokens", counted)
    capture = echowire.read(file).filter("tcp.port == 80").filter("ip")
    assert len(capture) == len(capture.frame("ip.src"))
    assert parsed == ["tcp.port == 80", "ip"]


def test_a_frame_has_wiresharks_names_and_types_that_one_reckons_with(file: Path) -> None:
    frame = echowire.read(file).frame("frame.number", "frame.time", "ip.src", "tcp.srcport", "eth.src", "ip.flags.df")
    assert frame["frame.number"].to_list() == [1, 2, 3, 4, 5, 6]
    assert frame["frame.time"][0] == datetime(2020, 9, 13, 12, 26, 40, 123456, UTC)
    assert frame["ip.src"].to_list() == ["10.0.0.1", "10.0.0.2", "10.0.0.1", "1.1.1.1", None, "10.0.0.3"]
    assert frame["tcp.srcport"].to_list() == [40000, 80, None, 1, None, 80]
    assert frame["eth.src"][4] == "ff:ee:dd:cc:bb:aa"
    assert frame["ip.flags.df"].dtype == pl.Boolean


def test_several_values_are_the_first_the_last_or_all(file: Path) -> None:
    capture = echowire.read(file).filter("ip#2")
    assert capture.frame("ip.src")["ip.src"].to_list() == ["1.1.1.1"]
    assert capture.frame("ip.src", occurrences="last")["ip.src"].to_list() == ["10.0.0.1"]
    assert capture.frame("ip.src", occurrences="all")["ip.src"].to_list() == [["1.1.1.1", "10.0.0.1"]]


def test_filters_add_up_and_a_wrong_one_is_refused_at_once(file: Path) -> None:
    capture = echowire.read(file).filter("tcp.port == 80").filter("ip.src == ip.dst")
    assert len(capture) == 1
    assert len(echowire.read(file).head(2).filter("tcp")) == 2
    with pytest.raises(FilterError):
        echowire.read(file).filter("tcp.prot == 80")


def test_an_empty_answer_is_a_frame_with_columns(file: Path) -> None:
    frame = echowire.read(file).filter("frame.number > 99").frame("ip.src", "frame.time")
    assert frame.schema == {"ip.src": pl.String, "frame.time": pl.Datetime("ns", "UTC")}


def test_a_field_that_is_not_known_is_refused(file: Path) -> None:
    with pytest.raises(UsageError, match=r"did you mean ip\.src"):
        echowire.read(file).frame("ip.srrc")


def test_a_cut_file_gives_what_is_whole_and_a_warning(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.warns(CaptureWarning, match="the file is cut"):
        assert echowire.read(file).frame("frame.number").height == len(PACKETS) - 1


@pytest.mark.parametrize("suffix", ["pcapng", "pcapng.gz", "pcapng.zst", "pcapng.lz4", "pcap", "cap.gz", "whatever"])
def test_what_is_written_reads_back(file: Path, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"b.{suffix}"
    assert echowire.read(file).filter("udp || arp || ip.ttl == 9").write(target) == 2
    back = list(read_records(target))
    assert [one[5] for one in packets(back)] == [PACKETS[2], PACKETS[3]]
    assert (target.read_bytes()[:2] == b"\x1f\x8b") is suffix.endswith("gz")


@pytest.mark.parametrize("name", samples())
def test_captures_of_all_kinds_read_back_equal(tmp_path: Path, name: str) -> None:
    source, target = tmp_path / "a", tmp_path / "b.pcapng"
    source.write_bytes(samples()[name])
    echowire.read(source).write(target)
    before, after = (packets(list(read_records(one))) for one in (source, target))
    assert [(*one[:2], one[5], one[6]) for one in after] == [(*one[:2], one[5], one[6]) for one in before]


def test_the_file_that_is_read_is_not_written_over(file: Path, tmp_path: Path) -> None:
    before, link = file.read_bytes(), tmp_path / "link.pcap"
    link.symlink_to(file)
    for target in (file, link):
        with pytest.raises(UsageError, match="the file that is read"):
            echowire.read(file).write(target)
    assert file.read_bytes() == before


def test_what_is_no_capture_leaves_the_target_alone(tmp_path: Path) -> None:
    source, target = tmp_path / "a.txt", tmp_path / "precious.pcapng"
    source.write_text("not a capture")
    target.write_text("precious")
    with pytest.raises(UsageError, match="no capture file"):
        echowire.read(source).write(target)
    with pytest.raises(UsageError, match="no capture file"):
        echowire.read(source).export(tmp_path / "b.csv")
    assert target.read_text() == "precious"
    assert not (tmp_path / "b.csv").exists()


def test_a_full_disk_is_one_error(file: Path, tmp_path: Path) -> None:
    full = tmp_path / "full.parquet"
    full.symlink_to("/dev/full")
    with pytest.raises(OperationError, match="ENOSPC"):
        echowire.read(file).export(full)
    with pytest.raises(OperationError, match="ENOSPC"):
        echowire.read(file).write("/dev/full")


def test_exports(file: Path, tmp_path: Path) -> None:
    capture, fields = echowire.read(file), ("frame.number", "ip.src", "frame.time")
    expected = capture.frame(*fields)
    assert capture.export(tmp_path / "a.parquet", *fields) == len(PACKETS)
    capture.export(tmp_path / "a.arrow", *fields)
    capture.export(tmp_path / "a.csv", *fields, occurrences="all")
    assert pl.read_parquet(tmp_path / "a.parquet").equals(expected)
    assert pl.read_ipc(tmp_path / "a.arrow").equals(expected)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "frame.number,ip.src,frame.time"
    assert lines[4].startswith('4,"1.1.1.1,10.0.0.1",2020-09-13')
    with pytest.raises(UsageError, match=r"\.parquet"):
        capture.export(tmp_path / "a.xls", *fields)


def test_a_chunk_goes_when_the_next_comes(tmp_path: Path) -> None:
    """Memory is independent of the file's length: no chunk waits for Python to look for cycles."""
    import gc
    import weakref

    gc.disable()
    try:
        with echowire.read(write_capture(tmp_path / "a.pcap")).chunks("tcp.srcport") as reading:
            gone = [weakref.ref(chosen.packets) for chosen in reading]
        assert gone
        assert all(one() is None for one in gone)
    finally:
        gc.enable()


def test_a_notebook_shows_the_first_packets(file: Path) -> None:
    html = echowire.read(file).filter('frame contains "<b>" || tcp')._repr_html_()
    assert "ip.src" in html
    assert "&lt;b&gt;" in html
    assert bool(echowire.read("/no/such/file"))


def test_fields_are_found_by_word() -> None:
    names = [one.name for one in echowire.fields("ip.src")]
    assert "ip.src" in names
    assert all(one.name == one.name.strip() and one.label for one in echowire.fields())
    with warnings.catch_warnings():
        assert echowire.fields("no such word") == ()
