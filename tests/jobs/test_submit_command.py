"""The command `ftkit submit`."""

from __future__ import annotations

import concurrent.futures
import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest

from support.examples import chat_lines
from support.fake_provider import FakeProvider, error_body
from support.fixture_types import Run, Write
from support.models import MINI
from support.terminal import run_in_terminal


def test_from_a_file_to_a_model_s_answer(
    fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    assert ftkit("validate", clean_file).returncode == 0
    assert ftkit("estimate", clean_file, "--model", MINI).returncode == 0
    steps = iter(["validating_files", "queued", "running", "succeeded"])

    def go_on(job: dict[str, Any]) -> None:
        job["status"] = next(steps)
        fake_provider.add_event(job["id"], f"now {job['status']}")
        job["fine_tuned_model"] = "ft:mini:me::1" if job["status"] == "succeeded" else None

    fake_provider.on_job = go_on
    done = ftkit(
        "submit", clean_file, "--model", MINI, "--yes", "--watch", "--metadata", "team=a=b"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("model ft:mini:me::1\n")
    assert [line for line in done.stdout.splitlines() if "now " in line][-1].endswith(
        "now succeeded"
    )
    (job,) = fake_provider.jobs.values()
    assert job["metadata"]["team"] == "a=b"
    assert ftkit("chat", "ft:mini:me::1", "one two three").stdout == "three two one \n"


def test_submit_asks_and_without_a_terminal_wants_yes(
    fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    done = ftkit("submit", clean_file, "--model", MINI)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert "cost" in done.stdout
    assert fake_provider.requests == [("GET", f"/v1/models/{MINI}", {})]


def test_submit_stops_at_errors_unless_forced(
    fake_provider: FakeProvider, ftkit: Run, write: Write
) -> None:
    bad = str(write(chat_lines(12, {3: b"oops"})))
    done = ftkit("submit", bad, "--model", MINI, "--yes")
    assert done.returncode == 1
    assert "json-syntax" in done.stderr
    assert not fake_provider.requests
    assert ftkit("submit", bad, "--model", MINI, "--yes", "--force").returncode == 0
    assert len(fake_provider.created) == 1


def test_a_dry_run_shows_the_requests_and_sends_none(
    fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    done = ftkit(
        "submit",
        clean_file,
        "--model",
        MINI,
        "--dry-run",
        "--suffix",
        "mine",
        "--epochs",
        "2",
        env={"OPENAI_API_KEY": ""},
    )
    requests = json.loads(done.stdout)
    assert [(request["method"], request["path"]) for request in requests] == [
        ("POST", "/files"),
        ("POST", "/fine_tuning/jobs"),
    ]
    assert requests[1]["body"]["method"] == {
        "type": "supervised",
        "supervised": {"hyperparameters": {"n_epochs": 2}},
    }
    assert not fake_provider.requests


def test_the_same_command_again_pays_nothing(
    fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    first = json.loads(
        ftkit("submit", clean_file, "--model", MINI, "--yes", "--output", "json").stdout
    )
    second = json.loads(
        ftkit("submit", clean_file, "--model", MINI, "--yes", "--output", "json").stdout
    )
    assert (first["adopted"], second["adopted"]) == (False, True)
    assert first["job"]["id"] == second["job"]["id"]
    assert "another" in ftkit("submit", clean_file, "--model", MINI, "--yes").stdout
    assert len(fake_provider.created) == 1


def test_two_processes_at_once_make_one_job(
    fake_provider: FakeProvider, ftkit: Run, clean_file: str
) -> None:
    fake_provider.faults = lambda method, path: "delay"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        done = list(
            pool.map(lambda _: ftkit("submit", clean_file, "--model", MINI, "--yes"), range(2))
        )
    assert [process.returncode for process in done] == [0, 0], [process.stderr for process in done]
    assert len(fake_provider.created) == len(fake_provider.files) == 1


CLOSED = (403, error_body("Fine-tuning is winding down", "training_not_available"))


def test_a_service_that_is_closed_to_the_account_is_explained(
    fake_provider: FakeProvider, ftkit: Run, clean_file: str, provider_url: str
) -> None:
    fake_provider.refuse["POST /fine_tuning/jobs"] = CLOSED
    done = ftkit("submit", clean_file, "--model", MINI, "--yes", "--validation-file", clean_file)
    assert done.returncode == 2
    assert done.stderr.count("takes no new jobs from this account") == 1
    (id,) = fake_provider.files
    assert (
        f"delete it with `ftkit files delete {id} --provider openai --base-url {provider_url}`"
        in done.stderr
    )
    assert "nebius" in done.stderr
    again = ftkit("submit", clean_file, "--model", MINI, "--yes")
    assert "files of earlier uploads are still there" in again.stderr


@pytest.mark.parametrize("answer", ["y", "n", ""])
def test_on_a_terminal_the_upload_of_a_closed_account_is_offered_for_deletion(
    answer: str, fake_provider: FakeProvider, provider_url: str, clean_file: str
) -> None:
    fake_provider.refuse["POST /fine_tuning/jobs"] = CLOSED
    answers = {b"Submit": b"y\n", b"uploaded just now": answer.encode() + b"\n"}
    code, shown = run_in_terminal(
        provider_url, "submit", clean_file, "--model", MINI, answers=answers
    )
    assert code == 2
    assert b"takes no new jobs from this account" in shown
    assert len(fake_provider.files) == (0 if answer == "y" else 1)
    assert (b"was deleted" if answer == "y" else b"ftkit files delete file-1") in shown


@pytest.mark.parametrize("command", [("files", "upload"), ("submit", "--yes", "--model", MINI)])
def test_a_long_upload_shows_its_progress_on_a_terminal_alone(
    command: tuple[str, ...],
    fake_provider: FakeProvider,
    provider_url: str,
    ftkit: Run,
    write: Write,
) -> None:
    path = str(write(chat_lines(12_000)))
    code, shown = run_in_terminal(provider_url, *command, path)
    assert code == 0
    assert b"uploading data.jsonl" in shown
    assert "━".encode() in shown
    quiet = ftkit(*command, str(write(chat_lines(12_001), "other.jsonl")))
    assert quiet.returncode == 0
    assert "━" not in quiet.stderr
    assert len(fake_provider.files) == 2


def test_saying_no_sends_nothing(
    fake_provider: FakeProvider, provider_url: str, clean_file: str
) -> None:
    main, side = pty.openpty()
    environment = {**os.environ, "OPENAI_API_KEY": "sk-test", "FTKIT_BASE_URL": provider_url}
    command = [sys.executable, "-m", "ftkit", "submit", clean_file, "--model", MINI]
    with subprocess.Popen(
        command, stdin=side, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        os.write(main, b"n\n")
        _, errors = process.communicate()
    assert process.returncode == 2
    assert b"nothing was sent" in errors
    assert fake_provider.requests == [("GET", f"/v1/models/{MINI}", {})]


def test_a_grader_that_cannot_be_read_is_one_line(ftkit: Run, clean_file: str) -> None:
    result = ftkit("submit", clean_file, "--model", MINI, "--grader", "nowhere.json", "--yes")
    assert result.returncode == 2
    assert "nowhere.json" in result.stderr


def test_a_bound_on_an_unknown_cost_is_not_taken_for_held(ftkit: Run, clean_file: str) -> None:
    result = ftkit("submit", clean_file, "--model", "my-own-model", "--max-cost", "1", "--yes")
    assert result.returncode == 2
    assert "cannot be checked: the cost of my-own-model is unknown" in result.stderr


def test_the_cost_is_shown_to_whoever_is_asked(
    fake_provider: FakeProvider, provider_url: str, clean_file: str
) -> None:
    code, shown = run_in_terminal(
        provider_url,
        "submit",
        clean_file,
        "--model",
        MINI,
        "--output",
        "json",
        answers={b"[y/N]": b"n\n"},
    )
    assert code == 2
    assert b"$0.00" in shown


def test_a_command_without_standard_input_is_told_to_say_yes(
    provider_url: str, clean_file: str
) -> None:
    command = f"exec {sys.executable} -m ftkit submit {clean_file} --model {MINI} <&-"
    environment = {**os.environ, "OPENAI_API_KEY": "sk-test", "FTKIT_BASE_URL": provider_url}
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 2
    assert "stdin is not a terminal; pass --yes" in done.stderr
