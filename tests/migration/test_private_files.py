"""Permissions of the training files that a migration downloads and rewrites."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ftkit.migration.prepare import prepare
from ftkit.migration.source import from_provider
from support.connections import connect_to
from support.examples import chat_lines
from support.fake_provider import FakeProvider


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_downloaded_and_rewritten_files_are_private(
    umask: int, fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    file = fake_provider.add_file("data.jsonl", b"\r\n".join(chat_lines(10)))
    job = fake_provider.add_job({"model": "m", "training_file": file["id"]})
    folder = tmp_path / "state" / "migrations"
    previous = os.umask(umask)
    try:
        source = from_provider(connect_to(provider_url), job["id"], folder)
        copy, changes = prepare(source.training, "openai", folder)
    finally:
        os.umask(previous)
    assert changes
    assert Path(copy).parent == Path(source.training).parent == folder
    for path, mode in [
        (folder.parent, 0o700),
        (folder, 0o700),
        *((one, 0o600) for one in folder.iterdir()),
    ]:
        assert stat.S_IMODE(path.stat().st_mode) == mode
