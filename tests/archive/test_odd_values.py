"""Values of a provider that cannot be stored, or not shown, as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftkit.archive.manifest import Manifest
from ftkit.archive.read import open_archive
from ftkit.archive.verify import verify
from ftkit.errors import ProviderError
from support.archives import RESULTS, add_job, assert_hashes, save_archive
from support.examples import chat_lines
from support.fake_provider import FakeProvider
from support.fixture_types import Run

HALF = "\ud83d"
"""Half of an emoji: a lone surrogate, which JSON can hold and UTF-8 cannot."""

HUGE = 10**399
"""A number of 400 digits, which is no float."""


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def notes(manifest: Manifest) -> set[tuple[str, str, str]]:
    """Return what is missing besides permissions."""
    return {
        (item.what, item.id, item.reason) for item in manifest.missing if item.reason != "forbidden"
    }


def test_an_id_that_cannot_be_requested_is_a_note_and_the_object_is_archived_exactly(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    fake_provider.is_admin = True
    whole, odd, long = (add_job(fake_provider, number) for number in range(3))
    odd["id"], long["id"] = f"ftjob-{HALF}", "ftjob-" + "x" * 5000
    fake_provider.jobs = {job["id"]: job for job in (long, odd, whole)}
    saved = save_archive(provider_url, tmp_path / "a")
    keys = [key for key in saved.manifest.jobs if key != whole["id"]]
    assert notes(saved.manifest) == {("job", key, "invalid") for key in keys}
    archive = open_archive(tmp_path / "a")
    assert {archive.job(key).job.id for key in keys} == {odd["id"], long["id"]}
    for job in (odd, long):
        (archived,) = (archive.job(key) for key in keys if archive.job(key).job.id == job["id"])
        assert archived.job.raw == job
        assert archived.training
        assert [item.reason for item in archived.missing] == ["invalid"]
        assert "cannot be requested" in (archived.folder / "README.md").read_text("utf-8")
    assert len(archive.job(whole["id"]).events) == 4
    assert_hashes(tmp_path / "a")


def test_ids_of_files_and_checkpoints_that_cannot_be_requested_are_notes(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    fake_provider.is_admin = True
    whole, odd = add_job(fake_provider), add_job(fake_provider, 1)
    id = odd["training_file"]
    odd["training_file"] = odd["result_files"][0] = fake_provider.files[id]["id"] = f"file-{HALF}"
    fake_provider.checkpoints[odd["id"]][0]["id"] = f"ftckpt-{HALF}"
    for _ in range(2):
        saved = save_archive(provider_url, tmp_path / "a")
        assert {(what, reason) for what, _, reason in notes(saved.manifest)} == {
            ("file", "invalid"),
            ("result file", "invalid"),
            ("permissions", "invalid"),
        }
        archive = open_archive(tmp_path / "a")
        assert archive.job(odd["id"]).job.raw == odd
        assert archive.job(whole["id"]).results
        assert_hashes(tmp_path / "a")
    odd["training_file"] = fake_provider.files[id]["id"] = id
    odd["result_files"] = whole["result_files"]
    save_archive(provider_url, tmp_path / "a")
    archived = open_archive(tmp_path / "a").job(odd["id"])
    assert archived.training
    assert archived.results
    assert [item.what for item in archived.missing] == ["permissions"]


@pytest.mark.parametrize("value", [HALF, f"a{HALF}b" * 100, HUGE, -HUGE, 1e308, nested(90)])
@pytest.mark.parametrize(
    "field",
    ["model", "fine_tuned_model", "created_at", "trained_tokens", "status", "organization_id"]
    + ["seed", "metadata", "hyperparameters", "error", "method", "result_files"],
)
def test_an_odd_value_is_stored_exactly(
    field: str, value: Any, fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    add_job(fake_provider)
    job = add_job(fake_provider, 1)
    objects = field in ("metadata", "hyperparameters", "method", "error")
    job[field] = {"n_epochs": value, "message": value, "type": value} if objects else value
    save_archive(provider_url, tmp_path / "a")
    assert open_archive(tmp_path / "a").job(job["id"]).job.raw == job
    assert verify(tmp_path / "a").ok


@pytest.mark.parametrize("value", [HALF, HUGE, -HUGE, 1.7e308, -1.7e308, nested(90)])
def test_odd_values_in_lists_are_stored_exactly(
    value: Any, fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    job = add_job(fake_provider, result_files=[])
    first, second, third = fake_provider.checkpoints[job["id"]]
    first["step_number"] = value
    second["metrics"] = {"train_loss": value, "valid_loss": value, HALF: value}
    third["metrics"] = {"train_loss": 1.7e308, "valid_loss": -1.7e308}
    fake_provider.events[job["id"]][0] |= {"created_at": value, "message": value, "id": value}
    fake_provider.files[job["training_file"]] |= {"filename": value, "created_at": value}
    fake_provider.models[job["fine_tuned_model"]] |= {"created": value, "shutdown_date": value}
    save_archive(provider_url, tmp_path / "a")
    archive = open_archive(tmp_path / "a")
    archived = archive.job(job["id"])
    assert {json.dumps(event.raw) for event in archived.events} == {
        json.dumps(event) for event in fake_provider.events[job["id"]]
    }
    assert [
        one.raw["metrics"] for one in archived.checkpoints if one.raw["id"] == second["id"]
    ] == [second["metrics"]]
    assert archive.models[job["fine_tuned_model"]].raw in fake_provider.models.values()
    assert archive.files[job["training_file"]].raw == fake_provider.files[job["training_file"]]
    assert verify(tmp_path / "a").ok


def test_what_is_nested_too_deeply_is_null_and_a_note_until_it_is_not(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    fake_provider.is_admin = True
    whole, job = add_job(fake_provider), add_job(fake_provider, 1)
    job["metadata"] = {"deep": nested(300), "team": "x"}
    event, checkpoint = fake_provider.events[job["id"]][0], fake_provider.checkpoints[job["id"]][0]
    event["data"] = checkpoint["metrics"] = {"a": nested(300)}
    model = fake_provider.models[job["fine_tuned_model"]]
    file = fake_provider.files[job["training_file"]]
    model["x"] = file["x"] = nested(300)
    for _ in range(2):
        saved = save_archive(provider_url, tmp_path / "a")
        assert notes(saved.manifest) == {
            ("job", job["id"], "inexact"),
            ("events", job["id"], "inexact"),
            ("checkpoints", job["id"], "inexact"),
            ("models", "", "inexact"),
            ("records", "", "inexact"),
        }
        assert verify(tmp_path / "a").ok
        archived = open_archive(tmp_path / "a").job(job["id"])
        assert archived.job.raw["metadata"]["team"] == "x"
        assert archived.job.raw["seed"] == job["seed"]
        assert open_archive(tmp_path / "a").job(whole["id"]).job.raw == whole
    job["metadata"] = event["data"] = checkpoint["metrics"] = {}
    del model["x"], file["x"]
    saved = save_archive(provider_url, tmp_path / "a")
    assert notes(saved.manifest) == set()


@pytest.mark.parametrize("place", ["jobs", "events", "checkpoints", "files", "models"])
def test_a_response_that_is_nested_too_deeply_to_be_read_is_a_note_or_one_line(
    place: str, fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    fake_provider.is_admin = True
    whole, job = add_job(fake_provider), add_job(fake_provider, 1)
    fake_provider.encode = lambda answer: (
        json.dumps(answer).encode().replace(b'"@deep@"', b"[" * 100_000 + b"]" * 100_000)
    )
    odd: dict[str, dict[str, Any]] = {
        "jobs": job,
        "events": fake_provider.events[job["id"]][0],
        "checkpoints": fake_provider.checkpoints[job["id"]][0],
        "files": fake_provider.files[job["training_file"]],
        "models": fake_provider.models[job["fine_tuned_model"]],
    }
    odd[place]["x"] = "@deep@"
    if place == "jobs":
        with pytest.raises(ProviderError, match=r"cannot list jobs: .* cannot be read"):
            save_archive(provider_url, tmp_path / "a")
    else:
        saved = save_archive(provider_url, tmp_path / "a")
        what = "records" if place == "files" else place
        assert (what, "failed") in {(item.what, item.reason) for item in saved.manifest.missing}
        assert open_archive(tmp_path / "a").job(whole["id"]).training
    del odd[place]["x"]
    assert save_archive(provider_url, tmp_path / "a").manifest.missing == []


def test_a_page_that_ends_with_an_id_that_cannot_be_requested_is_continued(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    fake_provider.is_admin, fake_provider.pages = True, 2
    jobs = [add_job(fake_provider, number) for number in range(5)]
    jobs[3]["id"] = f"ftjob-{HALF}"  # the second of the first page, as the newest comes first
    saved = save_archive(provider_url, tmp_path / "a")
    assert len(saved.manifest.jobs) == 5


@pytest.mark.parametrize(
    "content",
    [
        b"x" * 200_000 + b",step,train_loss\n1,2,3\n",
        b"step," + b"," * 1_000_000 + b"\n" + b"1\n" * 1000,
        b"step,train_loss\n1," + b"9" * 200_000 + b"\n",
        b'step,train_loss\n1,"' + b"\n" * 300_000,
        b"step,train_loss\n" + b"1," + b"9" * 100_000 + b"\n2,1",
        b"step,train_loss\n1.7e308,1\n-1.7e308,2\n1e299,3\n-1e299,1e299\n5,-1e299",
        b"step,train_loss,valid_loss\n1,1.7e308,1.7e308\n2,-1.7e308,-1.7e308\n3,1,1",
        b"\0" * 1000,
        b"step",
    ],
)
def test_an_odd_result_file_is_stored_exactly_and_stops_nothing(
    content: bytes, fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    whole, job = add_job(fake_provider), add_job(fake_provider, 1)
    fake_provider.contents[job["result_files"][0]] = content
    save_archive(provider_url, tmp_path / "a")
    archive = open_archive(tmp_path / "a")
    assert [path.read_bytes() for path in archive.job(job["id"]).results] == [content]
    assert [path.read_bytes() for path in archive.job(whole["id"]).results] == [RESULTS]
    assert verify(tmp_path / "a").ok


@pytest.mark.parametrize(
    "choices", [{}, {"0": {"message": {"content": "x"}}}, ["x"], [[]], "@deep@"]
)
def test_a_completion_without_a_message_is_a_note(
    choices: Any, fake_provider: FakeProvider, ftkit: Run
) -> None:
    def encode(answer: Any) -> bytes:
        if answer.get("object") == "chat.completion":
            answer = {**answer, "choices": choices}
        deep = b"[" * 100_000 + b"]" * 100_000
        return json.dumps(answer).encode().replace(b'"@deep@"', deep)

    add_job(fake_provider)
    fake_provider.encode = encode
    done = ftkit("archive", "save", "a", "--sample", "2", "--yes")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert ("answers", "failed") in {
        (what, why) for what, _, why in notes(open_archive("a").manifest)
    }


def test_answers_of_a_model_with_an_odd_name_are_a_note(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    add_job(fake_provider, fine_tuned_model=f"ft:{HALF}")
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_bytes(b"\n".join(chat_lines(2)))
    done = ftkit("archive", "save", "a", "--prompts", str(prompts), "--yes")
    assert done.returncode == 0, done.stderr
    assert ("answers", "invalid") in {
        (what, why) for what, _, why in notes(open_archive("a").manifest)
    }


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"[]",
        b'["x"]',
        b"[[]]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b"9" * 5000,
        b"",
    ],
)
@pytest.mark.parametrize("name", ["job.json", "checkpoints.json", "events.jsonl", "models.json"])
def test_a_file_of_an_archive_that_holds_something_else_is_one_line(
    name: str, content: bytes, fake_provider: FakeProvider, ftkit: Run
) -> None:
    """The manifest has the hash of that content, as if somebody had made the archive by hand."""
    from ftkit.archive.manifest import encode_manifest, read_manifest
    from ftkit.archive.store import entry_of

    job = add_job(fake_provider)
    assert ftkit("archive", "save", "a").returncode == 0
    (path,) = Path("a").rglob(name)
    path.write_bytes(content)
    manifest = read_manifest(Path("a"))
    manifest.files[path.relative_to("a").as_posix()] = entry_of(content)
    Path("a/manifest.json").write_bytes(encode_manifest(manifest))
    assert ftkit("archive", "verify", "a").returncode == 0
    for arguments in (
        ["migrate", f"a/{job['id']}", "--to", "openai", "--dry-run"],
        ["compare", "a", "a", "--prompts", "a"],
        ["archive", "save", "a"],
    ):
        done = ftkit(*arguments)
        assert done.returncode in (0, 1, 2)
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == (done.returncode == 2)
