"""The command `ftkit archive`."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from ftkit.archive.read import open_archive
from ftkit.archive.store import ArchiveStore
from ftkit.client.resources import unix_time
from support.archives import FIRST_CREATED, add_job
from support.fake_provider import FakeProvider
from support.fixture_types import Run
from support.models import MINI


def test_the_command_saves_and_verifies(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    job = add_job(fake_provider, 1)
    done = ftkit("archive", "save", "a")
    assert done.returncode == 0, done.stderr
    assert "jobs     1 (1 new)" in done.stdout
    assert "3 permissions (forbidden)" in done.stdout
    output = json.loads(ftkit("archive", "save", "--output", "json", "a").stdout)
    assert (
        output["jobs"],
        output["new_jobs"],
        output["fetched_jobs"],
        output["fetched_files"],
    ) == (
        1,
        0,
        0,
        0,
    )
    assert output["organizations"] == ["org-1"]
    assert {(one["what"], one["reason"]) for one in output["missing"]} == {
        ("permissions", "forbidden")
    }
    checked = ftkit("archive", "verify", "a", env={"OPENAI_API_KEY": ""})
    assert checked.returncode == 0
    assert "intact    11 of 11 files" in checked.stdout
    story = (tmp_path / "a" / "jobs" / job["id"] / "README.md").read_text("utf-8")
    for part in (
        job["id"],
        f"Fine-tuning of {MINI} (supervised), created on 2025-10-10. The job succeeded.",
        "| billed tokens | 1,000,000 |",
        "about $3.00, at $3.00 per million tokens",
        "2027-01-14 (reported by the provider)",
        "| n_epochs | 3 |",
        "lowest validation loss: step 30",
        "█",
        "| metadata team | é\\|\\<b\\> |",
        "[events.jsonl](events.jsonl)",
        "permissions `ftckpt-1-1`: forbidden",
    ):
        assert part in story
    link = re.search(r"\]\((\.\./\.\./files/[0-9a-f]{64}\.jsonl)\)", story)
    assert link
    assert (tmp_path / "a" / "jobs" / job["id"] / link[1]).is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["verfy"],
            "there is no command 'verfy'; did you mean 'verify'? To save an archive to a new folder"
            " of that name, run: ftkit archive save verfy",
        ),
        (
            ["--no-files", "my backup"],
            "there is no command 'my backup'; to save an archive to a new folder of that name, run:"
            " ftkit archive save 'my backup'",
        ),
    ],
)
def test_a_word_that_may_be_a_misspelled_command_makes_no_folder(
    arguments: list[str],
    message: str,
    fake_provider: FakeProvider,
    ftkit: Run,
    tmp_path: Path,
) -> None:
    before = set(tmp_path.iterdir())
    done = ftkit("archive", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"ftkit: {message}\n")
    assert set(tmp_path.iterdir()) == before
    assert not fake_provider.requests


def test_a_path_and_an_existing_folder_need_no_command(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    add_job(fake_provider)
    assert ftkit("archive", "--no-files", "./a").returncode == 0
    assert ftkit("archive", str(tmp_path / "b"), "--no-files").returncode == 0
    assert ftkit("archive", "a").returncode == 0
    assert len(open_archive("a").jobs()) == len(open_archive("b").jobs()) == 1


def test_a_folder_named_verify_can_be_archived_into(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    assert ftkit("archive", "./verify").returncode == 0
    assert (tmp_path / "verify" / "manifest.json").exists()
    assert ftkit("archive", "verify", "verify").returncode == 0


def test_since_and_status_choose_jobs_and_leave_the_others_alone(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    for number in range(4):
        add_job(fake_provider, number, status="failed" if number == 3 else "succeeded")
    fake_provider.add_file("unused.jsonl", b"unused")
    result = ftkit("archive", "save", "a", "--since", "2025-10-11", "--status", "succeeded")
    assert result.returncode == 0
    assert "  left out  3 of 4 jobs (filtered by since and status)\n" in result.stdout
    archive = open_archive("a")
    created = [unix_time(archived.job.created_at) for archived in archive.jobs()]
    assert created == [FIRST_CREATED + 2 * 86400]
    assert len(archive.manifest.contents) == 2
    assert "left out" not in ftkit("archive", "save", "a").stdout
    assert len(open_archive("a").jobs()) == 4
    before = open_archive("a").manifest.files
    assert (
        json.loads(ftkit("archive", "save", "a", "--status", "paused", "--output", "json").stdout)[
            "left_out_jobs"
        ]
        == 4
    )
    assert open_archive("a").manifest.files == before


def test_files_left_out_are_said_to_be_and_can_be_had_later(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    job = add_job(fake_provider)
    assert ftkit("archive", "save", "a", "--no-files").returncode == 0
    archived = open_archive("a").job(job["id"])
    assert archived.training is None
    assert archived.results
    assert ("file", "left out") in {(one.what, one.reason) for one in archived.missing}
    assert not any(job["training_file"] in path for _, path, _ in fake_provider.requests)
    assert ftkit("archive", "save", "a").returncode == 0
    assert open_archive("a").job(job["id"]).training
    assert ftkit("archive", "save", "a", "--no-files").returncode == 0
    assert ("file", "left out") not in {
        (one.what, one.reason) for one in open_archive("a").manifest.missing
    }


def test_a_folder_with_something_else_or_another_account_is_refused(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    assert "is not an archive and not empty" in ftkit("archive", "save", "other").stderr
    assert os.listdir(tmp_path / "other") == ["thesis.txt"]
    ftkit("archive", "save", "a")
    done = ftkit(
        "archive",
        "save",
        "a",
        "--provider",
        "nebius",
        env={"NEBIUS_API_KEY": "sk-test", "FTKIT_PROVIDER": "nebius"},
    )
    assert done.returncode == 2
    assert "is the archive of openai" in done.stderr
    assert "has no manifest.json" in ftkit("archive", "verify", "other").stderr
    with ArchiveStore(tmp_path / "a").locked():
        assert "another ftkit process is archiving" in ftkit("archive", "save", "a").stderr
    (tmp_path / "a" / "manifest.json").write_text("{")
    for arguments in (["a"], ["verify", "a"]):
        done = ftkit("archive", *arguments)
        assert done.returncode == 2
        assert "is damaged" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_wrong_key_and_no_connection_are_one_line(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    done = ftkit("archive", "save", "a", env={"OPENAI_API_KEY": "sk-other"})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "rejected the API key" in done.stderr
    assert "sk-" not in done.stderr
