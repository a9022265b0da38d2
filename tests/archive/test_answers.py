"""Recorded answers of archived models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ftkit.archive import layout
from ftkit.archive.read import open_archive
from ftkit.archive.verify import verify
from support.archives import add_job, assert_hashes, manifest_without_date
from support.examples import chat_example, chat_lines
from support.fake_provider import FakeProvider, error_body
from support.fixture_types import Run, Write
from support.models import MINI
from support.terminal import run_in_terminal


def test_answers_are_recorded_once_with_their_usage_and_as_training_data(
    fake_provider: FakeProvider, ftkit: Run, write: Write
) -> None:
    job = add_job(fake_provider)
    add_job(fake_provider, 1, status="failed", fine_tuned_model=None)
    prompts = str(write([*chat_lines(12)], "prompts.jsonl"))
    done = ftkit("archive", "save", "a", "--prompts", prompts, "--yes")
    assert done.returncode == 0, done.stderr
    assert "12 prompts to 1 models, about" in done.stderr
    job_record = open_archive("a").job(job["id"])
    first = job_record.answers[0]
    assert first.messages == [{"role": "user", "content": "What follows 0?"}]
    assert (first.answer["content"], first.model, first.parameters) == (
        "0? follows What",
        f"ft:{MINI}:me::0",
        {"temperature": 0},
    )
    assert first.usage == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    assert len(job_record.answers) == 12
    assert ftkit("validate", str(job_record.folder / "answers-chat.jsonl")).returncode == 0
    assert "[answers.jsonl](answers.jsonl)" in (job_record.folder / "README.md").read_text("utf-8")
    fake_provider.requests.clear()
    more = str(write([*chat_lines(12), json.dumps(chat_example(99)).encode()], "more.jsonl"))
    assert ftkit("archive", "save", "a", "--prompts", more, "--yes").returncode == 0
    assert sum(method == "POST" for method, _, _ in fake_provider.requests) == 1
    assert len(open_archive("a").job(job["id"]).answers) == 13
    assert ftkit("archive", "save", "a").returncode == 0
    assert_hashes(Path("a"))


def test_prompts_are_drawn_from_the_data_of_each_job_the_same_each_time(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    job, other = add_job(fake_provider), add_job(fake_provider, 1)
    validation = fake_provider.add_file(
        "valid.jsonl", b"\n".join([*chat_lines(20), b"{bad", b'{"prompt": "x", "completion": "y"}'])
    )
    job["validation_file"] = validation["id"]
    other["training_file"] = fake_provider.add_file(
        "pairs.jsonl", b'{"prompt": "x", "completion": "y"}\n'
    )["id"]
    done = ftkit("archive", "save", "a", "--sample", "5", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"no prompts for job {other['id']}" in done.stderr
    answers = open_archive("a").job(job["id"]).answers
    assert 3 <= len(answers) <= 5
    fake_provider.requests.clear()
    assert ftkit("archive", "save", "a", "--sample", "5", "--yes").returncode == 0
    assert {method for method, _, _ in fake_provider.requests} == {"GET"}


def test_without_a_yes_nothing_is_asked(
    fake_provider: FakeProvider, ftkit: Run, provider_url: str, write: Write
) -> None:
    add_job(fake_provider)
    prompts = str(write(chat_lines(12)))
    done = ftkit("archive", "save", "a", "--prompts", prompts)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert not fake_provider.requests
    code, shown = run_in_terminal(
        provider_url,
        "archive",
        "save",
        "a",
        "--prompts",
        prompts,
        answers={b"Send 12 requests?": b"n\n"},
    )
    assert code == 0
    assert b"no answers were recorded" in shown
    assert b"cost" in shown or b"$" in shown
    assert {method for method, _, _ in fake_provider.requests} == {"GET"}


def test_a_model_that_takes_no_temperature_is_asked_without(
    fake_provider: FakeProvider, ftkit: Run, write: Write
) -> None:
    job = add_job(fake_provider)
    refusal = error_body("Unsupported value: 'temperature' does not support 0 with this model.")
    fake_provider.on_chat = lambda body: refusal if "temperature" in body else {"content": "yes"}
    prompts = str(write(chat_lines(10)))
    assert ftkit("archive", "save", "a", "--prompts", prompts, "--yes").returncode == 0
    assert [one.parameters for one in open_archive("a").job(job["id"]).answers] == [{}] * 10
    fake_provider.requests.clear()
    assert ftkit("archive", "save", "a", "--prompts", prompts, "--yes").returncode == 0
    assert {method for method, _, _ in fake_provider.requests} == {"GET"}


def test_models_that_answer_no_more_are_named(
    fake_provider: FakeProvider, ftkit: Run, write: Write
) -> None:
    gone, here = add_job(fake_provider), add_job(fake_provider, 1)
    fake_provider.on_chat = lambda body: (
        error_body("flagged") if body["model"] == gone["fine_tuned_model"] else {"content": "yes"}
    )
    assert (
        ftkit("archive", "save", "a", "--prompts", str(write(chat_lines(10))), "--yes").returncode
        == 0
    )
    archive = open_archive("a")
    assert archive.job(gone["id"]).answers == []
    assert {(one.what, one.reason) for one in archive.job(gone["id"]).missing} >= {
        ("answers", "refused")
    }
    assert len(archive.job(here["id"]).answers) == 10


def test_answers_that_were_kept_by_a_run_that_was_killed_are_taken_in(
    fake_provider: FakeProvider, ftkit: Run, write: Write, tmp_path: Path
) -> None:
    job = add_job(fake_provider)
    ftkit("archive", "save", "a", "--prompts", str(write(chat_lines(10))), "--yes")
    whole = manifest_without_date(tmp_path / "a")
    saved_files = {
        name: (tmp_path / "a" / "jobs" / job["id"] / name).read_bytes()
        for name in ("answers.jsonl", "answers-chat.jsonl")
    }
    shutil.rmtree("a")
    ftkit("archive", "save", "a")
    for name, data in saved_files.items():
        (tmp_path / "a" / "jobs" / job["id"] / name).write_bytes(data)
    ftkit("archive", "save", "a")
    assert manifest_without_date(tmp_path / "a") == whole


def test_answers_that_were_written_again_by_a_run_that_was_killed_are_no_damage(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    job = add_job(fake_provider)
    archive, folder = tmp_path / "a", tmp_path / "a" / "jobs" / job["id"]
    ftkit("archive", "save", "a", "--sample", "3", "--yes")
    manifest, three = (
        (archive / layout.MANIFEST).read_bytes(),
        (folder / layout.ANSWERS).read_bytes(),
    )
    ftkit("archive", "save", "a", "--sample", "5", "--yes")
    whole, five = manifest_without_date(archive), (folder / layout.ANSWERS).read_bytes()
    (archive / layout.MANIFEST).write_bytes(manifest)
    new = set(five.splitlines(keepends=True)) - set(three.splitlines(keepends=True))
    (folder / f"{layout.ANSWERS}.part").write_bytes(b"".join(new))
    again = ftkit("archive", "save", "a")
    assert again.returncode == 0, again.stdout
    assert manifest_without_date(archive) == whole
    assert verify(archive).ok
    assert verify(archive).unknown == ()


def test_many_jobs_without_prompts_are_counted(fake_provider: FakeProvider, ftkit: Run) -> None:
    pairs = fake_provider.add_file("pairs.jsonl", b'{"prompt": "x", "completion": "y"}\n')
    for _ in range(11):
        add_job(fake_provider)["training_file"] = pairs["id"]
    done = ftkit("archive", "save", "a", "--sample", "5", "--yes")
    assert done.stderr.count("ftkit: no prompts for job ") == 10
    assert "ftkit: no prompts for 1 more job\n" in done.stderr


def test_a_file_that_is_nowhere_any_more_gives_no_prompts(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    job = add_job(fake_provider)
    ftkit("archive", "save", str(tmp_path / "a"))
    path = open_archive(tmp_path / "a").file(job["training_file"])
    assert path
    path.unlink()
    del fake_provider.files[job["training_file"]], fake_provider.contents[job["training_file"]]
    result = ftkit("archive", "save", str(tmp_path / "a"), "--sample", "2", "--yes")
    assert result.returncode == 1
    assert f"no prompts for job {job['id']}" in result.stderr


def test_the_answers_of_an_archive_are_named_by_its_folder_or_a_job(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    for number in range(2):
        file = fake_provider.add_file(
            "data.jsonl", b"".join(line + b"\n" for line in chat_lines(12))
        )
        job = fake_provider.add_job({"model": "m", "training_file": file["id"]})
        job |= {"status": "succeeded", "fine_tuned_model": f"ft:m:{number}"}
        ftkit("archive", "save", str(old))
        if number == 0:
            none = ftkit("compare", str(old), "m", "--prompts", str(old), "--yes")
            assert (none.returncode, "has no recorded answers" in none.stderr) == (2, True)
        assert ftkit("archive", "save", str(old), "--sample", "3", "--yes").returncode == 0
        place = str(old) if number == 0 else str(old / job["id"])
        result = ftkit("compare", place, "m", "--prompts", place, "--yes", "--output", "json")
        assert json.loads(result.stdout)["compared"] == 3, result.stderr
    many = ftkit("compare", str(old), "m", "--prompts", str(old), "--yes")
    assert (many.returncode, "answers of 2 jobs" in many.stderr) == (2, True)


def test_the_cost_of_answers_of_unknown_length_is_not_that_of_none(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    add_job(fake_provider)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"messages": [{"role": "user", "content": "Hello"}]}\n', "utf-8")
    result = ftkit("archive", "save", str(tmp_path / "a"), "--prompts", str(prompts), "--yes")
    assert "input tokens and an unknown number of output tokens" in result.stderr
