"""Mistakes in the commands for jobs: one line, exit code 2."""

from __future__ import annotations

from typing import Any

import pytest

from ftkit.client.resources import STATUSES
from ftkit.server.objects import FINAL, UNFINISHED
from support.fake_provider import FakeProvider, error_body
from support.fixture_types import Run
from support.models import MINI

PROBLEMS = {
    "no key": (
        ["jobs", "list"],
        {"OPENAI_API_KEY": "", "FTKIT_BASE_URL": ""},
        "no key for openai: set OPENAI_API_KEY, or run `ftkit login openai`",
    ),
    "no key for another's service": (
        ["jobs", "list", "--base-url", "https://models.example/v1"],
        {"OPENAI_API_KEY": ""},
        "no key for https://models.example/v1: set OPENAI_API_KEY to its key, or to none if it needs none",
    ),
    "a wrong key": (["jobs", "list"], {"OPENAI_API_KEY": "sk-other"}, "rejected the API key"),
    "an unknown job": (["jobs", "show", "ftjob-x"], {}, "not found at"),
    "an unknown file": (["files", "show", "file-x"], {}, "not found at"),
    "another protocol": (["jobs", "list", "--provider", "mistral"], {}, "not supported"),
    "a base model": (["models", "delete", "gpt-4o"], {}, "is not a fine-tuned model"),
    "compressed": (
        ["submit", "x.jsonl.gz", "--model", MINI],
        {},
        "unpack x.jsonl.gz first, e.g. with gunzip",
    ),
    "compressed, to validate": (
        ["submit", "DATA", "--validation-file", "v.jsonl.gz", "--model", MINI],
        {},
        "unpack v.jsonl.gz first",
    ),
    "compressed, alone": (["files", "upload", "x.jsonl.gz"], {}, "unpack x.jsonl.gz first"),
    "a stream": (
        ["submit", "-", "--model", MINI],
        {},
        "- is standard input, but an upload must be a file",
    ),
    "a stream, alone": (
        ["files", "upload", "-"],
        {},
        "- is standard input, but an upload must be a file",
    ),
    "no such file": (["submit", "x.jsonl", "--model", MINI], {}, "cannot open x.jsonl"),
    "what is no pair": (
        ["submit", "DATA", "--model", MINI, "--metadata", "a", "--yes"],
        {},
        "is not KEY=VALUE",
    ),
    "dearer than allowed": (
        ["submit", "DATA", "--model", MINI, "--max-cost", "0.001", "--yes"],
        {},
        "nothing was sent",
    ),
    "a state folder that is a file": (
        ["submit", "DATA", "--model", MINI, "--yes"],
        {"FTKIT_STATE_DIR": "/dev/null"},
        "for the journal",
    ),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_problem_is_one_line_and_2(
    problem: str, ftkit: Run, clean_file: str, fake_provider: FakeProvider
) -> None:
    arguments, environment, message = PROBLEMS[problem]
    done = ftkit(
        *(clean_file if argument == "DATA" else argument for argument in arguments), env=environment
    )
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "sk-" not in done.stderr
    assert not fake_provider.created


def test_no_connection_is_one_line_and_2(ftkit: Run) -> None:
    done = ftkit("jobs", "show", "ftjob-1", "--base-url", "http://127.0.0.1:9/v1")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no connection" in done.stderr


@pytest.mark.parametrize("command", [["jobs", "list"], ["archive", "save", "a"]])
def test_a_status_that_no_job_can_have_is_refused(
    command: list[str], fake_provider: FakeProvider, ftkit: Run
) -> None:
    done = ftkit(*command, "--status", "succeded")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert (
        "unknown status 'succeded'; did you mean 'succeeded'? It is one of validating_files, queued, pending"
        in done.stderr
    )
    assert not fake_provider.requests


def test_every_status_of_the_local_service_can_be_asked_for() -> None:
    assert {*FINAL, *UNFINISHED} <= set(STATUSES)


ODD = [
    {"created_at": "2026-01-01T00:00:00Z"},
    {"error": "boom"},
    {"metadata": None},
    {"estimated_finish": "soon"},
    {"result_files": [1]},
    {"result_files": "file-1"},
    {"trained_tokens": "12"},
    {"status": None, "created_at": None},
]


@pytest.mark.parametrize("odd", ODD)
def test_fields_of_another_type_are_no_reason_to_fail(
    odd: dict[str, Any], fake_provider: FakeProvider, ftkit: Run
) -> None:
    job = fake_provider.add_job({"model": "m"})
    job.update(odd)
    for command in (["list"], ["show", job["id"]]):
        done = ftkit("jobs", *command)
        assert (done.returncode, done.stderr) == (0, "")


def test_an_error_that_comes_as_a_success_is_no_job_no_file_and_no_list(
    fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    fake_provider.refuse["POST /files"] = fake_provider.refuse[
        "GET /models"
    ] = fake_provider.refuse["GET /fine_tuning/jobs/ftjob-1"] = (200, error_body("busy"))
    for command in (
        ["submit", clean_file, "--model", MINI, "--yes"],
        ["models", "list"],
        ["jobs", "show", "ftjob-1"],
    ):
        done = ftkit(*command)
        assert done.returncode == 2
        assert "busy" in done.stderr.splitlines()[-1]
    assert not fake_provider.created


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-cost", "nan"], "must be a number of US dollars, not nan"),
        (["--lr-multiplier", "nan"], "a number greater than 0"),
        (["--method", "dpo"], "the file has chat examples, which need "),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    options: list[str], message: str, fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    done = ftkit("submit", clean_file, "--model", MINI, "--yes", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert not [method for method, *_ in fake_provider.requests if method == "POST"]
