"""Numbered files are there once they are kept, and not where the disk refused to keep them."""

import os
import stat
from pathlib import Path

import pytest

from app.append_only import NumberedFiles


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
    assert [path.name for path in folder.iterdir()] == ["00000001.json"]
    files.append("2 again")
    assert [content for _, content in NumberedFiles(folder).read()] == [b"1", b"2 again"]
