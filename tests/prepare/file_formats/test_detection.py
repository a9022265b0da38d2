"""Findings about files that `ftkit convert` reads name the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow
import pytest
from pyarrow import feather, parquet

from ftkit import validate
from support.workbooks import HEADER, make

TABLE = pyarrow.table({"q": ["Why?"], "a": ["So."]})


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("in.csv", lambda path: path.write_text("q,a\nWhy?,So.\n")),
        ("in.xlsx", lambda path: make(path, HEADER)),
        ("in.parquet", lambda path: parquet.write_table(TABLE, path)),
        ("in.feather", lambda path: feather.write_feather(TABLE, path)),
    ],
)
def test_the_finding_about_a_table_names_the_command(
    tmp_path: Path, name: str, write: Callable[[Path], object]
) -> None:
    write(tmp_path / name)
    (finding,) = validate(tmp_path / name).files[0].findings
    assert finding.message.endswith(f"; or use `ftkit convert {tmp_path / name} --to chat`")
