"""Jobs and archives moved to another provider."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ftkit.migration.translate import MOVED_FROM
from support.examples import chat_lines
from support.fake_provider import FakeProvider, error_body
from support.fixture_types import Run, Write
from support.models import MINI
from support.paths import SAMPLES


@pytest.fixture
def succeeded_job(fake_provider: FakeProvider, write: Write) -> str:
    """A job at the service that has succeeded; returns its id."""
    file = fake_provider.add_file("data.jsonl", b"\xef\xbb\xbf" + b"\r\n".join(chat_lines(20)))
    job = fake_provider.add_job({"model": MINI, "training_file": file["id"]})
    job |= {
        "status": "succeeded",
        "fine_tuned_model": f"ft:{MINI}:me:mine:1",
        "hyperparameters": {"n_epochs": 2, "batch_size": 1, "learning_rate_multiplier": 1.8},
    }
    return str(job["id"])


@pytest.fixture
def migrate(ftkit: Run, provider_url: str) -> Run:
    """Run `ftkit migrate` to the fake provider, without the confirmation prompt."""

    def run(
        *arguments: str, input: str | None = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        to = ("--to", "openai", "--to-base-url", provider_url, "--yes")
        return ftkit("migrate", *arguments, *to, input=input, env=env)

    return run


def test_a_job_moves_once_and_the_link_is_kept(
    fake_provider: FakeProvider, succeeded_job: str, migrate: Run
) -> None:
    first = migrate(succeeded_job)
    assert first.returncode == 0, first.stderr
    assert "CRLF -> LF" in first.stdout
    new = fake_provider.jobs[fake_provider.created[-1]]
    assert new["metadata"][MOVED_FROM] == f"openai/{succeeded_job}"
    assert new["method"]["supervised"]["hyperparameters"] == {
        "n_epochs": 2,
        "batch_size": 1,
        "learning_rate_multiplier": 1.8,
    }
    assert fake_provider.contents[new["training_file"]] == b"".join(
        line + b"\n" for line in chat_lines(20)
    )
    again = migrate(succeeded_job, "--output", "json")
    assert json.loads(again.stdout)[0]["to"] == new["id"]
    assert len(fake_provider.created) == 2


def test_a_job_that_has_moved_moves_no_second_time_whatever_has_changed(
    fake_provider: FakeProvider, succeeded_job: str, migrate: Run
) -> None:
    fake_provider.jobs[succeeded_job] |= {
        "status": "running",
        "hyperparameters": {"n_epochs": "auto"},
    }
    assert migrate(succeeded_job).returncode == 0
    new = fake_provider.created[-1]
    fake_provider.jobs[succeeded_job] |= {"status": "succeeded", "hyperparameters": {"n_epochs": 3}}
    for more in ([], ["--epochs", "5"], ["--suffix", "other"]):
        result = migrate(succeeded_job, *more)
        assert result.returncode == 0
        assert f"Job {succeeded_job} was already migrated to {new} (" in result.stdout
    assert fake_provider.created[-1] == new
    again = migrate(succeeded_job, "--epochs", "5", "--suffix", "other", "--again")
    assert "Created job" in again.stdout
    assert "epochs: 3 -> 5 (as requested)" in again.stdout
    assert "suffix: mine -> other (as requested)" in again.stdout
    assert fake_provider.created[-1] != new


def test_a_new_job_that_failed_is_1_until_it_is_done_again(
    fake_provider: FakeProvider,
    ftkit: Run,
    provider_url: str,
    succeeded_job: str,
    tmp_path: Path,
    migrate: Run,
) -> None:
    archive = str(tmp_path / "old")
    unconfirmed = ("migrate", "--archive", archive, "--to", "openai", "--to-base-url", provider_url)
    assert migrate(succeeded_job).returncode == 0
    fake_provider.jobs[fake_provider.created[-1]]["status"] = "failed"
    assert ftkit("archive", "save", archive, "--status", "succeeded").returncode in (0, 1)
    assert (migrate(succeeded_job).returncode, migrate("--archive", archive).returncode) == (1, 1)
    # A dry run asks no provider whether the new job failed, so the job counts as migrated.
    planned = ftkit(*unconfirmed, "--again", "--dry-run")
    assert "total cost at OpenAI: $0.00\n" in planned.stdout
    refused = ftkit(*unconfirmed, "--again")
    assert "(failed); will be migrated again" in refused.stdout
    assert "total cost at OpenAI: $0.00\n" not in refused.stdout
    assert migrate("--archive", archive, "--again").returncode == 0


def test_two_equal_jobs_are_two_where_the_service_keeps_no_metadata(
    fake_provider: FakeProvider, ftkit: Run, provider_url: str, succeeded_job: str
) -> None:
    twin = fake_provider.add_job(
        {"model": MINI, "training_file": fake_provider.jobs[succeeded_job]["training_file"]}
    )
    twin |= {
        key: fake_provider.jobs[succeeded_job][key]
        for key in ("status", "hyperparameters", "fine_tuned_model")
    }
    command = ("--to", "llmariner", "--to-base-url", provider_url, "--model", "m/m", "--yes")
    for job in (succeeded_job, twin["id"]):
        result = ftkit("migrate", job, *command, env={"LLMARINER_API_KEY": "sk-test"})
        assert "Created job" in result.stdout, result.stderr
    assert len(fake_provider.created) == 4


def test_a_validation_file_is_judged_as_one_and_named(
    fake_provider: FakeProvider, ftkit: Run, provider_url: str, succeeded_job: str
) -> None:
    small = fake_provider.add_file("valid.jsonl", b"\r\n".join(chat_lines(3)))
    fake_provider.jobs[succeeded_job]["validation_file"] = small["id"]
    result = ftkit(
        "migrate", succeeded_job, "--to", "openai", "--to-base-url", provider_url, "--dry-run"
    )
    assert result.returncode == 0, result.stdout
    assert "validation file, line endings: CRLF -> LF" in result.stdout
    bad = fake_provider.add_file("bad.jsonl", b"\n\n\n" + b"\n".join(chat_lines(12, {4: b"oops"})))
    fake_provider.jobs[succeeded_job]["validation_file"] = bad["id"]
    result = ftkit(
        "migrate", succeeded_job, "--to", "openai", "--to-base-url", provider_url, "--dry-run"
    )
    assert result.returncode == 1
    line = fake_provider.contents[bad["id"]].split(b"\n").index(b"oops") + 1
    assert f"cannot be migrated: validation file, line {line}: json-syntax" in result.stdout


def test_an_archive_is_not_taken_for_a_job(
    fake_provider: FakeProvider, ftkit: Run, succeeded_job: str, tmp_path: Path
) -> None:
    assert ftkit("archive", "save", str(tmp_path / "old")).returncode in (0, 1)
    result = ftkit("migrate", str(tmp_path / "old"), "--to", "local", "--dry-run")
    assert result.returncode == 2
    assert "is an archive; give one of its jobs" in result.stderr


def test_a_job_that_cannot_go_is_1_and_sends_nothing(
    fake_provider: FakeProvider, succeeded_job: str, migrate: Run
) -> None:
    file = fake_provider.jobs[succeeded_job]["training_file"]
    fake_provider.contents[file] = b"\n".join(chat_lines(20, {4: b"oops"}))
    fake_provider.files[file]["bytes"] = len(fake_provider.contents[file])
    result = migrate(succeeded_job)
    assert result.returncode == 1
    assert "cannot be migrated: line 4: json-syntax" in result.stdout
    assert len(fake_provider.created) == 1


@pytest.mark.parametrize("output", ["text", "json"])
def test_what_prevents_a_migration_names_options(ftkit: Run, output: str) -> None:
    archive = str(SAMPLES / "archive")
    done = ftkit("migrate", "--archive", archive, "--to", "nebius", "--dry-run", "-o", output)
    assert done.returncode == 1
    assert "; set `--model` to one of its base models" in done.stdout


def test_migrating_asks_first(
    fake_provider: FakeProvider, ftkit: Run, provider_url: str, succeeded_job: str
) -> None:
    assert (
        ftkit("migrate", succeeded_job, "--to", "openai", "--to-base-url", provider_url).returncode
        == 2
    )
    assert len(fake_provider.created) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either a job, or an archive"),
        (["ftjob-none"], "not found at"),
        (["nowhere/jobs/x"], "is not in an archive"),
        (["--archive", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_migrated_is_one_line_and_2(
    arguments: list[str], message: str, migrate: Run
) -> None:
    result = migrate(*arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_an_archive_moves_as_a_whole_after_a_table(
    fake_provider: FakeProvider, ftkit: Run, succeeded_job: str, tmp_path: Path, migrate: Run
) -> None:
    failed = fake_provider.add_job({"model": MINI, "training_file": "file-none"})
    failed["status"] = "failed"
    lost = fake_provider.add_job({"model": MINI, "training_file": "file-gone"})
    lost["status"] = "succeeded"
    assert ftkit("archive", "save", str(tmp_path / "old")).returncode in (0, 1)
    before = len(fake_provider.created)
    result = migrate("--archive", str(tmp_path / "old"))
    assert result.returncode == 1, result.stderr
    assert "its training file is missing" in result.stdout
    assert len(fake_provider.created) == before + 1
    again = migrate("--archive", str(tmp_path / "old"))
    assert f"migrated to {fake_provider.created[-1]}" in again.stdout
    assert len(fake_provider.created) == before + 1
    one = next(path for path in (tmp_path / "old" / "jobs").iterdir() if succeeded_job in path.name)
    assert "was already migrated to" in migrate(str(one)).stdout


def test_a_plan_needs_no_key_and_sends_nothing(
    fake_provider: FakeProvider, ftkit: Run, provider_url: str, succeeded_job: str, tmp_path: Path
) -> None:
    assert ftkit("archive", "save", "old").returncode == 0
    before = len(fake_provider.requests)
    alone = {"OPENAI_API_KEY": "", "FTKIT_BASE_URL": ""}
    for to, code in (
        ("openai", 0),
        ("azure", 0),
        ("nebius", 0),
        ("llmariner", 0),
        ("local", 0),
        ("mistral", 2),
    ):
        result = ftkit(
            "migrate",
            "--archive",
            "old",
            "--to",
            to,
            "--model",
            MINI if to == "azure" else "m/m",
            "--dry-run",
            env=alone,
        )
        assert result.returncode == (1 if to == "openai" else code), (
            to,
            result.stdout,
            result.stderr,
        )
    assert len(fake_provider.requests) == before


def test_the_new_job_can_be_followed(
    fake_provider: FakeProvider, succeeded_job: str, migrate: Run
) -> None:
    fake_provider.on_job = lambda job: job.update(status="succeeded", fine_tuned_model="ft:new")
    result = migrate(succeeded_job, "--watch")
    assert result.stdout.splitlines()[-1].startswith("model "), result.stderr


def test_a_file_that_is_not_whole_does_not_go(
    fake_provider: FakeProvider, ftkit: Run, succeeded_job: str, tmp_path: Path, migrate: Run
) -> None:
    place = tmp_path / "old" / succeeded_job
    assert ftkit("archive", "save", str(tmp_path / "old")).returncode in (0, 1)
    file = next((tmp_path / "old" / "files").iterdir())
    content = file.read_bytes()
    file.write_bytes(b"\n".join(content.splitlines()[:12]))
    result = migrate(str(place))
    assert "is changed since it was archived" in result.stdout
    file.unlink()
    gone = migrate("--archive", str(tmp_path / "old"))
    assert "is gone since it was archived" in gone.stdout
    id = fake_provider.jobs[succeeded_job]["training_file"]
    fake_provider.files[id]["bytes"] += 1
    assert ftkit("archive", "save", str(tmp_path / "old")).returncode == 1
    part = migrate(str(place))
    assert "a part of it is in the archive" in part.stdout
    assert (result.returncode, gone.returncode, part.returncode) == (1, 1, 1)
    assert len(fake_provider.created) == 1


@pytest.mark.parametrize("of", ["the service", "an archive"])
def test_a_validation_file_that_could_not_be_had_is_named(
    of: str,
    fake_provider: FakeProvider,
    ftkit: Run,
    succeeded_job: str,
    tmp_path: Path,
    migrate: Run,
) -> None:
    fake_provider.jobs[succeeded_job]["validation_file"] = "file-gone"
    if of == "an archive":
        ftkit("archive", "save", str(tmp_path / "old"))
    job = str(tmp_path / "old" / succeeded_job) if of == "an archive" else succeeded_job
    result = migrate(job)
    assert result.returncode == 0, result.stderr
    assert "validation file: file-gone -> dropped" in result.stdout


def test_a_job_that_is_refused_does_not_hold_up_the_others(
    fake_provider: FakeProvider, ftkit: Run, succeeded_job: str, tmp_path: Path, migrate: Run
) -> None:
    for _ in range(2):
        job = fake_provider.add_job(
            {"model": MINI, "training_file": fake_provider.jobs[succeeded_job]["training_file"]}
        )
        job |= {"status": "succeeded", "hyperparameters": {"n_epochs": 2}}
    assert ftkit("archive", "save", str(tmp_path / "old")).returncode in (0, 1)
    before, answer = len(fake_provider.created), fake_provider.answer

    def refusing(method: str, path: str, query: Any, body: Any) -> Any:
        old = (body.get("metadata") or {}).get(MOVED_FROM) if isinstance(body, dict) else None
        return (
            (400, error_body("not this one"))
            if old == f"openai/{fake_provider.created[1]}"
            else answer(method, path, query, body)
        )

    fake_provider.answer = refusing  # type: ignore[method-assign]
    result = migrate("--archive", str(tmp_path / "old"))
    assert result.returncode == 1
    assert f"ftkit: job {fake_provider.created[1]} was not migrated: " in result.stderr
    assert "not this one" in result.stderr
    assert len(fake_provider.created) == before + 2


def test_a_new_job_that_is_gone_moves_again_and_one_that_failed_is_told(
    fake_provider: FakeProvider, ftkit: Run, succeeded_job: str, tmp_path: Path, migrate: Run
) -> None:
    command = ("--archive", str(tmp_path / "old"))
    assert ftkit("archive", "save", str(tmp_path / "old")).returncode in (0, 1)
    assert migrate(*command).returncode == 0
    new = fake_provider.created[-1]
    fake_provider.jobs[new]["status"] = "failed"
    assert f"migrated to {new} (failed)" in migrate(*command).stdout
    again = migrate(*command, "--again")
    assert again.stdout.count("Created") == 1, again.stderr
    assert migrate(*command, "--again").stdout.count("Created") == 0
    new = fake_provider.created[-1]
    del fake_provider.jobs[new]
    assert migrate(*command).returncode == 0
    assert fake_provider.created[-1] != new


def test_names_play_no_tricks_on_the_terminal(
    fake_provider: FakeProvider, ftkit: Run, provider_url: str, succeeded_job: str, tmp_path: Path
) -> None:
    fake_provider.jobs[succeeded_job] |= {
        "user_provided_suffix": "a\x07b",
        "metadata": {"k\x1b[2J": "v"},
        "integrations": ["\x07"],
    }
    result = ftkit(
        "migrate",
        succeeded_job,
        "--to",
        "openai",
        "--model",
        "m/\x07",
        "--to-base-url",
        provider_url,
        "--yes",
    )
    assert "\x07" not in result.stdout
    assert "m/\\x07" in result.stdout


def test_a_download_that_is_too_short_does_not_go(
    fake_provider: FakeProvider, succeeded_job: str, migrate: Run
) -> None:
    fake_provider.files[fake_provider.jobs[succeeded_job]["training_file"]]["bytes"] += 1
    for _ in range(2):
        result = migrate(succeeded_job)
        assert (result.returncode, "bytes, and sent" in result.stderr) == (2, True)
    assert len(fake_provider.created) == 1
