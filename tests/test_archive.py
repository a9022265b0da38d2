"""An archive holds all that the service has, says what it has not, and survives whatever happens on the way."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import openai
import pytest
from browser import HOSTILE, Tags, in_browser, needs_browser
from conftest import ROOT, Run, Write, example, lines, uncovered
from hypothesis import given
from hypothesis import strategies as st
from service import Service as Fake
from service import encoded, error, seeded
from terminal import on_a_terminal

from ftkit.archive import layout, pages
from ftkit.archive.fetch import to_json
from ftkit.archive.manifest import Manifest, encode, read_manifest, read_progress
from ftkit.archive.read import find_job, open_archive
from ftkit.archive.store import Store
from ftkit.archive.sync import Saved, Wanted, save
from ftkit.archive.verify import verify
from ftkit.catalog import load_catalog
from ftkit.client.client import Client
from ftkit.client.resources import Job
from ftkit.client.retry import Patience
from ftkit.errors import FileError, ProviderError, UnknownOutcomeError, UnreachableError
from ftkit.jobs.metrics import decoded

MINI = "gpt-4o-mini-2024-07-18"
NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.UTC)
BEGUN = 1_760_000_000
"""When the first job was created: 2025-10-09."""

RESULTS = b"step,train_loss,valid_loss\n" + b"".join(
    b"%d,%.3f,%.3f\n" % (step, 3 / step, 3.3 / step) for step in range(1, 31)
)


def reach(url: str, provider: str = "openai") -> Client:
    facts = load_catalog().providers[provider]
    assert facts.api
    return Client(
        provider,
        facts,
        facts.api,
        openai.OpenAI(api_key="sk-test", base_url=url, max_retries=0, timeout=5),
    )


def archived(url: str, folder: Path, wanted: Wanted | None = None, **more: Any) -> Saved:
    return save(reach(url), folder, wanted, now=NOW, sleep=lambda seconds: None, **more)


def add_job(fake: Fake, number: int = 0, **more: Any) -> dict[str, Any]:
    """A job that succeeded, with all that belongs to one."""
    training = fake.add_file("train.jsonl", b"\n".join(lines(12)) + b"\n%d" % number)
    job = fake.add_job({"model": MINI, "training_file": training["id"]})
    results = fake.add_file(
        "results.csv", encoded(RESULTS) if number % 2 else RESULTS, "fine-tune-results"
    )
    job |= {
        "status": "succeeded",
        "fine_tuned_model": f"ft:{MINI}:me::{number}",
        "trained_tokens": 1_000_000,
        "created_at": BEGUN + 86400 * number,
        "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8},
        "result_files": [results["id"]],
        "finished_at": BEGUN + 86400 * number + 600,
        "metadata": {"team": "é|<b>"},
        **more,
    }
    fake.events[job["id"]][0]["created_at"] = BEGUN
    for step in range(1, 4):
        fake.add_event(job["id"], f"Step {step}", created_at=BEGUN + step, data={"step": step})
    fake.checkpoints[job["id"]] = [
        {
            "id": f"ftckpt-{number}-{step}",
            "object": "fine_tuning.job.checkpoint",
            "created_at": BEGUN + step,
            "step_number": step,
            "fine_tuned_model_checkpoint": f"ft:x:ckpt-step-{step}",
            "metrics": {"step": step, "train_loss": 1 / step},
        }
        for step in (3, 2, 1)
    ]
    if job["fine_tuned_model"]:
        fake.models[job["fine_tuned_model"]] = {
            "id": job["fine_tuned_model"],
            "object": "model",
            "created": 1,
            "owned_by": "me",
            "shutdown_date": "2027-01-14",
        }
    return job


def content(fake: Fake, id: str) -> bytes:
    return fake.contents[id]


def but_date(folder: Path) -> Manifest:
    found = read_manifest(folder)
    found.date = ""
    return found


def test_everything_is_there_as_the_service_sent_it(fake: Fake, url: str, tmp_path: Path) -> None:
    fake.is_admin = True
    jobs = [add_job(fake, number) for number in range(3)]
    validation = fake.add_file("valid.jsonl", b"\n".join(lines(10)))
    jobs[0]["validation_file"] = validation["id"]
    jobs[1]["training_file"] = jobs[0]["training_file"]
    fake.permissions["ftckpt-0-3"] = [{"id": "cp-1", "created_at": 1, "project_id": "proj-1"}]
    other = fake.add_file("unused.jsonl", b"unused", "fine-tune")
    copy = fake.add_file("copy.jsonl", b"unused", "fine-tune")
    fake.add_file("assistant.pdf", b"no", "assistants")
    saved = archived(url, tmp_path / "a")
    assert saved.manifest.missing == []
    assert (saved.new_jobs, saved.fetched_jobs) == (3, 3)
    archive = open_archive(tmp_path / "a")
    assert [each.id for each in archive.jobs()] == [job["id"] for job in jobs[::-1]]
    for number, job in enumerate(jobs):
        each = archive.job(job["id"])
        assert each.job.raw == job
        assert json.loads((each.folder / "job.json").read_text("utf-8")) == job
        assert [event.raw for event in each.events] == fake.events[job["id"]][::-1]
        assert [checkpoint.raw for checkpoint in each.checkpoints] == fake.checkpoints[job["id"]][
            ::-1
        ]
        assert [path.read_bytes() for path in each.results] == [RESULTS]
        assert each.training
        assert each.training.read_bytes() == content(fake, job["training_file"])
        assert each.metrics().rows[0]["train_loss"] == 3
        assert each.hyperparameters == {
            "n_epochs": 3,
            "batch_size": 1,
            "learning_rate_multiplier": 1.8,
        }
        assert set(each.permissions) == {f"ftckpt-{number}-{step}" for step in (1, 2, 3)}
    assert archive.job(jobs[0]["id"]).permissions["ftckpt-0-3"] == fake.permissions["ftckpt-0-3"]
    assert archive.job(jobs[0]["id"]).validation == archive.file(validation["id"])
    unused = archive.file(other["id"])
    assert unused
    assert unused.read_bytes() == b"unused"
    assert archive.file(copy["id"]) == unused
    assert len(list((tmp_path / "a" / "files").iterdir())) == 5
    assert {id: model.raw for id, model in archive.models.items()} == fake.models
    assert archive.files[validation["id"]].raw == validation
    assert {method for method, _, _ in fake.requests} == {"GET"}
    assert_hashes(tmp_path / "a")


def assert_hashes(folder: Path) -> None:
    """Every file of the folder is in the manifest, with its hash and size."""
    named = json.loads((folder / "manifest.json").read_text("utf-8"))["files"]
    there = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    } - {"manifest.json", ".lock"}
    assert set(named) == there
    for path, entry in named.items():
        data = (folder / path).read_bytes()
        assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    assert verify(folder).ok


def test_the_command_saves_and_verifies(fake: Fake, ftkit: Run, tmp_path: Path) -> None:
    job = add_job(fake, 1)
    done = ftkit("archive", "a")
    assert done.returncode == 0, done.stderr
    assert "jobs     1, 1 of them new" in done.stdout
    assert "3 permissions (forbidden)" in done.stdout
    told = json.loads(ftkit("archive", "--output", "json", "a").stdout)
    assert (told["jobs"], told["new_jobs"], told["fetched_jobs"], told["fetched_files"]) == (
        1,
        0,
        0,
        0,
    )
    assert told["organizations"] == ["org-1"]
    assert {(one["what"], one["reason"]) for one in told["missing"]} == {
        ("permissions", "forbidden")
    }
    checked = ftkit("archive", "verify", "a", env={"OPENAI_API_KEY": ""})
    assert checked.returncode == 0
    assert "intact    10 of 10 files" in checked.stdout
    story = (tmp_path / "a" / "jobs" / job["id"] / "README.md").read_text("utf-8")
    for part in (
        job["id"],
        "by supervised fine-tuning. It succeeded.",
        "| tokens billed | 1,000,000 |",
        "about $3.00, at $3.00 per million tokens",
        "2027-01-14 (says the service)",
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


def test_a_folder_named_verify_can_be_archived_into(fake: Fake, ftkit: Run, tmp_path: Path) -> None:
    assert ftkit("archive", "./verify").returncode == 0
    assert (tmp_path / "verify" / "manifest.json").exists()
    assert ftkit("archive", "verify", "verify").returncode == 0


def test_what_could_not_be_had_is_said_with_the_reason(
    fake: Fake, url: str, tmp_path: Path
) -> None:
    gone, forbidden, lost, expired = (add_job(fake, number) for number in range(4))
    del fake.files[gone["training_file"]], fake.contents[gone["training_file"]]
    fake.refuse[f"GET /files/{forbidden['training_file']}/content"] = (
        403,
        error("Not allowed to download files of purpose: fine-tune"),
    )
    fake.refuse[f"GET /fine_tuning/jobs/{lost['id']}/events"] = (500, error("oops"))
    fake.refuse[f"GET /files/{expired['result_files'][0]}/content"] = (410, error("gone"))
    saved = archived(url, tmp_path / "a")
    found = {
        (one.what, one.id): one.reason
        for one in saved.manifest.missing
        if one.what != "permissions"
    }
    assert found == {
        ("file", gone["training_file"]): "deleted",
        ("file", forbidden["training_file"]): "forbidden",
        ("events", lost["id"]): "failed",
        ("result file", expired["result_files"][0]): "expired",
    }
    said = next(
        one.said
        for one in saved.manifest.missing
        if one.reason == "forbidden" and one.what == "file"
    )
    assert "Not allowed to download" in said
    assert not verify(tmp_path / "a").ok
    fake.refuse.clear()
    fake.requests.clear()
    saved = archived(url, tmp_path / "a")
    assert {(one.what, one.reason) for one in saved.manifest.missing} == {
        ("permissions", "forbidden"),
        ("file", "deleted"),
        ("result file", "expired"),
    }
    asked = [path for _, path, _ in fake.requests]
    assert not any(
        gone["training_file"] in path or expired["result_files"][0] in path for path in asked
    )
    assert sum("permissions" in path for path in asked) <= 5
    assert_hashes(tmp_path / "a")


def test_what_a_provider_lacks_is_noted_and_not_tried(fake: Fake, url: str, tmp_path: Path) -> None:
    add_job(fake)
    saved = save(reach(url, "llmariner"), tmp_path / "a", now=NOW)
    assert {(one.what, one.reason) for one in saved.manifest.missing} == {
        ("events", "not offered"),
        ("checkpoints", "not offered"),
    }
    assert not any("/events" in path for _, path, _ in fake.requests)


def test_permissions_that_a_provider_does_not_have_are_noted_once_a_job(
    fake: Fake, url: str, tmp_path: Path
) -> None:
    job = add_job(fake)
    missing = save(reach(url, "local"), tmp_path / "a", now=NOW).manifest.missing
    assert [(one.what, one.id, one.reason) for one in missing] == [
        ("permissions", job["id"], "not offered")
    ]


def test_a_key_that_may_see_permissions_later_gets_them(
    fake: Fake, url: str, tmp_path: Path
) -> None:
    for number in range(5):
        add_job(fake, number)
    assert len(archived(url, tmp_path / "a").manifest.missing) == 15
    fake.is_admin = True
    assert archived(url, tmp_path / "a").manifest.missing == []
    fake.is_admin = False
    assert archived(url, tmp_path / "a").manifest.missing == []
    assert open_archive(tmp_path / "a").job(fake.created[0]).permissions


def test_a_second_run_fetches_only_what_is_new(fake: Fake, url: str, tmp_path: Path) -> None:
    fake.is_admin = True
    for number in range(5):
        add_job(fake, number)
    going = add_job(fake, 5, status="running", fine_tuned_model=None, result_files=[])
    archived(url, tmp_path / "a")
    before, page = but_date(tmp_path / "a"), (tmp_path / "a" / "index.html").stat().st_mtime_ns
    fake.requests.clear()
    assert archived(url, tmp_path / "a").new_jobs == 0
    asked = [path.partition("?")[0] for _, path, _ in fake.requests]
    assert {path for path in asked if fake.created[0] in path or "content" in path} == set()
    assert but_date(tmp_path / "a") == before
    assert (tmp_path / "a" / "index.html").stat().st_mtime_ns == page
    going |= {"status": "succeeded", "fine_tuned_model": "ft:new"}
    fake.add_event(going["id"], "done")
    new = add_job(fake, 6)
    fake.requests.clear()
    saved = archived(url, tmp_path / "a")
    assert (saved.new_jobs, saved.fetched_jobs, saved.fetched_files) == (1, 2, 1)
    archive = open_archive(tmp_path / "a")
    assert archive.job(going["id"]).job.status == "succeeded"
    assert archive.job(going["id"]).events[-1].message == "done"
    assert archive.job(new["id"]).training
    assert_hashes(tmp_path / "a")


def test_a_worse_answer_replaces_nothing(fake: Fake, url: str, tmp_path: Path) -> None:
    fake.is_admin = True
    first, second = add_job(fake, 0), add_job(fake, 1)
    archived(url, tmp_path / "a")
    known, events = dict(first), list(fake.events[first["id"]])
    first |= {"hyperparameters": None, "result_files": []}
    fake.events[first["id"]] = events[:1]
    fake.checkpoints[first["id"]] = []
    fake.models.clear()
    del fake.jobs[second["id"]]
    fake.files.clear()
    fake.contents.clear()
    saved = archived(url, tmp_path / "a")
    archive = open_archive(tmp_path / "a")
    each = archive.job(first["id"])
    assert each.job.raw == known
    assert [event.id for event in each.events] == [event["id"] for event in events[::-1]]
    assert len(each.checkpoints) == 3
    assert each.training
    assert len(archive.models) == 2
    assert archive.job(second["id"]).results
    assert saved.manifest.missing == []
    assert_hashes(tmp_path / "a")


def test_what_was_damaged_is_fetched_again(fake: Fake, url: str, tmp_path: Path) -> None:
    fake.is_admin = True
    job = add_job(fake, 1)
    archived(url, tmp_path / "a")
    before = but_date(tmp_path / "a")
    each = open_archive(tmp_path / "a").job(job["id"])
    assert each.training
    harmed = [
        each.folder / "events.jsonl",
        each.folder / "README.md",
        each.training,
        each.results[0],
        tmp_path / "a" / "models.json",
    ]
    for path in harmed[:-1]:
        data = path.read_bytes()
        path.write_bytes(data[:-1] + b"X")
    harmed[-1].unlink()
    found = verify(tmp_path / "a")
    assert (len(found.changed), found.gone, found.ok) == (4, ("models.json",), False)
    saved = archived(url, tmp_path / "a")
    assert len(saved.replaced) == 5
    assert saved.damaged == ()
    assert but_date(tmp_path / "a") == before
    assert_hashes(tmp_path / "a")


def test_what_was_damaged_and_is_nowhere_else_stays_named_until_it_is_brought_back(
    fake: Fake, ftkit: Run, tmp_path: Path
) -> None:
    fake.is_admin = True
    job = add_job(fake)
    ftkit("archive", "a")
    path = open_archive("a").job(job["id"]).training
    assert path
    whole = path.read_bytes()
    path.write_bytes(b"harmed")
    del fake.files[job["training_file"]], fake.contents[job["training_file"]]
    for _ in range(2):
        done = ftkit("archive", "a")
        assert done.returncode == 1
        assert f"did not get it again: {path.relative_to('a').as_posix()}" in done.stdout
    assert ftkit("archive", "verify", "a").returncode == 1
    path.write_bytes(whole)
    assert ftkit("archive", "a").returncode == 0
    assert ftkit("archive", "verify", "a").returncode == 0


@pytest.mark.parametrize("seed", range(6))
def test_faults_are_survived(seed: int, fake: Fake, url: str, tmp_path: Path) -> None:
    fake.is_admin = True
    fake.pages = 3
    for number in range(7):
        add_job(fake, number)
    archived(url, tmp_path / "whole")
    fake.faults, fake.retry_after = seeded(seed, 0.3), "0.01"
    saved = archived(url, tmp_path / "a")
    assert saved.manifest.missing == []
    assert but_date(tmp_path / "a") == but_date(tmp_path / "whole")
    assert_hashes(tmp_path / "a")


def test_the_service_says_how_long_to_wait() -> None:
    slept: list[float] = []
    waits = iter([7.0, 500.0, 0.0])

    def ask() -> str:
        for wait in waits:
            raise ProviderError("slow down", 429, wait=wait)
        return "done"

    assert Patience(slept.append)(ask) == "done"
    assert 7 in slept
    assert max(slept) <= 120


def test_a_service_that_stays_away_ends_the_run() -> None:
    calls = []

    def ask() -> None:
        calls.append(1)
        raise UnknownOutcomeError("no connection")

    patience = Patience(lambda seconds: None)
    for _ in range(3):
        with pytest.raises(UnknownOutcomeError):
            patience(ask)
    with pytest.raises(UnreachableError, match="run the same again later"):
        patience(ask)
    assert len(calls) == 28


def test_a_download_that_is_short_is_kept_and_tried_again(
    fake: Fake, url: str, tmp_path: Path
) -> None:
    fake.is_admin = True
    job = add_job(fake)
    whole = content(fake, job["training_file"])
    fake.faults = lambda method, path: (
        "short" if path == f"/v1/files/{job['training_file']}/content" else ""
    )
    saved = archived(url, tmp_path / "a")
    assert [(one.what, one.reason) for one in saved.unfinished] == [("file", "incomplete")]
    kept = open_archive(tmp_path / "a").job(job["id"]).training
    assert kept
    assert whole.startswith(kept.read_bytes())
    fake.faults = lambda method, path: ""
    assert archived(url, tmp_path / "a").manifest.missing == []
    fetched = open_archive(tmp_path / "a").job(job["id"]).training
    assert fetched
    assert fetched.read_bytes() == whole


def test_no_event_of_5000_is_lost(fake: Fake, url: str, tmp_path: Path) -> None:
    job = add_job(fake)
    for number in range(5000):
        fake.add_event(job["id"], f"event {number}")
    archived(url, tmp_path / "a")
    messages = [event.message for event in open_archive(tmp_path / "a").job(job["id"]).events]
    assert messages[-5000:] == [f"event {number}" for number in range(5000)]


NAMES = [
    "../../x",
    "a\0b",
    "x" * 300,
    "ftjob-Ab",
    "ftjob-aB",
    "con",
    "..",
    "/etc/passwd",
    "a b",
    "é",
    "C:\\x",
    "-rf",
    "<script>alert(1)</script>",
]


def test_hostile_names_stay_inside_and_apart(fake: Fake, ftkit: Run, tmp_path: Path) -> None:
    file = fake.add_file("../../../etc/x\0" + "y" * 300, b"data")
    for number, id in enumerate(NAMES):
        job = add_job(fake, number, training_file=file["id"])
        fake.events[id], fake.checkpoints[id] = (
            fake.events.pop(job["id"]),
            fake.checkpoints.pop(job["id"]),
        )
        fake.jobs[id] = {
            **fake.jobs.pop(job["id"]),
            "id": id,
            "model": "<img src=x onerror=alert(1)>",
            "organization_id": "../o",
        }
    before = set(tmp_path.iterdir())
    done = ftkit("archive", "a")
    assert done.returncode == 0, done.stderr
    assert set(tmp_path.iterdir()) - before == {tmp_path / "a"}
    archive = open_archive("a")
    assert {each.id for each in archive.jobs() if len(each.events) == 4} == set(NAMES)
    assert {(one.what, one.reason) for one in archive.manifest.missing} == {
        ("permissions", "forbidden")
    }
    paths = [path.relative_to("a").as_posix() for path in Path("a").rglob("*")]
    assert len({path.lower() for path in paths}) == len(paths)
    assert all(re.fullmatch(r"\.lock|[A-Za-z0-9_./-]{1,130}", path) for path in paths)
    page = Path("a/index.html").read_text("utf-8")
    assert "<img" not in page
    assert "<script>alert" not in page


@given(st.lists(st.text(max_size=70), unique=True, max_size=30))
def test_names_are_safe_and_differ_not_only_in_case(ids: list[str]) -> None:
    names = [layout.name_of(id) for id in ids]
    assert len({name.lower() for name in names}) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,64}", name) for name in names)
    assert all(
        layout.inside(Path("/a"), f"{layout.folder_of(id)}/job.json").is_relative_to("/a/jobs")
        for id in ids
    )


def test_a_name_made_to_look_like_that_of_another_is_another() -> None:
    name = layout.name_of("ftjob-ABC")
    assert layout.name_of("ftjob-abc") == "ftjob-abc"
    assert layout.name_of(name.lower()).lower() != name.lower()


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "a/../../x", "a//b", "C:/x", "a\\b", "", ".", "a/b/c/d", "jobs/..x/y"],
)
def test_a_manifest_that_leads_out_of_the_archive_is_not_followed(
    path: str, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    found = Manifest(account="x", contents={"file-1": path})
    (tmp_path / "a" / "manifest.json").write_bytes(encode(found))
    if path:
        with pytest.raises(FileError, match="do not trust"):
            open_archive(tmp_path / "a").file("file-1")
    with pytest.raises(FileError, match="do not trust"):
        layout.inside(tmp_path, path)


def test_since_and_status_choose_jobs_and_leave_the_others_alone(fake: Fake, ftkit: Run) -> None:
    for number in range(4):
        add_job(fake, number, status="failed" if number == 3 else "succeeded")
    fake.add_file("unused.jsonl", b"unused")
    told = ftkit("archive", "a", "--since", "2025-10-11", "--status", "succeeded")
    assert told.returncode == 0
    assert "  left out  3 of 4 jobs at the service (--since, --status)\n" in told.stdout
    archive = open_archive("a")
    assert [each.job.created_at for each in archive.jobs()] == [BEGUN + 2 * 86400]
    assert len(archive.manifest.contents) == 2
    assert "left out" not in ftkit("archive", "a").stdout
    assert len(open_archive("a").jobs()) == 4
    before = open_archive("a").manifest.files
    assert (
        json.loads(ftkit("archive", "a", "--status", "paused", "--output", "json").stdout)[
            "left_out_jobs"
        ]
        == 4
    )
    assert open_archive("a").manifest.files == before


def test_files_left_out_are_said_to_be_and_can_be_had_later(fake: Fake, ftkit: Run) -> None:
    job = add_job(fake)
    assert ftkit("archive", "a", "--no-files").returncode == 0
    each = open_archive("a").job(job["id"])
    assert each.training is None
    assert each.results
    assert ("file", "left out") in {(one.what, one.reason) for one in each.missing}
    assert not any(job["training_file"] in path for _, path, _ in fake.requests)
    assert ftkit("archive", "a").returncode == 0
    assert open_archive("a").job(job["id"]).training
    assert ftkit("archive", "a", "--no-files").returncode == 0
    assert ("file", "left out") not in {
        (one.what, one.reason) for one in open_archive("a").manifest.missing
    }


def test_a_folder_with_something_else_or_another_account_is_refused(
    fake: Fake, ftkit: Run, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    assert "is no archive and not empty" in ftkit("archive", "other").stderr
    assert os.listdir(tmp_path / "other") == ["thesis.txt"]
    ftkit("archive", "a")
    done = ftkit(
        "archive",
        "a",
        "--provider",
        "nebius",
        env={"NEBIUS_API_KEY": "sk-test", "FTKIT_PROVIDER": "nebius"},
    )
    assert done.returncode == 2
    assert "is the archive of openai" in done.stderr
    assert "has no manifest.json" in ftkit("archive", "verify", "other").stderr
    with Store(tmp_path / "a").alone():
        assert "another ftkit is archiving" in ftkit("archive", "a").stderr
    (tmp_path / "a" / "manifest.json").write_text("{")
    for arguments in (["a"], ["verify", "a"]):
        done = ftkit("archive", *arguments)
        assert done.returncode == 2
        assert "is damaged" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_wrong_key_and_no_connection_are_one_line(fake: Fake, ftkit: Run, tmp_path: Path) -> None:
    done = ftkit("archive", "a", env={"OPENAI_API_KEY": "sk-other"})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "does not take the key" in done.stderr
    assert "sk-" not in done.stderr


def test_a_key_that_is_taken_away_on_the_way_ends_the_run(
    fake: Fake, url: str, tmp_path: Path
) -> None:
    job = add_job(fake)
    fake.refuse[f"GET /fine_tuning/jobs/{job['id']}/events"] = (401, error("revoked"))
    with pytest.raises(ProviderError, match="does not take the key"):
        archived(url, tmp_path / "a")
    assert verify(tmp_path / "a").interrupted
    fake.refuse.clear()
    archived(url, tmp_path / "a")
    assert verify(tmp_path / "a").ok


def test_a_step_that_was_half_written_is_taken_back(fake: Fake, url: str, tmp_path: Path) -> None:
    add_job(fake)
    archived(url, tmp_path / "a")
    before = but_date(tmp_path / "a")
    (tmp_path / "a" / ".progress.jsonl").write_bytes(b'{"owner":"x "}\n{"owner":"job ft')
    assert len(read_progress(tmp_path / "a")) == 1
    assert (tmp_path / "a" / ".progress.jsonl").read_bytes().endswith(b"}\n")
    archived(url, tmp_path / "a")
    assert but_date(tmp_path / "a") == before


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv[1:2] = []
runpy.run_module("ftkit", run_name="__main__")
"""


@pytest.mark.parametrize("room", [0, 300, 700, 1200, 3000, 6000])
def test_a_full_disk_is_one_line_and_the_next_run_goes_on(
    room: int, fake: Fake, url: str, ftkit: Run, tmp_path: Path
) -> None:
    for number in range(4):
        add_job(fake, number)
    archived(url, tmp_path / "whole")
    environment = {**uncovered(), "OPENAI_API_KEY": "sk-test", "FTKIT_BASE_URL": url}
    command = [sys.executable, "-c", LIMITED, str(room), "archive", "a"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("ftkit: cannot write a")
    assert done.stderr.endswith("run the same again, and it goes on from here\n")
    assert done.stderr.count("\n") == 1
    assert ftkit("archive", "a").returncode == 0
    assert but_date(tmp_path / "a") == but_date(tmp_path / "whole")
    assert_hashes(tmp_path / "a")


def test_a_small_disk_that_is_made_larger_is_gone_on_with(
    fake: Fake, url: str, ftkit: Run, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(small)]
    if (
        os.name != "posix"
        or os.geteuid()
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("only root may mount a file system")
    try:
        for number in range(12):
            add_job(fake, number)
        done = ftkit("archive", str(small / "a"))
        assert done.returncode == 2
        assert "no space left on device" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
        fake.requests.clear()
        assert ftkit("archive", str(small / "a")).returncode == 0
        assert_hashes(small / "a")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_answers_are_recorded_once_with_their_usage_and_as_training_data(
    fake: Fake, ftkit: Run, write: Write
) -> None:
    job = add_job(fake)
    add_job(fake, 1, status="failed", fine_tuned_model=None)
    prompts = str(write([*lines(12)], "prompts.jsonl"))
    done = ftkit("archive", "a", "--prompts", prompts, "--yes")
    assert done.returncode == 0, done.stderr
    assert "1 models 12 prompts, about" in done.stderr
    each = open_archive("a").job(job["id"])
    first = each.answers[0]
    assert first.messages == [{"role": "user", "content": "What follows 0?"}]
    assert (first.answer["content"], first.model, first.parameters) == (
        "0? follows What",
        f"ft:{MINI}:me::0",
        {"temperature": 0},
    )
    assert first.usage == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    assert len(each.answers) == 12
    assert ftkit("validate", str(each.folder / "answers-chat.jsonl")).returncode == 0
    assert "[answers.jsonl](answers.jsonl)" in (each.folder / "README.md").read_text("utf-8")
    fake.requests.clear()
    more = str(write([*lines(12), json.dumps(example(99)).encode()], "more.jsonl"))
    assert ftkit("archive", "a", "--prompts", more, "--yes").returncode == 0
    assert sum(method == "POST" for method, _, _ in fake.requests) == 1
    assert len(open_archive("a").job(job["id"]).answers) == 13
    assert ftkit("archive", "a").returncode == 0
    assert_hashes(Path("a"))


def test_prompts_are_drawn_from_the_data_of_each_job_the_same_each_time(
    fake: Fake, ftkit: Run
) -> None:
    job, other = add_job(fake), add_job(fake, 1)
    validation = fake.add_file(
        "valid.jsonl", b"\n".join([*lines(20), b"{bad", b'{"prompt": "x", "completion": "y"}'])
    )
    job["validation_file"] = validation["id"]
    other["training_file"] = fake.add_file("pairs.jsonl", b'{"prompt": "x", "completion": "y"}\n')[
        "id"
    ]
    done = ftkit("archive", "a", "--sample", "5", "--yes")
    assert done.returncode == 0, done.stderr
    assert f"no prompts for the job {other['id']}" in done.stderr
    answers = open_archive("a").job(job["id"]).answers
    assert 3 <= len(answers) <= 5
    fake.requests.clear()
    assert ftkit("archive", "a", "--sample", "5", "--yes").returncode == 0
    assert {method for method, _, _ in fake.requests} == {"GET"}


def test_without_a_yes_nothing_is_asked(fake: Fake, ftkit: Run, url: str, write: Write) -> None:
    add_job(fake)
    prompts = str(write(lines(12)))
    done = ftkit("archive", "a", "--prompts", prompts)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert not fake.requests
    code, shown = on_a_terminal(
        url, "archive", "a", "--prompts", prompts, answers={b"Send 12 requests?": b"n\n"}
    )
    assert code == 0
    assert b"no answers were recorded" in shown
    assert b"cost" in shown or b"$" in shown
    assert {method for method, _, _ in fake.requests} == {"GET"}


def test_a_model_that_takes_no_temperature_is_asked_without(
    fake: Fake, ftkit: Run, write: Write
) -> None:
    job = add_job(fake)
    told = error("Unsupported value: 'temperature' does not support 0 with this model.")
    fake.on_chat = lambda body: told if "temperature" in body else {"content": "yes"}
    prompts = str(write(lines(10)))
    assert ftkit("archive", "a", "--prompts", prompts, "--yes").returncode == 0
    assert [one.parameters for one in open_archive("a").job(job["id"]).answers] == [{}] * 10
    fake.requests.clear()
    assert ftkit("archive", "a", "--prompts", prompts, "--yes").returncode == 0
    assert {method for method, _, _ in fake.requests} == {"GET"}


def test_models_that_answer_no_more_are_named(fake: Fake, ftkit: Run, write: Write) -> None:
    gone, here = add_job(fake), add_job(fake, 1)
    fake.on_chat = lambda body: (
        error("flagged") if body["model"] == gone["fine_tuned_model"] else {"content": "yes"}
    )
    assert ftkit("archive", "a", "--prompts", str(write(lines(10))), "--yes").returncode == 0
    archive = open_archive("a")
    assert archive.job(gone["id"]).answers == []
    assert {(one.what, one.reason) for one in archive.job(gone["id"]).missing} >= {
        ("answers", "refused")
    }
    assert len(archive.job(here["id"]).answers) == 10


def test_answers_that_were_kept_by_a_run_that_was_killed_are_taken_in(
    fake: Fake, ftkit: Run, write: Write, tmp_path: Path
) -> None:
    job = add_job(fake)
    ftkit("archive", "a", "--prompts", str(write(lines(10))), "--yes")
    whole = but_date(tmp_path / "a")
    kept = {
        name: (tmp_path / "a" / "jobs" / job["id"] / name).read_bytes()
        for name in ("answers.jsonl", "answers-chat.jsonl")
    }
    shutil.rmtree("a")
    ftkit("archive", "a")
    for name, data in kept.items():
        (tmp_path / "a" / "jobs" / job["id"] / name).write_bytes(data)
    ftkit("archive", "a")
    assert but_date(tmp_path / "a") == whole


def test_answers_that_were_written_again_by_a_run_that_was_killed_are_no_damage(
    fake: Fake, ftkit: Run, tmp_path: Path
) -> None:
    job = add_job(fake)
    archive, folder = tmp_path / "a", tmp_path / "a" / "jobs" / job["id"]
    ftkit("archive", "a", "--sample", "3", "--yes")
    manifest, three = (
        (archive / layout.MANIFEST).read_bytes(),
        (folder / layout.ANSWERS).read_bytes(),
    )
    ftkit("archive", "a", "--sample", "5", "--yes")
    whole, five = but_date(archive), (folder / layout.ANSWERS).read_bytes()
    (archive / layout.MANIFEST).write_bytes(manifest)
    new = set(five.splitlines(keepends=True)) - set(three.splitlines(keepends=True))
    (folder / f"{layout.ANSWERS}.part").write_bytes(b"".join(new))
    again = ftkit("archive", "a")
    assert again.returncode == 0, again.stdout
    assert but_date(archive) == whole
    assert verify(archive).ok
    assert verify(archive).unknown == ()


def test_a_job_is_found_by_its_place(fake: Fake, url: str, tmp_path: Path) -> None:
    plain, mixed = add_job(fake), add_job(fake, 1)
    fake.jobs["ftjob-ABC"] = {**fake.jobs.pop(mixed["id"]), "id": "ftjob-ABC"}
    archived(url, tmp_path / "a")
    for place in (f"a/{plain['id']}", f"a/jobs/{plain['id']}", f"{tmp_path}/a/{plain['id']}/"):
        found = find_job(place)
        assert found
        assert found.id == plain["id"]
    for place in ("a/ftjob-ABC", f"a/jobs/{layout.name_of('ftjob-ABC')}"):
        found = find_job(place)
        assert found
        assert found.id == "ftjob-ABC"
    assert find_job("ftjob-1") is None
    with pytest.raises(FileError, match="holds no job"):
        find_job("a/ftjob-none")


DIALECTS = [
    ({"hyperparameters": {"n_epochs": 3}}, {"n_epochs": 3}),
    (
        {
            "hyperparameters": {"n_epochs": 3},
            "method": {
                "type": "dpo",
                "dpo": {"hyperparameters": {"n_epochs": "auto", "beta": 0.1}},
            },
        },
        {"n_epochs": 3, "beta": 0.1},
    ),
    ({"method": {"type": "supervised", "hyperparameters": {"batch_size": 2}}}, {"batch_size": 2}),
    ({"hyperparameters": {"n_epochs": "auto"}}, {"n_epochs": "auto"}),
    ({"hyperparameters": None, "method": None}, {}),
]


@pytest.mark.parametrize(("raw", "wanted"), DIALECTS)
def test_hyperparameters_are_found_wherever_they_stand(
    raw: dict[str, Any], wanted: dict[str, Any]
) -> None:
    assert Job.read({"id": "j", **raw}).hyperparameters == wanted


@given(st.binary(max_size=200))
def test_a_plain_result_file_is_not_taken_for_base64(data: bytes) -> None:
    csv = b"step,train_loss\n" + data
    assert decoded(csv) == csv
    assert decoded(encoded(csv)) == csv


def test_a_column_that_could_be_base64_is_left_alone() -> None:
    assert decoded(b"step\n12\n34") == b"step\n12\n34"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
        lambda inner: st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=8,
    )
)
def test_what_the_service_sent_is_written_without_a_loss(value: Any) -> None:
    assert repr(json.loads(to_json(value))) == repr(value)


def in_page(
    monkeypatch: pytest.MonkeyPatch, archive: Path, folder: Path, script: str
) -> list[list[str]]:
    """The rows of the index that are shown after the script has run in it: job, status, training loss."""
    monkeypatch.setattr(pages, "SCRIPT", pages.SCRIPT + script)
    found = open_archive(archive)
    store = Store(archive)
    with store.alone():
        pages.write_pages(found, found.jobs(), store, load_catalog(), lambda done, total: None)
    shown = in_browser((archive / layout.INDEX).read_text("utf-8"), folder)
    rows = re.findall(r"<tr( hidden=\"\")?>(<td.*?)</tr>", shown, re.DOTALL)
    cells = [
        re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for hidden, row in rows if not hidden
    ]
    return [[re.sub(r"<[^>]+>", "", row[index]) for index in (0, 1, 9)] for row in cells]


@needs_browser
@pytest.mark.parametrize(
    ("script", "shown"),
    [
        ("", [2, 1, 0]),
        ("find.value = 'FAILED'; find.dispatchEvent(new Event('input'))", [1]),
        ("find.value = 'ft: succeeded'; find.dispatchEvent(new Event('input'))", [2, 0]),
        ("find.value = 'nothing of the kind'; find.dispatchEvent(new Event('input'))", []),
        ("heads[2].querySelector('button').click()", [0, 1, 2]),
        ("heads[9].querySelector('button').click()", [2, 0, 1]),
        (
            "heads[9].querySelector('button').click(); heads[9].querySelector('button').click()",
            [0, 2, 1],
        ),
    ],
)
def test_the_index_is_searched_and_sorted_in_a_browser(
    script: str,
    shown: list[int],
    fake: Fake,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three jobs; the second failed and has no losses, which come last however they are sorted."""
    ids = [add_job(fake, 0)["id"]]
    ids.append(
        add_job(fake, 1, status="failed", fine_tuned_model="", result_files=[], hyperparameters={})[
            "id"
        ]
    )
    fake.checkpoints[ids[1]] = []
    last = add_job(fake, 2)
    fake.contents[last["result_files"][0]] = RESULTS.replace(b"30,0.100", b"30,0.900")
    ids.append(last["id"])
    archived(url, tmp_path / "archive")
    assert [row[0] for row in in_page(monkeypatch, tmp_path / "archive", tmp_path, script)] == [
        ids[number] for number in shown
    ]


@needs_browser
def test_nothing_that_a_service_says_runs_in_the_index(
    fake: Fake, url: str, tmp_path: Path
) -> None:
    for number, text in enumerate(HOSTILE):
        job = add_job(fake, number)
        fake.jobs[job["id"]] |= {
            "model": text,
            "fine_tuned_model": text,
            "status": text,
            "organization_id": text,
        }
    archived(url, tmp_path / "archive")
    shown = in_browser((tmp_path / "archive" / layout.INDEX).read_text("utf-8"), tmp_path)
    assert "<title>ftkit archive</title>" in shown
    found = [name for name, _ in Tags(shown).tags]
    assert found.count("script") == 1
    assert found.count("tr") == 1 + len(open_archive(tmp_path / "archive").jobs())
    assert not {"img", "h2"} & set(found)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_a_run_that_is_killed_anywhere_is_gone_on_with_to_the_same_manifest(
    block: int, fake: Fake, url: str, tmp_path: Path
) -> None:
    fake.pages = 3
    for number in range(5):
        add_job(fake, number)
    gone = add_job(fake, 5)
    del fake.files[gone["training_file"]], fake.contents[gone["training_file"]]
    add_job(fake, 6, id=fake.created[-1])
    command = [
        sys.executable,
        str(ROOT / "tests" / "killing.py"),
        url,
        str(tmp_path),
        str(block * 50),
        str(block * 50 + 50),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) >= 45


@pytest.mark.parametrize(
    "odd",
    [
        {"created_at": 1_760_000_000_000},
        {"created_at": "2025-10-09T00:00:00Z"},
        {"created_at": -(10**17)},
        {"error": "lost"},
        {"metadata": {"a": 5}},
        {"result_files": "file-1"},
        {"result_files": None},
        {"trained_tokens": "many"},
        {"hyperparameters": [1], "method": "x"},
        {"estimated_finish": {}},
    ],
)
def test_fields_of_other_types_than_documented_stop_nothing(
    odd: dict[str, Any], fake: Fake, url: str, tmp_path: Path
) -> None:
    add_job(fake)
    job = add_job(fake, 1, **odd)
    fake.events[job["id"]][0]["created_at"] = "yesterday"
    fake.checkpoints[job["id"]][0] |= {"metrics": [1], "step_number": "last"}
    fake.models[job["fine_tuned_model"]]["created"] = "long ago"
    fake.files[job["training_file"]]["bytes"] = "1.5 MB"
    archived(url, tmp_path / "a")
    each = open_archive(tmp_path / "a").job(job["id"])
    assert each.job.raw == job
    assert len(each.events) == len(fake.events[job["id"]])
    assert verify(tmp_path / "a").ok


def test_result_files_may_be_named_by_objects(fake: Fake, url: str, tmp_path: Path) -> None:
    job = add_job(fake)
    job["result_files"] = [{"id": id} for id in job["result_files"]]
    archived(url, tmp_path / "a")
    assert len(open_archive(tmp_path / "a").job(job["id"]).results) == 1


@pytest.mark.parametrize(
    "rows", [b"1,0.9\n2,nan\n3,nan", b"1,inf\n2,-inf", b"nan,1\n2,0.5\n3,0.4", b"inf,1"]
)
def test_losses_that_are_no_numbers_stop_nothing(
    rows: bytes, fake: Fake, url: str, tmp_path: Path
) -> None:
    job = add_job(fake)
    fake.contents[job["result_files"][0]] = b"step,train_loss\n" + rows
    archived(url, tmp_path / "a")
    assert verify(tmp_path / "a").ok
    assert "nan," not in (tmp_path / "a" / "index.html").read_text("utf-8")


@pytest.mark.parametrize("damage", [None, b"{garbage", b"[]"])
def test_a_damaged_job_that_the_service_has_no_more_does_not_hold_up_the_others(
    damage: bytes | None, fake: Fake, url: str, tmp_path: Path
) -> None:
    job = add_job(fake)
    archived(url, tmp_path / "a")
    del fake.jobs[job["id"]]
    path = tmp_path / "a" / layout.folder_of(job["id"]) / "job.json"
    before = path.read_bytes()
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    new = add_job(fake, 1)
    saved = archived(url, tmp_path / "a")
    assert [Path(each).name for each in saved.damaged] == ["job.json"]
    assert MINI in (path.parent / "README.md").read_text("utf-8")
    assert new["id"] in read_manifest(tmp_path / "a").jobs
    with pytest.raises(FileError):
        open_archive(tmp_path / "a").job(job["id"]).job  # noqa: B018
    path.write_bytes(before)
    assert not archived(url, tmp_path / "a").damaged
    assert verify(tmp_path / "a").ok


def test_a_file_that_is_nowhere_any_more_gives_no_prompts(
    fake: Fake, ftkit: Run, tmp_path: Path
) -> None:
    job = add_job(fake)
    ftkit("archive", str(tmp_path / "a"))
    path = open_archive(tmp_path / "a").file(job["training_file"])
    assert path
    path.unlink()
    del fake.files[job["training_file"]], fake.contents[job["training_file"]]
    told = ftkit("archive", str(tmp_path / "a"), "--sample", "2", "--yes")
    assert told.returncode == 1
    assert f"no prompts for the job {job['id']}" in told.stderr


def test_of_two_incomplete_files_the_longer_stays_and_is_called_incomplete(
    fake: Fake, url: str, tmp_path: Path
) -> None:
    job = add_job(fake)
    id, whole = job["training_file"], fake.contents[job["training_file"]]
    for size in (600, 100, None):
        if size is None:
            del fake.files[id], fake.contents[id]
        else:
            fake.contents[id] = whole[:size]
        archived(url, tmp_path / "a")
        archive = open_archive(tmp_path / "a")
        path = archive.file(id)
        assert path
        assert path.read_bytes() == whole[:600]
        assert "sent 600" in archive.lack(id)
        assert "a part of it is here" in (archive.job(job["id"]).folder / "README.md").read_text(
            "utf-8"
        )
    assert [(one.what, one.reason) for one in archive.manifest.missing if one.id == id] == [
        ("file", "deleted")
    ]


def test_the_answers_of_an_archive_are_named_by_its_folder_or_a_job(
    fake: Fake, ftkit: Run, tmp_path: Path
) -> None:
    old = tmp_path / "old"
    for number in range(2):
        file = fake.add_file("data.jsonl", b"".join(line + b"\n" for line in lines(12)))
        job = fake.add_job({"model": "m", "training_file": file["id"]})
        job |= {"status": "succeeded", "fine_tuned_model": f"ft:m:{number}"}
        ftkit("archive", str(old))
        if number == 0:
            none = ftkit("compare", str(old), "m", "--prompts", str(old), "--yes")
            assert (none.returncode, "has no recorded answers" in none.stderr) == (2, True)
        assert ftkit("archive", str(old), "--sample", "3", "--yes").returncode == 0
        place = str(old) if number == 0 else str(old / job["id"])
        found = ftkit("compare", place, "m", "--prompts", place, "--yes", "--output", "json")
        assert json.loads(found.stdout)["compared"] == 3, found.stderr
    many = ftkit("compare", str(old), "m", "--prompts", str(old), "--yes")
    assert (many.returncode, "answers of 2 jobs" in many.stderr) == (2, True)


def test_a_manifest_that_names_what_it_does_not_list_is_changed(
    fake: Fake, url: str, tmp_path: Path
) -> None:
    job = add_job(fake)
    archived(url, tmp_path / "a")
    manifest = read_manifest(tmp_path / "a")
    manifest.contents[job["training_file"]] = "../outside.jsonl"
    (tmp_path / "a" / "manifest.json").write_bytes(encode(manifest))
    assert verify(tmp_path / "a").changed == ("manifest.json",)


def test_a_folder_in_the_place_of_a_file_is_a_change(fake: Fake, url: str, tmp_path: Path) -> None:
    job = add_job(fake)
    archived(url, tmp_path / "a")
    path = tmp_path / "a" / layout.folder_of(job["id"]) / "events.jsonl"
    path.unlink()
    path.mkdir()
    assert [Path(each).name for each in verify(tmp_path / "a").changed] == ["events.jsonl"]


def test_no_password_of_an_address_is_written_down(fake: Fake, url: str, tmp_path: Path) -> None:
    service = reach(url.replace("http://", "http://somebody:secret-word@"))
    assert service.account == f"openai {url}"


def test_the_cost_of_answers_of_unknown_length_is_not_that_of_none(
    fake: Fake, ftkit: Run, tmp_path: Path
) -> None:
    add_job(fake)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"messages": [{"role": "user", "content": "Hello"}]}\n', "utf-8")
    told = ftkit("archive", str(tmp_path / "a"), "--prompts", str(prompts), "--yes")
    assert "tokens in, nobody knows how many out" in told.stderr


def test_an_interrupted_run_waits_for_no_service_that_hangs(
    fake: Fake, url: str, tmp_path: Path
) -> None:
    add_job(fake)
    hangs = threading.Event()

    def hang(method: str, path: str) -> str:
        if path.endswith("/events"):
            hangs.set()
            time.sleep(20)
        return ""

    fake.faults = hang
    environment = {**os.environ, "OPENAI_API_KEY": "sk-test", "FTKIT_BASE_URL": url}
    command = [sys.executable, "-m", "ftkit", "archive", str(tmp_path / "a")]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        assert hangs.wait(30)
        started = time.monotonic()
        run.send_signal(signal.SIGINT)
        assert run.wait(30) == 130
        assert time.monotonic() - started < 5
    fake.faults = lambda method, path: ""
    archived(url, tmp_path / "a")
    assert verify(tmp_path / "a").ok
