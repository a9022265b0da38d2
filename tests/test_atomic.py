"""Atomic writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ftkit._atomic import check_writable
from ftkit.errors import FileError


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(FileError, match="is not a regular file"):
        check_writable(str(pipe))
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["pipe"]
