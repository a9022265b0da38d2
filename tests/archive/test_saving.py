"""Saving everything that an account holds, once and again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftkit.archive import layout
from ftkit.archive.manifest import read_manifest
from ftkit.archive.read import open_archive
from ftkit.archive.sync import sync
from ftkit.archive.verify import verify
from ftkit.errors import FileError
from support.archives import (
    NOW,
    RESULTS,
    add_job,
    assert_hashes,
    manifest_without_date,
    save_archive,
    stored_content,
)
from support.connections import connect_to
from support.examples import chat_lines
from support.fake_provider import FakeProvider, error_body
from support.fixture_types import Run
from support.models import MINI


def test_everything_is_there_as_the_service_sent_it(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    fake_provider.is_admin = True
    jobs = [add_job(fake_provider, number) for number in range(3)]
    validation = fake_provider.add_file("valid.jsonl", b"\n".join(chat_lines(10)))
    jobs[0]["validation_file"] = validation["id"]
    jobs[1]["training_file"] = jobs[0]["training_file"]
    fake_provider.permissions["ftckpt-0-3"] = [
        {"id": "cp-1", "created_at": 1, "project_id": "proj-1"}
    ]
    other = fake_provider.add_file("unused.jsonl", b"unused", "fine-tune")
    copy = fake_provider.add_file("copy.jsonl", b"unused", "fine-tune")
    fake_provider.add_file("assistant.pdf", b"no", "assistants")
    saved = save_archive(provider_url, tmp_path / "a")
    assert saved.manifest.missing == []
    assert (saved.new_jobs, saved.fetched_jobs) == (3, 3)
    archive = open_archive(tmp_path / "a")
    assert [archived.id for archived in archive.jobs()] == [job["id"] for job in jobs[::-1]]
    for number, job in enumerate(jobs):
        archived = archive.job(job["id"])
        assert archived.job.raw == job
        assert json.loads((archived.folder / "job.json").read_text("utf-8")) == job
        assert [event.raw for event in archived.events] == fake_provider.events[job["id"]][::-1]
        assert [checkpoint.raw for checkpoint in archived.checkpoints] == fake_provider.checkpoints[
            job["id"]
        ][::-1]
        assert [path.read_bytes() for path in archived.results] == [RESULTS]
        assert archived.training
        assert archived.training.read_bytes() == stored_content(fake_provider, job["training_file"])
        assert archived.metrics().rows[0]["train_loss"] == 3
        assert archived.hyperparameters == {
            "n_epochs": 3,
            "batch_size": 1,
            "learning_rate_multiplier": 1.8,
        }
        assert set(archived.permissions) == {f"ftckpt-{number}-{step}" for step in (1, 2, 3)}
    assert (
        archive.job(jobs[0]["id"]).permissions["ftckpt-0-3"]
        == fake_provider.permissions["ftckpt-0-3"]
    )
    assert archive.job(jobs[0]["id"]).validation == archive.file(validation["id"])
    unused = archive.file(other["id"])
    assert unused
    assert unused.read_bytes() == b"unused"
    assert archive.file(copy["id"]) == unused
    assert len(list((tmp_path / "a" / "files").iterdir())) == 5
    assert {id: model.raw for id, model in archive.models.items()} == fake_provider.models
    assert archive.files[validation["id"]].raw == validation
    assert {method for method, _, _ in fake_provider.requests} == {"GET"}
    assert_hashes(tmp_path / "a")


def test_what_could_not_be_had_is_said_with_the_reason(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    gone, forbidden, lost, expired = (add_job(fake_provider, number) for number in range(4))
    del fake_provider.files[gone["training_file"]], fake_provider.contents[gone["training_file"]]
    fake_provider.refuse[f"GET /files/{forbidden['training_file']}/content"] = (
        403,
        error_body("Not allowed to download files of purpose: fine-tune"),
    )
    fake_provider.refuse[f"GET /fine_tuning/jobs/{lost['id']}/events"] = (500, error_body("oops"))
    fake_provider.refuse[f"GET /files/{expired['result_files'][0]}/content"] = (
        410,
        error_body("gone"),
    )
    saved = save_archive(provider_url, tmp_path / "a")
    reasons = {
        (one.what, one.id): one.reason
        for one in saved.manifest.missing
        if one.what != "permissions"
    }
    assert reasons == {
        ("file", gone["training_file"]): "deleted",
        ("file", forbidden["training_file"]): "forbidden",
        ("events", lost["id"]): "failed",
        ("result file", expired["result_files"][0]): "expired",
    }
    reason = next(
        one.message
        for one in saved.manifest.missing
        if one.reason == "forbidden" and one.what == "file"
    )
    assert "Not allowed to download" in reason
    assert not verify(tmp_path / "a").ok
    fake_provider.refuse.clear()
    fake_provider.requests.clear()
    saved = save_archive(provider_url, tmp_path / "a")
    assert {(one.what, one.reason) for one in saved.manifest.missing} == {
        ("permissions", "forbidden"),
        ("file", "deleted"),
        ("result file", "expired"),
    }
    asked = [path for _, path, _ in fake_provider.requests]
    assert not any(
        gone["training_file"] in path or expired["result_files"][0] in path for path in asked
    )
    assert sum("permissions" in path for path in asked) <= 5
    assert_hashes(tmp_path / "a")


def test_what_a_provider_lacks_is_noted_and_not_tried(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    add_job(fake_provider)
    saved = sync(connect_to(provider_url, "llmariner"), tmp_path / "a", now=NOW)
    assert {(one.what, one.reason) for one in saved.manifest.missing} == {
        ("events", "not offered"),
        ("checkpoints", "not offered"),
    }
    assert not any("/events" in path for _, path, _ in fake_provider.requests)


def test_permissions_that_a_provider_does_not_have_are_noted_once_a_job(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    job = add_job(fake_provider)
    missing = sync(connect_to(provider_url, "local"), tmp_path / "a", now=NOW).manifest.missing
    assert [(one.what, one.id, one.reason) for one in missing] == [
        ("permissions", job["id"], "not offered")
    ]


def test_a_key_that_may_see_permissions_later_gets_them(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    for number in range(5):
        add_job(fake_provider, number)
    assert len(save_archive(provider_url, tmp_path / "a").manifest.missing) == 15
    fake_provider.is_admin = True
    assert save_archive(provider_url, tmp_path / "a").manifest.missing == []
    fake_provider.is_admin = False
    assert save_archive(provider_url, tmp_path / "a").manifest.missing == []
    assert open_archive(tmp_path / "a").job(fake_provider.created[0]).permissions


def test_a_second_run_fetches_only_what_is_new(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    fake_provider.is_admin = True
    for number in range(5):
        add_job(fake_provider, number)
    going = add_job(fake_provider, 5, status="running", fine_tuned_model=None, result_files=[])
    save_archive(provider_url, tmp_path / "a")
    before, page = (
        manifest_without_date(tmp_path / "a"),
        (tmp_path / "a" / "index.html").stat().st_mtime_ns,
    )
    fake_provider.requests.clear()
    assert save_archive(provider_url, tmp_path / "a").new_jobs == 0
    asked = [path.partition("?")[0] for _, path, _ in fake_provider.requests]
    assert {
        path for path in asked if fake_provider.created[0] in path or "content" in path
    } == set()
    assert manifest_without_date(tmp_path / "a") == before
    assert (tmp_path / "a" / "index.html").stat().st_mtime_ns == page
    going |= {"status": "succeeded", "fine_tuned_model": "ft:new"}
    fake_provider.add_event(going["id"], "done")
    new = add_job(fake_provider, 6)
    fake_provider.requests.clear()
    saved = save_archive(provider_url, tmp_path / "a")
    assert (saved.new_jobs, saved.fetched_jobs, saved.fetched_files) == (1, 2, 1)
    archive = open_archive(tmp_path / "a")
    assert archive.job(going["id"]).job.status == "succeeded"
    assert archive.job(going["id"]).events[-1].message == "done"
    assert archive.job(new["id"]).training
    assert_hashes(tmp_path / "a")


def test_a_worse_answer_replaces_nothing(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    fake_provider.is_admin = True
    first, second = add_job(fake_provider, 0), add_job(fake_provider, 1)
    save_archive(provider_url, tmp_path / "a")
    original, events = dict(first), list(fake_provider.events[first["id"]])
    first |= {"hyperparameters": None, "result_files": []}
    fake_provider.events[first["id"]] = events[:1]
    fake_provider.checkpoints[first["id"]] = []
    fake_provider.models.clear()
    del fake_provider.jobs[second["id"]]
    fake_provider.files.clear()
    fake_provider.contents.clear()
    saved = save_archive(provider_url, tmp_path / "a")
    archive = open_archive(tmp_path / "a")
    archived = archive.job(first["id"])
    assert archived.job.raw == original
    assert [event.id for event in archived.events] == [event["id"] for event in events[::-1]]
    assert len(archived.checkpoints) == 3
    assert archived.training
    assert len(archive.models) == 2
    assert archive.job(second["id"]).results
    assert saved.manifest.missing == []
    assert_hashes(tmp_path / "a")


def test_what_was_damaged_is_fetched_again(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    fake_provider.is_admin = True
    job = add_job(fake_provider, 1)
    save_archive(provider_url, tmp_path / "a")
    before = manifest_without_date(tmp_path / "a")
    archived = open_archive(tmp_path / "a").job(job["id"])
    assert archived.training
    harmed = [
        archived.folder / "events.jsonl",
        archived.folder / "README.md",
        archived.training,
        archived.results[0],
        tmp_path / "a" / "models.json",
    ]
    for path in harmed[:-1]:
        data = path.read_bytes()
        path.write_bytes(data[:-1] + b"X")
    harmed[-1].unlink()
    verification = verify(tmp_path / "a")
    assert (len(verification.changed), verification.gone, verification.ok) == (
        4,
        ("models.json",),
        False,
    )
    saved = save_archive(provider_url, tmp_path / "a")
    assert len(saved.replaced) == 5
    assert saved.damaged == ()
    assert manifest_without_date(tmp_path / "a") == before
    assert_hashes(tmp_path / "a")


def test_what_was_damaged_and_is_nowhere_else_stays_named_until_it_is_brought_back(
    fake_provider: FakeProvider, ftkit: Run, tmp_path: Path
) -> None:
    fake_provider.is_admin = True
    job = add_job(fake_provider)
    ftkit("archive", "save", "a")
    path = open_archive("a").job(job["id"]).training
    assert path
    whole = path.read_bytes()
    path.write_bytes(b"harmed")
    del fake_provider.files[job["training_file"]], fake_provider.contents[job["training_file"]]
    for _ in range(2):
        done = ftkit("archive", "save", "a")
        assert done.returncode == 1
        assert f"could not be fetched again: {path.relative_to('a').as_posix()}" in done.stdout
    assert ftkit("archive", "verify", "a").returncode == 1
    path.write_bytes(whole)
    assert ftkit("archive", "save", "a").returncode == 0
    assert ftkit("archive", "verify", "a").returncode == 0


@pytest.mark.parametrize("damage", [None, b"{garbage", b"[]"])
def test_a_damaged_job_that_the_service_has_no_more_does_not_hold_up_the_others(
    damage: bytes | None, fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    job = add_job(fake_provider)
    save_archive(provider_url, tmp_path / "a")
    del fake_provider.jobs[job["id"]]
    path = tmp_path / "a" / layout.job_folder(job["id"]) / "job.json"
    before = path.read_bytes()
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    new = add_job(fake_provider, 1)
    saved = save_archive(provider_url, tmp_path / "a")
    assert [Path(name).name for name in saved.damaged] == ["job.json"]
    assert MINI in (path.parent / "README.md").read_text("utf-8")
    assert new["id"] in read_manifest(tmp_path / "a").jobs
    with pytest.raises(FileError):
        open_archive(tmp_path / "a").job(job["id"]).job  # noqa: B018
    path.write_bytes(before)
    assert not save_archive(provider_url, tmp_path / "a").damaged
    assert verify(tmp_path / "a").ok


def test_of_two_incomplete_files_the_longer_stays_and_is_called_incomplete(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    job = add_job(fake_provider)
    id, whole = job["training_file"], fake_provider.contents[job["training_file"]]
    for size in (600, 100, None):
        if size is None:
            del fake_provider.files[id], fake_provider.contents[id]
        else:
            fake_provider.contents[id] = whole[:size]
        save_archive(provider_url, tmp_path / "a")
        archive = open_archive(tmp_path / "a")
        path = archive.file(id)
        assert path
        assert path.read_bytes() == whole[:600]
        assert "sent 600" in archive.why_unusable(id)
        assert "600 bytes, incomplete)" in (archive.job(job["id"]).folder / "README.md").read_text(
            "utf-8"
        )
    assert [(one.what, one.reason) for one in archive.manifest.missing if one.id == id] == [
        ("file", "deleted")
    ]


def test_no_password_of_an_address_is_written_down(
    fake_provider: FakeProvider, provider_url: str, tmp_path: Path
) -> None:
    service = connect_to(provider_url.replace("http://", "http://somebody:secret-word@"))
    assert service.account == f"openai {provider_url}"
