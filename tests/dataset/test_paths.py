"""Messages about paths that are not files."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftkit import validate
from ftkit.errors import FileError


def test_a_folder_is_refused_with_one_of_its_files(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "README.md"):
        (tmp_path / name).touch()
    with pytest.raises(FileError) as caught:
        validate(tmp_path)
    file = tmp_path / "a.jsonl"
    assert str(caught.value) == f"{tmp_path} is a folder; name one of its files, e.g. '{file}'"


def test_a_folder_without_files_is_refused_without_an_example(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"is a folder; name one of its files$"):
        validate(tmp_path)


def test_a_missing_file_gets_the_path_of_a_similar_one(tmp_path: Path) -> None:
    (tmp_path / "marv.jsonl").touch()
    with pytest.raises(FileError) as caught:
        validate(tmp_path / "mavr.jsonl")
    assert str(caught.value).endswith(f"; did you mean '{tmp_path / 'marv.jsonl'}'?")
