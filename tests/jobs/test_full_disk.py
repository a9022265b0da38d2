"""A disk that is full at any moment costs nothing: one line, and the same again goes on to one job."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftkit.errors import FileError
from ftkit.jobs.journal import Journal
from support.disk import RUN_WITH_FILE_LIMIT, environment_without_coverage, small_file_system
from support.examples import chat_lines
from support.fake_provider import FakeProvider
from support.fixture_types import Run, Write
from support.models import MINI

SIZE = 256 << 10


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    with small_file_system(tmp_path / "small", SIZE) as folder:
        yield folder


def leave(folder: Path, room: int) -> Path:
    """Fill the file system but for so many bytes."""
    filler = folder / "filler"
    free = os.statvfs(folder)
    filler.write_bytes(b"x" * max(free.f_bavail * free.f_frsize - room, 0))
    return filler


@pytest.mark.parametrize("room", range(0, 120 << 10, 24 << 10))
def test_a_full_disk_is_one_line_and_the_next_run_goes_on_to_one_job(
    room: int, small_disk: Path, fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    command = ("submit", clean_file, "--model", MINI, "--yes")
    environment = {"FTKIT_STATE_DIR": str(small_disk / "state")}
    filler = leave(small_disk, room)
    done = ftkit(*command, env=environment)
    if done.returncode:
        assert done.returncode == 2
        message = done.stderr.splitlines()[-1]
        assert message.startswith("ftkit: cannot ")
        assert str(small_disk) in message
        assert "Traceback" not in done.stderr
    filler.unlink()
    again = ftkit(*command, env=environment)
    assert again.returncode == 0, again.stderr
    assert len(fake_provider.created) == len(fake_provider.files) == 1


@pytest.mark.parametrize("path", ["/v1/files", "/v1/fine_tuning/jobs"])
def test_a_disk_that_is_full_once_the_service_has_acted_costs_nothing(
    path: str, small_disk: Path, fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    environment = {"FTKIT_STATE_DIR": str(small_disk / "state")}

    def full(method: str, at: str) -> str:
        if method == "POST" and at == path:
            leave(small_disk, 0)
        return ""

    fake_provider.faults = full
    done = ftkit("submit", clean_file, "--model", MINI, "--yes", env=environment)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("ftkit: cannot write the journal")
    assert done.stderr.endswith("once it can be written, run the same command again to continue\n")
    assert len(fake_provider.files) == 1
    fake_provider.faults = lambda method, at: ""
    (small_disk / "filler").unlink()
    again = ftkit("submit", clean_file, "--model", MINI, "--yes", env=environment)
    assert again.returncode == 0, again.stderr
    assert len(fake_provider.created) == len(fake_provider.files) == 1


def fill(journal: Journal, ids: list[str]) -> None:
    """Write into the journal, and note what it took, until it raises."""
    for number in range(2000):
        journal.plan(f"s{number}-1", "account", "key", {"model": "m" * 500}, "data.jsonl")
        ids.append(f"s{number}-1")


def test_a_disk_that_fills_up_at_each_step_of_the_journal_loses_nothing(small_disk: Path) -> None:
    for number in range(40):
        filler = leave(small_disk, number << 12)
        ids: list[str] = []
        with pytest.raises(FileError, match=r"^cannot .*$"):
            fill(Journal(small_disk / "state"), ids)
        filler.unlink()
        held = {
            submission.id
            for submission in Journal(small_disk / "state").submissions("account", "key")
        }
        assert held.issuperset(ids)
        for path in (small_disk / "state").iterdir():
            path.unlink()


@pytest.mark.parametrize("limit", [0, 4096, 20_000, 40_000, 60_000, 100_000])
def test_a_file_that_may_grow_no_more_is_the_same(
    limit: int,
    fake_provider: FakeProvider,
    provider_url: str,
    ftkit: Run,
    write: Write,
    tmp_path: Path,
) -> None:
    data, state = str(write(chat_lines(60))), str(tmp_path / "state")
    environment = {
        **environment_without_coverage(),
        "OPENAI_API_KEY": "sk-test",
        "FTKIT_BASE_URL": provider_url,
        "FTKIT_STATE_DIR": state,
    }
    command = [
        sys.executable,
        "-c",
        RUN_WITH_FILE_LIMIT,
        str(limit),
        "submit",
        data,
        "--model",
        MINI,
        "--yes",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.stderr.splitlines()[-1].startswith("ftkit: cannot write the journal")
    again = ftkit("submit", data, "--model", MINI, "--yes")
    assert again.returncode == 0, again.stderr
    assert len(fake_provider.created) == len(fake_provider.files) == 1
