"""Atomic writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftkit._atomic import atomic_replace, check_writable
from ftkit.errors import FileError


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(FileError, match="is not a regular file"):
        check_writable(str(pipe))
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_replaced_file_keeps_its_mode_and_the_link_to_it(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("a long text")
    file.chmod(0o640)
    link.symlink_to("file")
    with atomic_replace(link) as temporary:
        assert temporary.stat().st_mode & 0o777 == 0o640
        temporary.write_text("short")
    assert (link.is_symlink(), file.read_text()) == (True, "short")
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]


def test_a_link_to_a_missing_file_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    with atomic_replace(tmp_path / "link") as temporary:
        temporary.write_text("text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every file")
def test_a_protected_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").touch(0o444)
    with pytest.raises(FileError, match="permission denied"):
        check_writable(str(tmp_path / "file"))


@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd"])
def test_the_file_behind_a_descriptor_is_not_replaced(folder: str, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        (tmp_path / "link").symlink_to(f"{folder}/{file.fileno()}")
        for path in (f"{folder}/{file.fileno()}", tmp_path / "link"):
            with pytest.raises(FileError, match="it is a file descriptor; name a file"):
                check_writable(str(path))
            with pytest.raises(FileError, match="file descriptor"), atomic_replace(path):
                pass
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]
