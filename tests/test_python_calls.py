"""`compare`, `archive` and `migrate` from Python, against the fake provider."""

from __future__ import annotations

import datetime
import os
import re
from pathlib import Path
from typing import Any

import pytest

import ftkit
from ftkit import Client, FileError, Journal, UsageError, archive, compare, migrate
from ftkit.archive.verify import verify
from ftkit.compare.comparison import Comparison
from ftkit.jobs.journal import state_folder
from support.connections import connect_to
from support.examples import chat_lines
from support.fake_provider import FakeProvider, error_body
from support.models import MINI
from support.paths import SAMPLES
from support.recordings import TUNED, chat_row, recorded_row, write_jsonl

FILES = {"prompts": SAMPLES / "compare" / "prompts.jsonl"}
A, B = SAMPLES / "compare" / "tuned.jsonl", str(SAMPLES / "compare" / "base.jsonl")


@pytest.fixture
def client(provider_url: str) -> Client:
    return connect_to(provider_url)


@pytest.fixture
def job(fake_provider: FakeProvider) -> str:
    """A job at the provider that has succeeded; returns its id."""
    file = fake_provider.add_file("data.jsonl", b"\n".join(chat_lines(20)))
    job = fake_provider.add_job({"model": MINI, "training_file": file["id"]})
    job |= {"status": "succeeded", "fine_tuned_model": f"ft:{MINI}:me:mine:1"}
    return str(job["id"])


@pytest.mark.parametrize("name", ["archive", "compare"])
def test_a_function_is_not_hidden_by_the_subpackage_of_its_name(name: str) -> None:
    module = f"ftkit.{name}.cost" if name == "compare" else f"ftkit.{name}.missing"
    __import__(module)
    assert callable(getattr(ftkit, name))
    assert getattr(ftkit, name).__name__ == name


def test_recorded_answers_are_compared() -> None:
    comparison = compare(A, B, **FILES, limit=10, group_by="metadata.headline")  # type: ignore[arg-type]
    assert isinstance(comparison, Comparison)
    assert (comparison.prompts, len(comparison.pairs)) == (10, 10)
    assert {row.name: row.figures["a"].mean for row in comparison.rows}["exact"] == 0.9
    assert "tokens" in {row.name for row in comparison.rows}


def test_models_are_asked_and_their_answers_saved(
    fake_provider: FakeProvider, client: Client, tmp_path: Path
) -> None:
    fake_provider.on_chat = lambda body: {"content": body["model"]}
    prompts = write_jsonl(tmp_path / "prompts.jsonl", *(chat_row(str(n), TUNED) for n in range(5)))
    saved: list[Any] = [tmp_path / "a.jsonl", str(tmp_path / "b.jsonl")]
    for _ in range(2):
        comparison = compare(
            TUNED, MINI, prompts=prompts, client=client, save_a=saved[0], save_b=saved[1]
        )
        exact = next(row for row in comparison.rows if row.name == "exact")
        assert (exact.figures["a"].mean, exact.figures["b"].mean) == (1, 0)
        assert len(fake_provider.requests) == 10
    assert all(body["temperature"] == 0 for *_, body in fake_provider.requests)
    assert len(Path(saved[1]).read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("parameters", "sent"),
    [(None, 512), ({"temperature": 0, "max_tokens": 9}, 9), ({"max_tokens": 0}, None)],
)
def test_the_answers_of_models_are_limited(
    parameters: dict[str, Any] | None,
    sent: int | None,
    fake_provider: FakeProvider,
    client: Client,
    tmp_path: Path,
) -> None:
    prompts = write_jsonl(tmp_path / "prompts.jsonl", chat_row("0", "x"))
    answers = write_jsonl(tmp_path / "a.jsonl", recorded_row("0", "x"))
    compare(answers, MINI, prompts=prompts, client=client, parameters=parameters)
    assert [body.get("max_tokens") for *_, body in fake_provider.requests] == [sent]


def test_prompts_that_were_refused_are_named(
    fake_provider: FakeProvider, client: Client, tmp_path: Path
) -> None:
    rows = [chat_row(str(n), "x") for n in range(3)]
    prompts = write_jsonl(tmp_path / "prompts.jsonl", *rows)
    answers = write_jsonl(tmp_path / "a.jsonl", *(recorded_row(str(n), "x") for n in range(3)))

    fake_provider.on_chat = lambda body: (
        error_body("flagged") if body["messages"][-1]["content"] == "1" else {"content": "x"}
    )
    said: list[str] = []
    comparison = compare(
        answers, "m", prompts=prompts, client_b=client, parameters={"top_p": 1}, say=said.append
    )
    assert comparison.left_out == (2,)
    assert {tuple(sorted(body)) for *_, body in fake_provider.requests} == {
        ("messages", "model", "top_p")
    }
    assert len(said) == 1
    assert said[0].startswith("skipped the prompt on line 2: ")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"a": "gpt-4"}, UsageError, "set `client` to ask the model gpt-4, or name a file"),
        ({"a": "none.jsonl"}, FileError, "no such file: none.jsonl"),
        ({"save_b": "b.jsonl"}, UsageError, "`save_b` applies to a model, but"),
        ({"prompts": "none.jsonl"}, FileError, "cannot read none.jsonl"),
        (
            {"save_a": "x", "save_b": "x"},
            UsageError,
            "`save_a` and `save_b` must be different files, not both x",
        ),
        ({"concurrency": 0}, UsageError, "`concurrency` must be at least 1, not 0"),
        ({"limit": -1}, UsageError, "`limit` must be at least 1, not -1"),
        ({"group_by": "nothing"}, UsageError, "`group_by`: all prompts have the same value"),
    ],
)
def test_what_cannot_be_compared_is_an_error(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        compare(**{"a": A, "b": B, **FILES, **arguments})


def test_an_account_is_archived(client: Client, job: str, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    folder = tmp_path / "archive"
    result = archive(client, str(folder), on_progress=lambda *step: seen.append(step))
    assert (result.new_jobs, result.fetched_files) == (1, 1)
    assert verify(folder).manifest.jobs.keys() == {job}
    assert seen
    tomorrow = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1)
    assert archive(client, folder, since=tomorrow).left_out_jobs == 1
    assert archive(client, folder, status="failed").left_out_jobs == 1
    assert archive(client, tmp_path / "small", files=False).fetched_files == 0


def test_a_job_is_migrated_once(
    fake_provider: FakeProvider, client: Client, job: str, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "state")
    declined = migrate(job, client, journal, source=client, confirm=lambda plan: False)
    assert (declined.new_id, declined.is_possible, len(fake_provider.created)) == ("", True, 1)
    plan = migrate(job, client, journal, source=client, epochs=2, confirm=lambda plan: True)
    assert plan.new_id == fake_provider.created[-1]
    method = fake_provider.jobs[plan.new_id]["method"]
    assert method["supervised"]["hyperparameters"]["n_epochs"] == 2
    asked: list[object] = []
    again = migrate(job, client, journal, source=client, confirm=lambda plan: not asked.append(1))
    assert (again.new_id, asked) == (plan.new_id, [])
    other = migrate(job, client, journal, source=client, again=True, confirm=lambda plan: True)
    assert other.new_id not in ("", plan.new_id)


def test_a_job_of_an_archive_is_migrated(client: Client, job: str, tmp_path: Path) -> None:
    archive(client, tmp_path / "archive")
    journal = Journal(tmp_path / "state")
    plan = migrate(tmp_path / "archive" / job, client, journal, confirm=lambda plan: True)
    assert plan.new_id
    with pytest.raises(UsageError, match="set `source` to the client that has the job"):
        migrate(job, client, journal, confirm=lambda plan: True)


def test_a_job_with_obstacles_is_not_migrated(
    fake_provider: FakeProvider, client: Client, job: str, tmp_path: Path
) -> None:
    file = fake_provider.jobs[job]["training_file"]
    fake_provider.contents[file] = b"oops\n" * 20
    fake_provider.files[file]["bytes"] = 100
    plan = migrate(job, client, Journal(tmp_path), source=client, confirm=lambda plan: True)
    assert (plan.is_possible, plan.new_id) == (False, "")
    assert plan.translation.obstacles


def test_a_journal_without_a_folder_is_that_of_the_user() -> None:
    assert Journal().folder == state_folder(os.environ)
    assert Journal().folder.is_relative_to(os.environ["HOME"])
