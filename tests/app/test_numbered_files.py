"""Numbered files are there once they are kept, and not where the disk refused to keep them."""

import os
import stat
from pathlib import Path

import pytest

from app.append_only import Incomplete, NumberedFiles


@pytest.mark.parametrize("refusing", ["folder", "folder above"])
def test_what_the_disk_refuses_to_keep_is_not_there_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusing: str
) -> None:
    """As on a disk that takes the file's content and fails at its name."""
    folder = tmp_path / "kept"
    files = NumberedFiles(folder)
    files.append("1")
    refused = (folder if refusing == "folder" else tmp_path).stat().st_ino
    real_fsync = os.fsync

    def fsync(opened: int) -> None:
        status = os.fstat(opened)
        if stat.S_ISDIR(status.st_mode) and status.st_ino == refused:
            raise OSError(5, "Input/output error")
        real_fsync(opened)

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="Input/output"):
            files.append("2")
    assert sorted(path.name for path in folder.iterdir()) == [".last", "00000001.json"]
    files.append("2 again")
    assert [content for _, content in NumberedFiles(folder).read()] == [b"1", b"2 again"]


def of_three(folder: Path) -> Path:
    files = NumberedFiles(folder)
    for text in "123":
        files.append(text)
    assert len(NumberedFiles(folder).read()) == 3
    return folder


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_missing_file_is_named_also_if_it_was_the_last(tmp_path: Path, number: int) -> None:
    folder = of_three(tmp_path / "kept")
    (folder / f"0000000{number}.json").unlink()
    with pytest.raises(Incomplete, match=f"0000000{number}.json is missing.*backup"):
        NumberedFiles(folder).read()


@pytest.mark.parametrize("name", ["99999999.json", "00000005.json", "00000000.json"])
def test_an_absurd_number_is_named(tmp_path: Path, name: str) -> None:
    folder = of_three(tmp_path / "kept")
    (folder / name).write_text("4")
    with pytest.raises(Incomplete, match=f"missing before {name}"):
        NumberedFiles(folder).read()


def test_a_power_cut_between_a_file_and_the_note_of_its_number_loses_nothing(tmp_path: Path) -> None:
    folder = of_three(tmp_path / "kept")
    (folder / ".last").write_text("2\n")
    files = NumberedFiles(folder)
    assert len(files.read()) == 3
    files.append("4")
    assert (folder / ".last").read_text() == "4\n"
    (folder / ".last").unlink()  # as in folders of older versions
    assert len(NumberedFiles(folder).read()) == 4


@pytest.mark.parametrize("text", ["", "x"])
def test_a_note_that_is_no_number_is_named(tmp_path: Path, text: str) -> None:
    folder = of_three(tmp_path / "kept")
    (folder / ".last").write_text(text)
    with pytest.raises(Incomplete, match="holds no number"):
        NumberedFiles(folder).read()
