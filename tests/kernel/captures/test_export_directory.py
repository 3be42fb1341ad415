"""A directory of many files: written in turn, none over another, and nothing left of what was not finished."""

from __future__ import annotations

from pathlib import Path

import pytest

from echowire.errors import OperationError, UsageError
from echowire.kernel.captures import export_directory
from echowire.kernel.captures.export_directory import ExportDirectory


@pytest.mark.parametrize("size", [1, 10, 1 << 20])
def test_files_have_what_was_written_in_its_order(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_directory, "MAX_GATHERED_BYTES", size)
    with ExportDirectory(tmp_path / "new" / "out") as directory:
        for number in range(100):
            directory.append(f"{number % 3}", b"%d," % number)
        directory.flush()
    for file in range(3):
        expected = b"".join(b"%d," % number for number in range(file, 100, 3))
        assert (tmp_path / "new" / "out" / str(file)).read_bytes() == expected


def test_after_an_error_what_was_gathered_is_there_and_what_was_unfinished_is_not(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ExportDirectory(tmp_path / "out") as directory:
        directory.append("a", b"x" * 10)
        directory.append_unfinished(1, b"y")
        directory.flush()
        directory.append("a", b"z")
        directory.append_unfinished(2, b"y")
        raise KeyboardInterrupt
    assert {one.name: one.read_bytes() for one in (tmp_path / "out").iterdir()} == {"a": b"x" * 10 + b"z"}


def test_a_file_that_was_there_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "target")
    with ExportDirectory(tmp_path) as directory:
        directory.append("a", b"x")
        with pytest.raises(UsageError, match="is there already"):
            directory.flush()
    assert not (tmp_path / "target").exists()


def test_names_are_tried_until_one_is_free(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    names = iter(["a", "b"])
    with ExportDirectory(tmp_path) as directory:
        directory.append_unfinished(7, b"x")
        assert directory.finish(7, lambda: next(names)) == "b"
    assert (tmp_path / "b").read_bytes() == b"x"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a", "b"]


def test_a_directory_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OperationError, match="create"):
        ExportDirectory(tmp_path / "file" / "out")
