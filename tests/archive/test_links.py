"""Links, pipes, devices and folders where an archive has files, and links where it has folders."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ftkit.archive import layout
from ftkit.archive.read import open_archive
from ftkit.archive.record import plan_recording
from ftkit.archive.sync import Selection
from ftkit.archive.verify import verify
from ftkit.catalog import load_catalog
from ftkit.errors import FileError
from support.archives import add_job, manifest_without_date, save_archive
from support.connections import connect_to
from support.fake_provider import FakeProvider
from support.fixture_types import Run

Replace = Callable[[Path], object]


def link_to_a_copy(path: Path) -> None:
    copy = path.with_name(f"{path.name}.copy")
    path.rename(copy)
    path.symlink_to(copy)


def bind_socket(path: Path) -> None:
    path.unlink()
    folder = os.getcwd()
    os.chdir(path.parent)  # since the path of a socket has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(folder)


def replaced_by(make: Replace) -> Replace:
    def replace(path: Path) -> None:
        path.unlink()
        make(path)

    return replace


STRANGERS = {
    "a link to the same content": link_to_a_copy,
    "a link to a device": replaced_by(lambda path: path.symlink_to("/dev/zero")),
    "a link to nothing": replaced_by(lambda path: path.symlink_to("nowhere")),
    "a link to itself": replaced_by(lambda path: path.symlink_to(path.name)),
    "a pipe": replaced_by(os.mkfifo),
    "a folder": replaced_by(Path.mkdir),
    "a socket": bind_socket,
}
"""What may be in the place of a file, and how it gets there."""


@pytest.fixture
def archive(fake_provider: FakeProvider, provider_url: str, tmp_path: Path) -> Path:
    """An archive of one job."""
    fake_provider.is_admin = True
    add_job(fake_provider)
    save_archive(provider_url, tmp_path / "a")
    return tmp_path / "a"


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("name", ["job.json", "models.json", "files/*.jsonl"])
def test_what_is_no_regular_file_is_changed(stranger: str, name: str, archive: Path) -> None:
    path = next(archive.rglob(name))
    STRANGERS[stranger](path)
    verification = verify(archive)
    assert verification.changed == (path.relative_to(archive).as_posix(),)
    assert not verification.ok


@pytest.mark.parametrize("folder", ["jobs", "jobs/*", "files"])
def test_the_files_behind_a_link_to_a_folder_are_changed_and_the_link_is_unknown(
    folder: str, archive: Path, tmp_path: Path
) -> None:
    (path,) = archive.glob(folder)
    behind = {file.relative_to(archive).as_posix() for file in path.rglob("*") if file.is_file()}
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    verification = verify(archive)
    assert set(verification.changed) == behind
    assert verification.unknown == (path.relative_to(archive).as_posix(),)


def test_strangers_that_no_manifest_lists_are_unknown(archive: Path, tmp_path: Path) -> None:
    (archive / "link").symlink_to(tmp_path)
    os.mkfifo(archive / "files" / "pipe")
    (archive / "jobs" / "x" / "y" / "z").mkdir(parents=True)
    (archive / layout.LOCK).unlink(missing_ok=True)
    (archive / layout.LOCK).symlink_to("/dev/zero")
    verification = verify(archive)
    assert verification.unknown == (".lock", "files/pipe", "jobs/x/y/", "link")
    assert verification.ok


def test_a_folder_deeper_than_those_of_an_archive_is_reported_and_not_entered(
    archive: Path,
) -> None:
    archive.joinpath(*"d" * 20).mkdir(parents=True)
    assert verify(archive).unknown == ("d/d/d/",)


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_manifest_that_is_no_regular_file_is_refused(
    stranger: str, archive: Path, ftkit: Run
) -> None:
    STRANGERS[stranger](archive / layout.MANIFEST)
    for arguments in (["archive", "verify", "a"], ["archive", "save", "a"]):
        done = ftkit(*arguments)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "manifest.json is a" in done.stderr


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_in_the_place_of_a_file_is_replaced_by_the_next_run(
    stranger: str, archive: Path, provider_url: str
) -> None:
    before = manifest_without_date(archive)
    (events,) = archive.rglob("events.jsonl")
    STRANGERS[stranger](events)
    if stranger == "a folder":
        with pytest.raises(FileError, match=r"cannot write .*events.jsonl: is a directory"):
            save_archive(provider_url, archive)
        return
    save_archive(provider_url, archive)
    assert manifest_without_date(archive) == before
    assert events.is_file()
    assert not events.is_symlink()
    assert verify(archive).ok


@pytest.mark.parametrize("folder", ["jobs", "jobs/*", "files"])
def test_nothing_is_written_through_a_link_to_a_folder(
    folder: str, archive: Path, provider_url: str, tmp_path: Path
) -> None:
    (path,) = archive.glob(folder)
    shutil.rmtree(path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path.symlink_to(elsewhere)
    with pytest.raises(FileError, match="is a link, not a folder of the archive"):
        save_archive(provider_url, archive)
    assert os.listdir(elsewhere) == []


@pytest.mark.parametrize("name", [layout.LOCK, layout.PROGRESS, layout.PARTIAL])
def test_nothing_is_written_through_a_link_that_has_the_name_of_an_internal_file(
    name: str, archive: Path, provider_url: str, tmp_path: Path
) -> None:
    target = tmp_path / "mine"
    if name == layout.PARTIAL:
        target.mkdir()
        (target / "thesis.txt").write_text("mine")
    else:
        target.write_text("mine")
    (archive / name).unlink(missing_ok=True)
    (archive / name).symlink_to(target)
    with pytest.raises(FileError, match="is a link"):
        save_archive(provider_url, archive)
    assert (target / "thesis.txt" if target.is_dir() else target).read_text() == "mine"


@pytest.mark.parametrize("suffix", ["", ".part"])
def test_no_answers_are_written_through_a_link(
    suffix: str, archive: Path, provider_url: str, tmp_path: Path
) -> None:
    target = tmp_path / "mine"
    target.write_text("")
    (job_file,) = archive.rglob("job.json")
    job_file.with_name(f"{layout.ANSWERS}{suffix}").symlink_to(target)
    with pytest.raises(FileError, match="is a link"):
        plan_recording(
            connect_to(provider_url), archive, load_catalog(), selection=Selection(), sample=1
        )
    assert target.read_text() == ""


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_job_whose_data_is_no_regular_file_is_not_migrated(
    stranger: str, archive: Path, ftkit: Run
) -> None:
    (job_id,) = open_archive(archive).manifest.jobs
    (data,) = (archive / "files").iterdir()
    STRANGERS[stranger](data)
    done = ftkit("migrate", f"a/{job_id}", "--to", "openai", "--dry-run")
    assert done.returncode == 1
    assert "cannot be migrated: its training file is missing: files/" in done.stdout
    (job_file,) = archive.rglob("job.json")
    STRANGERS[stranger](job_file)
    done = ftkit("migrate", f"a/{job_id}", "--to", "openai", "--dry-run")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("stranger", STRANGERS)
def test_answers_that_are_no_regular_file_are_not_compared(
    stranger: str, fake_provider: FakeProvider, ftkit: Run
) -> None:
    job = add_job(fake_provider)
    assert ftkit("archive", "save", "a", "--sample", "2", "--yes").returncode == 0
    (answers,) = Path("a").absolute().rglob(layout.ANSWERS)
    STRANGERS[stranger](answers)
    place = f"a/{job['id']}"
    done = ftkit("compare", place, place, "--prompts", place)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"{layout.ANSWERS} is a" in done.stderr
