"""Diagnosis of failed jobs."""

from __future__ import annotations

import json
import time

import pytest

from support.examples import chat_lines
from support.fake_provider import FakeProvider, error_body
from support.fixture_types import Run, Write
from support.models import MINI


def test_the_doctor_finds_the_lines_of_the_local_file(
    fake_provider: FakeProvider, ftkit: Run, write: Write
) -> None:
    bad = write(chat_lines(12, {3: b"oops"}))
    ftkit("submit", str(bad), "--model", MINI, "--yes", "--force")
    (id,) = fake_provider.created
    fake_provider.jobs[id] |= {
        "status": "failed",
        "error": {
            "message": "Line 3 contains invalid json",
            "code": "invalid_training_file",
            "param": "training_file",
        },
    }
    done = ftkit("jobs", "doctor", id)
    assert done.returncode == 1
    assert f"{bad}:3: FT120 json-syntax" in done.stdout
    assert json.loads(ftkit("jobs", "doctor", id, "--output", "json").stdout)["rules"] == [
        "json-syntax"
    ]
    write(chat_lines(12))
    changed = f"{bad} has changed since; run `ftkit validate {bad}` to see if"
    assert changed in ftkit("jobs", "doctor", id).stdout
    fake_provider.jobs[id] |= {
        "status": "validating_files",
        "created_at": int(time.time()) - 7200,
        "error": None,
    }
    assert "validating files for 120 minutes" in ftkit("jobs", "doctor", id).stdout
    fake_provider.jobs[id] |= {"status": "succeeded"}
    assert ftkit("jobs", "doctor", id).returncode == 0


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        (
            "Training file has 3 examples, but must have at least 10 examples",
            "; `ftkit rule examples-too-few` explains it",
        ),
        ("Something nobody has seen", ""),
    ],
)
def test_a_refusal_names_the_rule_behind_it_only_where_there_is_one(
    message: str, hint: str, fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    fake_provider.refuse["POST /fine_tuning/jobs"] = (400, error_body(message))
    done = ftkit("submit", clean_file, "--model", MINI, "--yes")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f"responded with 400: {message}{hint}")


def test_the_doctor_says_of_a_job_that_succeeded_that_there_is_nothing_to_mend(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    job = fake_provider.add_job({"model": "m", "training_file": "f"})
    job["status"] = "succeeded"
    done = ftkit("jobs", "doctor", job["id"])
    assert (done.returncode, done.stdout) == (
        0,
        f"{job['id']}: the job succeeded; there is nothing to fix\n",
    )


def test_the_doctor_finds_nothing_wrong_with_a_job_that_is_new(
    fake_provider: FakeProvider, ftkit: Run
) -> None:
    job = fake_provider.add_job({"model": "m"})
    assert ftkit("jobs", "doctor", job["id"]).returncode == 0
    job["created_at"] = None
    assert ftkit("jobs", "doctor", job["id"]).returncode == 0
    job["created_at"] = 1
    assert ftkit("jobs", "doctor", job["id"]).returncode == 1
