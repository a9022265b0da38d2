"""Permissions of the files and folders of an archive, which hold training data."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftkit.archive.record import plan_recording, record
from ftkit.archive.sync import Selection
from ftkit.catalog import load_catalog
from support.archives import add_job, save_archive
from support.connections import connect_to
from support.fake_provider import FakeProvider


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """A umask that is set for the test."""
    previous = os.umask(request.param)
    yield request.param
    os.umask(previous)


def modes(folder: Path) -> dict[str, str]:
    """Return the permissions of everything in a folder, and of the folder itself as ""."""
    return {
        "" if path == folder else path.relative_to(folder).as_posix(): f"{mode:04o}"
        for path in (folder, *folder.rglob("*"))
        for mode in [stat.S_IMODE(path.stat().st_mode)]
    }


def save_with_answers(url: str, folder: Path) -> None:
    client, catalog = connect_to(url), load_catalog()
    save_archive(url, folder)
    plan = plan_recording(client, folder, catalog, selection=Selection(), sample=2)
    record(client, folder, plan, catalog)


def test_an_archive_is_private(
    umask: int, fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    add_job(fake_provider)
    save_with_answers(provider_url, tmp_path / "new" / "a")
    permissions = modes(tmp_path / "new")
    assert {"", "a", "a/jobs", "a/files", "a/manifest.json", "a/index.html"} <= set(permissions)
    assert {Path(path).name for path in permissions} >= {"answers.jsonl", "answers-chat.jsonl"}
    for path, mode in permissions.items():
        assert mode == ("0700" if (tmp_path / "new" / path).is_dir() else "0600"), path


def test_a_folder_of_the_user_keeps_its_permissions_and_the_files_in_it_are_private(
    umask: int, fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    add_job(fake_provider)
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o755)
    save_with_answers(provider_url, tmp_path / "a")
    permissions = modes(tmp_path / "a")
    assert permissions.pop("") == "0755"
    assert set(permissions.values()) == {"0700", "0600"}


def test_the_progress_of_an_interrupted_run_is_private(
    umask: int, fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    add_job(fake_provider)

    def interrupt(phase: str, done: int, total: int) -> None:
        if phase == "fetching files":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_archive(provider_url, tmp_path / "a", on_progress=interrupt)
    assert modes(tmp_path / "a")[".progress.jsonl"] == "0600"
