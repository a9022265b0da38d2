"""The commands that talk to a service, in subprocesses, against a real service on loopback."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import openai
import pytest
from conftest import ROOT, Run, Write, lines
from hypothesis import given
from hypothesis import strategies as st
from service import Service as Fake
from service import encoded, error, seeded
from terminal import on_a_terminal

from ftkit.catalog import load_catalog
from ftkit.client.client import Client
from ftkit.client.resources import STATUSES, Event, Job
from ftkit.errors import FtkitError, ProviderError
from ftkit.jobs.metrics import Metrics, judge, read_results
from ftkit.jobs.watch import Seen, watch
from ftkit.report.metrics import draw, render_metrics_text, sparkline
from ftkit.server.jobs import FINAL, WAITING

MINI = "gpt-4o-mini-2024-07-18"
OLD = "gpt-3.5-turbo"
RESULTS = b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n" + b"".join(
    f"{step},{2 - step / 10:.2f},0.5,{loss},0.4\n".encode()
    for step, loss in enumerate(["2.0", "1.5", "1.2", "", "1.4", "1.6"], 1)
)


def test_from_a_file_to_a_model_s_answer(fake: Fake, ftkit: Run, data: str) -> None:
    assert ftkit("validate", data).returncode == 0
    assert ftkit("estimate", data, "--model", MINI).returncode == 0
    steps = iter(["validating_files", "queued", "running", "succeeded"])

    def go_on(job: dict[str, Any]) -> None:
        job["status"] = next(steps)
        fake.add_event(job["id"], f"now {job['status']}")
        job["fine_tuned_model"] = "ft:mini:me::1" if job["status"] == "succeeded" else None

    fake.on_job = go_on
    done = ftkit("submit", data, "--model", MINI, "--yes", "--watch", "--metadata", "team=a=b")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("model ft:mini:me::1\n")
    assert [line for line in done.stdout.splitlines() if "now " in line][-1].endswith(
        "now succeeded"
    )
    (job,) = fake.jobs.values()
    assert job["metadata"]["team"] == "a=b"
    assert ftkit("chat", "ft:mini:me::1", "one two three").stdout == "three two one \n"


def test_submit_asks_and_without_a_terminal_wants_yes(fake: Fake, ftkit: Run, data: str) -> None:
    done = ftkit("submit", data, "--model", MINI)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert "cost" in done.stdout
    assert fake.requests == [("GET", f"/v1/models/{MINI}", {})]


def test_submit_stops_at_errors_unless_forced(fake: Fake, ftkit: Run, write: Write) -> None:
    bad = str(write(lines(12, {3: b"oops"})))
    done = ftkit("submit", bad, "--model", MINI, "--yes")
    assert done.returncode == 1
    assert "json-syntax" in done.stderr
    assert not fake.requests
    assert ftkit("submit", bad, "--model", MINI, "--yes", "--force").returncode == 0
    assert len(fake.created) == 1


def test_a_dry_run_shows_the_requests_and_sends_none(fake: Fake, ftkit: Run, data: str) -> None:
    done = ftkit(
        "submit",
        data,
        "--model",
        MINI,
        "--dry-run",
        "--suffix",
        "mine",
        "--epochs",
        "2",
        env={"OPENAI_API_KEY": ""},
    )
    told = json.loads(done.stdout)
    assert [(each["method"], each["path"]) for each in told] == [
        ("POST", "/files"),
        ("POST", "/fine_tuning/jobs"),
    ]
    assert told[1]["body"]["method"] == {
        "type": "supervised",
        "supervised": {"hyperparameters": {"n_epochs": 2}},
    }
    assert not fake.requests


def test_the_same_command_again_pays_nothing(fake: Fake, ftkit: Run, data: str) -> None:
    first = json.loads(ftkit("submit", data, "--model", MINI, "--yes", "--output", "json").stdout)
    second = json.loads(ftkit("submit", data, "--model", MINI, "--yes", "--output", "json").stdout)
    assert (first["adopted"], second["adopted"]) == (False, True)
    assert first["job"]["id"] == second["job"]["id"]
    assert "another" in ftkit("submit", data, "--model", MINI, "--yes").stdout
    assert len(fake.created) == 1


def test_two_processes_at_once_make_one_job(fake: Fake, ftkit: Run, data: str) -> None:
    fake.faults = lambda method, path: "delay"
    with concurrent.futures.ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: ftkit("submit", data, "--model", MINI, "--yes"), range(2)))
    assert [each.returncode for each in done] == [0, 0], [each.stderr for each in done]
    assert len(fake.created) == len(fake.files) == 1


def test_a_model_that_is_over_is_not_tried_in_silence(fake: Fake, ftkit: Run, data: str) -> None:
    done = ftkit("submit", data, "--model", OLD)
    assert done.returncode == 2
    assert (
        "can no longer be trained at OpenAI, since 2026-10-23; models that can still be trained"
        in done.stderr
    )
    assert ftkit("submit", data, "--model", OLD, "--yes").returncode == 0


def test_a_model_that_is_not_trained_by_the_method_is_not_tried_in_silence(
    fake: Fake, ftkit: Run
) -> None:
    data = str(ROOT / "samples" / "preference.jsonl")
    done = ftkit("submit", data, "--model", MINI)
    assert done.returncode == 2
    assert (
        f"{MINI} is known to be trained at OpenAI by supervised only; preference files need dpo; models that can still be trained: gpt-4.1-2"
        in done.stderr
    )
    assert not fake.created
    assert ftkit("submit", data, "--model", MINI, "--yes").returncode == 0


def add_model(fake: Fake, shutdown_date: str | None) -> None:
    fake.models[MINI] = {
        "id": MINI,
        "object": "model",
        "created": 1,
        "owned_by": "openai",
        "shutdown_date": shutdown_date,
    }


def test_the_service_s_word_on_a_model_goes_before_the_catalog(
    fake: Fake, ftkit: Run, data: str
) -> None:
    add_model(fake, "2026-01-02")
    done = ftkit("submit", data, "--model", MINI)
    assert (
        f"{MINI} can no longer be trained at OpenAI, which shut it down on 2026-01-02; what can still be trained: "
        in done.stderr
    )
    assert f" {MINI}," not in done.stderr
    assert not fake.created
    assert ftkit("submit", data, "--model", MINI, "--yes").returncode == 0


@pytest.mark.parametrize("day", ["9999-01-02", None])
def test_a_model_that_goes_on_is_submitted_without_a_word(
    day: str | None, fake: Fake, ftkit: Run, data: str
) -> None:
    add_model(fake, day)
    assert "trained" not in ftkit("submit", data, "--model", MINI, "--yes").stderr


@pytest.mark.parametrize("fault", ["drop before", "500 before", "truncate", "429"])
def test_a_model_that_cannot_be_looked_up_does_not_stop_the_submission(
    fault: str, fake: Fake, ftkit: Run, data: str
) -> None:
    fake.faults = lambda method, path: fault if "/models/" in path else ""
    done = ftkit("submit", data, "--model", MINI, "--yes")
    assert done.returncode == 0, done.stderr
    assert len([path for _, path, _ in fake.requests if "/models/" in path]) == 1


CLOSED = (403, error("Fine-tuning is winding down", "training_not_available"))


def test_a_service_that_is_closed_to_the_account_is_explained(
    fake: Fake, ftkit: Run, data: str, url: str
) -> None:
    fake.refuse["POST /fine_tuning/jobs"] = CLOSED
    done = ftkit("submit", data, "--model", MINI, "--yes", "--validation-file", data)
    assert done.returncode == 2
    assert done.stderr.count("takes no new jobs from this account") == 1
    (id,) = fake.files
    assert (
        f"delete it with `ftkit files delete {id} --provider openai --base-url {url}`"
        in done.stderr
    )
    assert "nebius" in done.stderr
    again = ftkit("submit", data, "--model", MINI, "--yes")
    assert "files of earlier uploads are still there" in again.stderr


@pytest.mark.parametrize("answer", ["y", "n", ""])
def test_on_a_terminal_the_upload_of_a_closed_account_is_offered_for_deletion(
    answer: str, fake: Fake, url: str, data: str
) -> None:
    fake.refuse["POST /fine_tuning/jobs"] = CLOSED
    answers = {b"Submit": b"y\n", b"uploaded just now": answer.encode() + b"\n"}
    code, shown = on_a_terminal(url, "submit", data, "--model", MINI, answers=answers)
    assert code == 2
    assert b"takes no new jobs from this account" in shown
    assert len(fake.files) == (0 if answer == "y" else 1)
    assert (b"was deleted" if answer == "y" else b"ftkit files delete file-1") in shown


PROBLEMS = {
    "no key": (
        ["jobs", "list"],
        {"OPENAI_API_KEY": "", "FTKIT_BASE_URL": ""},
        "no key for openai: set OPENAI_API_KEY, or write",
    ),
    "no key for another's service": (
        ["jobs", "list", "--base-url", "https://models.example/v1"],
        {"OPENAI_API_KEY": ""},
        "no key for https://models.example/v1: set OPENAI_API_KEY to the key of that service, or to none if it needs none",
    ),
    "a wrong key": (["jobs", "list"], {"OPENAI_API_KEY": "sk-other"}, "does not take the key"),
    "an unknown job": (["jobs", "show", "ftjob-x"], {}, "does not have it"),
    "an unknown file": (["files", "show", "file-x"], {}, "does not have it"),
    "another protocol": (["jobs", "list", "--provider", "mistral"], {}, "not supported"),
    "a base model": (["models", "delete", "gpt-4o"], {}, "is no fine-tuned model"),
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
        "- is standard input, and what is sent must be a file",
    ),
    "a stream, alone": (
        ["files", "upload", "-"],
        {},
        "- is standard input, and what is sent must be a file",
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
def test_a_problem_is_one_line_and_2(problem: str, ftkit: Run, data: str, fake: Fake) -> None:
    arguments, environment, said = PROBLEMS[problem]
    done = ftkit(*(data if each == "DATA" else each for each in arguments), env=environment)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert "sk-" not in done.stderr
    assert not fake.created


def test_no_connection_is_one_line_and_2(ftkit: Run) -> None:
    done = ftkit("jobs", "show", "ftjob-1", "--base-url", "http://127.0.0.1:9/v1")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no connection" in done.stderr


HOUSE = '[providers.openai.api]\nbase_url = "http://models.example/v1"\nkeys = ["NEBIUS_API_KEY"]\n'
OURS = '[providers.openai]\ntitle = "ours"\n'


@pytest.mark.parametrize(
    "command",
    [
        ["jobs", "list"],
        ["jobs", "list", "--provider", "nebius"],
        ["archive", "a"],
        ["chat", "m", "hello"],
        ["models", "list"],
    ],
)
def test_facts_that_a_project_names_do_not_say_where_keys_are_sent(
    command: list[str], fake: Fake, ftkit: Run, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.ftkit]\nfacts = "house.toml"\n')
    (tmp_path / "house.toml").write_text(HOUSE)
    done = ftkit(*command, env={"NEBIUS_API_KEY": "sk-test", "FTKIT_PROVIDER": "openai"})
    assert done.returncode == 2
    assert (
        "names house.toml, which says where the key of openai is sent"
        in done.stderr.splitlines()[-1]
    )
    assert not fake.requests


def test_facts_that_a_project_names_hold_where_they_send_no_key(
    fake: Fake, ftkit: Run, data: str, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.ftkit]\nfacts = "house.toml"\n')
    (tmp_path / "house.toml").write_text(OURS)
    assert ftkit("jobs", "list").returncode == 0
    (tmp_path / "house.toml").write_text(HOUSE)
    assert ftkit("validate", data).returncode == 0
    (tmp_path / "house.toml").write_text(HOUSE.replace("NEBIUS", "OPENAI"))
    assert ftkit("jobs", "list", "--facts", "house.toml").returncode == 0
    assert ftkit("jobs", "list", env={"FTKIT_FACTS": "house.toml"}).returncode == 0


def test_an_address_that_is_set_for_one_provider_gets_no_key_of_another(
    fake: Fake, ftkit: Run
) -> None:
    done = ftkit("jobs", "list", "--provider", "azure", env={"AZURE_OPENAI_API_KEY": "sk-test"})
    assert done.returncode == 2
    assert "FTKIT_BASE_URL is for openai, and not used for azure" in done.stderr
    assert not fake.requests
    meant = {"AZURE_OPENAI_API_KEY": "sk-test", "FTKIT_PROVIDER": "azure"}
    for command in (["jobs", "list"], ["jobs", "list", "--provider", "azure"]):
        assert ftkit(*command, env=meant).returncode == 0


def test_a_service_on_this_machine_needs_no_key(fake: Fake, ftkit: Run) -> None:
    fake.key = "none"
    assert ftkit("jobs", "list", env={"OPENAI_API_KEY": ""}).returncode == 0
    assert "does not take the key" in ftkit("jobs", "list").stderr


def test_a_model_of_the_settings_is_for_training_and_chooses_no_jobs(
    fake: Fake, ftkit: Run, tmp_path: Path
) -> None:
    add_jobs(fake, 2)
    (tmp_path / "pyproject.toml").write_text('[tool.ftkit]\nmodel = "gpt-4.1-2025-04-14"\n')
    told = ftkit(
        "jobs", "list", "--output", "json", env={"FTKIT_MODEL": "gpt-4.1-mini-2025-04-14"}
    ).stdout
    assert len(json.loads(told)) == 2


def add_jobs(fake: Fake, number: int) -> None:
    for index in range(number):
        job = fake.add_job({"model": MINI if index % 2 else OLD, "training_file": "file-0"})
        job["status"] = "failed" if index % 3 == 0 else "succeeded"


def test_jobs_are_listed_through_all_pages(fake: Fake, ftkit: Run) -> None:
    fake.pages = 7
    add_jobs(fake, 60)
    assert len(ftkit("jobs", "list").stdout.splitlines()) == 21
    told = json.loads(ftkit("jobs", "list", "--all", "--output", "json").stdout)
    assert [job["id"] for job in told] == fake.created[::-1]
    told = json.loads(
        ftkit(
            "jobs", "list", "--all", "--status", "failed", "--model", OLD, "--output", "json"
        ).stdout
    )
    assert len(told) == 10
    after = json.loads(
        ftkit("jobs", "list", "--after", fake.created[2], "--all", "--output", "json").stdout
    )
    assert [job["id"] for job in after] == fake.created[:2][::-1]
    assert ftkit("jobs", "list", "--status", "paused", "--output", "json").stdout == "[]\n"


@pytest.mark.parametrize("command", [["jobs", "list"], ["archive", "a"]])
def test_a_status_that_no_job_can_have_is_refused(
    command: list[str], fake: Fake, ftkit: Run
) -> None:
    done = ftkit(*command, "--status", "succeded")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert (
        "unknown status 'succeded'; did you mean 'succeeded'? It is one of validating_files, queued, pending"
        in done.stderr
    )
    assert not fake.requests


def test_every_status_of_the_local_service_can_be_asked_for() -> None:
    assert {*FINAL, *WAITING} <= set(STATUSES)


def test_a_page_that_is_not_wanted_is_not_fetched(fake: Fake, ftkit: Run) -> None:
    add_jobs(fake, 250)
    ftkit("jobs", "list", "--limit", "5")
    assert len(fake.requests) == 1


def test_a_job_is_shown_steered_and_its_events_are_in_order(fake: Fake, ftkit: Run) -> None:
    add_jobs(fake, 1)
    (id,) = fake.created
    fake.add_event(id, "second")
    assert json.loads(ftkit("jobs", "show", id, "--output", "json").stdout) == fake.jobs[id]
    assert f"  job       {id}\n" in ftkit("jobs", "show", id).stdout
    for action, status in (("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")):
        assert ftkit("jobs", action, id).stdout == f"job {id} is {status}\n"
    shown = ftkit("jobs", "events", id).stdout.splitlines()
    assert [line.rpartition("  ")[2] for line in shown] == [
        f"Created fine-tuning job: {id}",
        "second",
    ]


def test_what_a_provider_lacks_is_said_and_not_tried(fake: Fake, ftkit: Run) -> None:
    done = ftkit(
        "jobs",
        "pause",
        "ftjob-1",
        "--provider",
        "nebius",
        env={"NEBIUS_API_KEY": "sk-test", "FTKIT_PROVIDER": "nebius"},
    )
    assert done.returncode == 2
    assert "Nebius Token Factory has no pause" in done.stderr
    assert not fake.requests


def test_checkpoints_and_metrics_are_shown(fake: Fake, ftkit: Run, tmp_path: Path) -> None:
    add_jobs(fake, 1)
    (id,) = fake.created
    assert "has no metrics yet" in ftkit("jobs", "metrics", id).stderr
    fake.checkpoints[id] = [
        {
            "id": "ftckpt-1",
            "object": "fine_tuning.job.checkpoint",
            "created_at": 1,
            "fine_tuning_job_id": id,
            "step_number": 5,
            "fine_tuned_model_checkpoint": "ft:x:ckpt-step-5",
            "metrics": {"step": 5, "train_loss": 0.5, "full_valid_loss": 0.7},
        }
    ]
    assert "ft:x:ckpt-step-5" in ftkit("jobs", "checkpoints", id).stdout
    assert "step 5 (0.7)" in ftkit("jobs", "metrics", id).stdout
    fake.jobs[id]["result_files"] = [fake.add_file("results.csv", encoded(RESULTS))["id"]]
    shown = ftkit("jobs", "metrics", id).stdout
    assert "best by validation loss: step 3 (1.2)" in shown
    assert "from step 5 on" in shown
    assert ftkit("jobs", "metrics", id, "--output", "csv").stdout.startswith("step,train_loss")
    told = json.loads(ftkit("jobs", "metrics", id, "--output", "json").stdout)
    assert told["verdict"] == {"best_step": 3, "best_loss": 1.2, "parts_at": 5}
    for kind, begins in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("html", b"<!doctype html>")):
        assert ftkit("jobs", "metrics", id, "--plot", str(tmp_path / f"a.{kind}")).returncode == 0
        assert (tmp_path / f"a.{kind}").read_bytes().startswith(begins)
    assert ftkit("jobs", "metrics", id, "--plot", "a.gif").returncode == 2


def test_the_doctor_finds_the_lines_of_the_local_file(fake: Fake, ftkit: Run, write: Write) -> None:
    bad = write(lines(12, {3: b"oops"}))
    ftkit("submit", str(bad), "--model", MINI, "--yes", "--force")
    (id,) = fake.created
    fake.jobs[id] |= {
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
    write(lines(12))
    assert "has changed since" in ftkit("jobs", "doctor", id).stdout
    fake.jobs[id] |= {
        "status": "validating_files",
        "created_at": int(time.time()) - 7200,
        "error": None,
    }
    assert "validating files for 120 minutes" in ftkit("jobs", "doctor", id).stdout
    fake.jobs[id] |= {"status": "succeeded"}
    assert ftkit("jobs", "doctor", id).returncode == 0


def test_files_make_the_trip_there_and_back(
    fake: Fake, ftkit: Run, data: str, tmp_path: Path
) -> None:
    id = ftkit("files", "upload", data).stdout.strip()
    assert ftkit("files", "upload", data).stdout.strip() == id
    assert id in ftkit("files", "list", "--purpose", "fine-tune").stdout
    assert json.loads(ftkit("files", "show", id, "--output", "json").stdout)["id"] == id
    assert f"  size     {Path(data).stat().st_size:,} bytes\n" in ftkit("files", "show", id).stdout
    assert ftkit("files", "download", id, str(tmp_path / "back")).returncode == 0
    assert (
        (tmp_path / "back").read_bytes()
        == Path(data).read_bytes()
        == ftkit("files", "download", id).stdout.encode()
    )
    assert "is there already" in ftkit("files", "download", id, str(tmp_path / "back")).stderr
    told = json.loads(ftkit("files", "download", id, "other", "--output", "json").stdout)
    assert told == {"id": id, "path": "other", "bytes": Path(data).stat().st_size}
    assert "needs a PATH" in ftkit("files", "download", id, "--output", "json").stderr
    assert ftkit("files", "delete", id).returncode == 2
    assert ftkit("files", "delete", id, "--yes").stdout == f"deleted {id}\n"
    assert not fake.files


def test_models_are_listed_and_only_tuned_ones_deleted(fake: Fake, ftkit: Run) -> None:
    for id in ("gpt-4o", "ft:gpt-4o:me::1"):
        fake.models[id] = {
            "id": id,
            "object": "model",
            "created": 1,
            "owned_by": "me",
            "shutdown_date": "2027-01-14",
        }
    assert "2027-01-14" in ftkit("models", "list").stdout
    assert "gpt-4o " not in ftkit("models", "list", "--tuned").stdout
    assert (
        json.loads(ftkit("models", "show", "gpt-4o", "--output", "json").stdout)["shutdown_date"]
        == "2027-01-14"
    )
    assert "  shut down on  2027-01-14\n" in ftkit("models", "show", "gpt-4o").stdout
    told = json.loads(
        ftkit("models", "delete", "ft:gpt-4o:me::1", "--yes", "--output", "json").stdout
    )
    assert told == {"id": "ft:gpt-4o:me::1", "deleted": True}
    assert set(fake.models) == {"gpt-4o"}


def test_a_talk_goes_on_until_the_end_of_the_input(fake: Fake, ftkit: Run) -> None:
    done = ftkit("chat", "m", "--system", "Be brief.", "--temperature", "0", input="a b\n\nc d\n")
    assert done.stdout == "b a \nd c \n"
    assert [message["role"] for message in fake.requests[-1][2]["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert fake.requests[-1][2]["temperature"] == 0
    told = [
        json.loads(line)
        for line in ftkit("chat", "m", "--output", "json", input="a b\nc\n").stdout.splitlines()
    ]
    assert told == [
        {"model": "m", "prompt": "a b", "answer": "b a "},
        {"model": "m", "prompt": "c", "answer": "c "},
    ]


def test_a_talk_on_a_terminal_goes_on_after_an_error_and_shows_no_escapes(
    fake: Fake, url: str
) -> None:
    asked: list[str] = []

    def refuse_the_first(method: str, path: str) -> str:
        asked.append(path)
        fake.refuse["POST /chat/completions"] = (400, error("not now"))
        if len(asked) > 1:
            fake.refuse.clear()
        return ""

    fake.faults = refuse_the_first
    typed = {b"> ": b"one\n", b"not now": b"fine a\x1bb\n", b"a\\x1bb": b"\x04"}
    code, shown = on_a_terminal(url, "chat", "m", answers=typed)
    assert (code, len(asked)) == (0, 2)
    assert b"a\\x1bb fine" in shown
    assert b"a\x1bb" not in shown


def test_nobody_who_reads_is_no_failure(fake: Fake, url: str) -> None:
    for number in range(300):
        fake.add_job({"model": f"m{number}"})
    environment = {**os.environ, "OPENAI_API_KEY": "sk-test", "FTKIT_BASE_URL": url}
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "ftkit", "jobs", "list", "--all"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_file_beside_a_download_is_left_alone(fake: Fake, ftkit: Run) -> None:
    id = fake.add_file("data.jsonl", b"whole")["id"]
    Path("d.part").write_text("mine", "utf-8")
    assert ftkit("files", "download", id, "d").returncode == 0
    assert (Path("d").read_bytes(), Path("d.part").read_text("utf-8")) == (b"whole", "mine")


def test_providers_are_listed_with_what_they_lack(ftkit: Run) -> None:
    shown = ftkit("providers").stdout
    assert "lacks    events, checkpoints, pause, large uploads, metadata" in shown
    assert "Mistral: not supported" in shown
    assert set(json.loads(ftkit("providers", "--output", "json").stdout)) == {
        "providers",
        "unsupported",
    }


def reach(url: str) -> Client:
    facts = load_catalog().providers["openai"]
    assert facts.api
    return Client(
        "openai",
        facts,
        facts.api,
        openai.OpenAI(api_key="sk-test", base_url=url, max_retries=0, timeout=5),
    )


@pytest.mark.parametrize("seed", range(20))
def test_watching_loses_no_event_and_repeats_none(seed: int, fake: Fake, url: str) -> None:
    add_jobs(fake, 1)
    (id,) = fake.created
    fake.jobs[id]["status"] = "running"
    fake.pages = 20
    fake.faults = seeded(seed, 0.15)
    said = [f"Created fine-tuning job: {id}"]

    def go_on(job: dict[str, Any]) -> None:
        for _ in range(seed % 4 * 5):
            said.append(f"event {len(said)}")
            fake.add_event(id, said[-1])
        job["status"] = "succeeded" if len(said) > 60 or seed % 4 == 0 else "warming_up"

    fake.on_job = go_on
    seen = [
        event.message
        for look in watch(reach(url), id, sleep=lambda seconds: None)
        for event in look.events
    ]
    assert seen == said


def test_watching_waits_out_trouble_but_not_a_wrong_key(fake: Fake, url: str) -> None:
    add_jobs(fake, 1)
    troubles = iter(["429", "500 before", "drop before", ""])
    fake.faults = lambda method, path: next(troubles, "")
    looks = list(watch(reach(url), fake.created[0], sleep=lambda seconds: None))
    assert [bool(look.trouble) for look in looks] == [True, True, True, False]
    fake.key = "sk-new"
    with pytest.raises(ProviderError, match="does not take the key"):
        list(watch(reach(url), fake.created[0], sleep=lambda seconds: None))


def test_watching_ends_when_the_service_stays_away(fake: Fake, url: str) -> None:
    fake.faults = lambda method, path: "500 before"
    hours = iter(range(0, 36000, 1200))
    with pytest.raises(ProviderError, match="said 500"):
        list(
            watch(
                reach(url), "ftjob-1", sleep=lambda seconds: None, clock=lambda: float(next(hours))
            )
        )


def test_watching_as_json_is_a_document_on_each_line(fake: Fake, ftkit: Run, data: str) -> None:
    fake.on_job = lambda job: job.update(status="succeeded")
    done = ftkit("submit", data, "--model", MINI, "--yes", "--watch", "--output", "json")
    first, event, last = map(json.loads, done.stdout.splitlines())
    assert set(first) == {"job", "adopted", "submission"}
    assert event["event"]["message"].startswith("Created fine-tuning job")
    assert last["job"]["status"] == "succeeded"
    assert ftkit("jobs", "watch", last["job"]["id"], "--output", "json").stdout.count("\n") == 2


def test_a_failed_job_ends_watching_with_1(fake: Fake, ftkit: Run) -> None:
    add_jobs(fake, 1)
    done = ftkit("jobs", "watch", fake.created[0])
    assert done.returncode == 1
    assert "ftkit jobs doctor" in done.stderr


def test_the_live_view_shows_status_losses_and_events(fake: Fake, url: str) -> None:
    add_jobs(fake, 1)
    (id,) = fake.created
    steps = iter(["running", "succeeded"])

    def go_on(job: dict[str, Any]) -> None:
        job["status"] = next(steps)
        job["fine_tuned_model"] = "ft:x"
        for step in (1, 2):
            data = {"step": step, "total_steps": 4, "train_loss": 2.0 / step}
            fake.add_event(
                id, f"Step {step}/4: training loss={2 / step}", type="metrics", data=data
            )

    fake.on_job = go_on
    code, shown = on_a_terminal(url, "jobs", "watch", id)
    assert code == 0
    for part in (
        b"step 2 of 4",
        b"train_loss",
        "█".encode(),
        b"Step 2/4",
        b"succeeded",
        b"model ft:x",
    ):
        assert part in shown


def test_an_interrupt_leaves_the_job_running_and_says_so(fake: Fake, url: str) -> None:
    add_jobs(fake, 1)
    fake.on_job = lambda job: job.update(status="running")
    code, shown = on_a_terminal(url, "jobs", "watch", fake.created[0], interrupt=b"running")
    assert code == 130
    assert b"the job goes on" in shown
    assert fake.jobs[fake.created[0]]["status"] == "running"


@pytest.mark.parametrize("command", [("files", "upload"), ("submit", "--yes", "--model", MINI)])
def test_a_long_upload_shows_its_progress_on_a_terminal_alone(
    command: tuple[str, ...], fake: Fake, url: str, ftkit: Run, write: Write
) -> None:
    path = str(write(lines(12_000)))
    code, shown = on_a_terminal(url, *command, path)
    assert code == 0
    assert b"uploading data.jsonl" in shown
    assert "━".encode() in shown
    quiet = ftkit(*command, str(write(lines(12_001), "other.jsonl")))
    assert quiet.returncode == 0
    assert "━" not in quiet.stderr
    assert len(fake.files) == 2


def test_saying_no_sends_nothing(fake: Fake, url: str, data: str) -> None:
    main, side = pty.openpty()
    environment = {**os.environ, "OPENAI_API_KEY": "sk-test", "FTKIT_BASE_URL": url}
    command = [sys.executable, "-m", "ftkit", "submit", data, "--model", MINI]
    with subprocess.Popen(
        command, stdin=side, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        os.write(main, b"n\n")
        _, errors = process.communicate()
    assert process.returncode == 2
    assert b"nothing was sent" in errors
    assert fake.requests == [("GET", f"/v1/models/{MINI}", {})]


def test_a_result_file_is_read_by_the_names_of_its_columns() -> None:
    found = read_results(RESULTS)
    assert found == read_results(encoded(RESULTS))
    assert found.rows[3]["valid_loss"] is None
    assert judge(found).best_step == 3
    assert judge(read_results(b"\xef\xbb\xbfstep, train_loss\n1,x\n2,0.5\n")).best_step is None
    with pytest.raises(FtkitError, match="no column 'step'"):
        read_results(b"<html>, no\n")


@given(st.binary(max_size=300))
def test_any_result_file_is_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(FtkitError):
        render_metrics_text(found := read_results(content), judge(found))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(1, 60))
def test_a_sparkline_fits_its_width(values: list[float], width: int) -> None:
    assert 1 <= len(sparkline(values, width)) <= min(width, len(values))


def test_the_metrics_are_printed_as_they_were_looked_at() -> None:
    shown = render_metrics_text(read_results(RESULTS), judge(read_results(RESULTS)))
    path = ROOT / "tests" / "golden" / "metrics.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(shown, "utf-8")
    assert shown == path.read_text("utf-8")


def test_a_drawing_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FtkitError, match="cannot write"):
        draw(Metrics(("step",), ()), "x", tmp_path / "no" / "a.png")


def test_what_the_service_leaves_out_is_empty() -> None:
    job = Job.read({"id": "a", "error": {"code": None, "message": None}, "result_files": None})
    assert (job.error, job.result_files, job.status, job.is_over) == ("", (), "unknown", False)


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(0, 40))
def test_events_are_given_once_however_they_are_split(times: list[int], at: int) -> None:
    made = [
        Event.read({"id": f"e{n}", "created_at": sum(times[: n + 1]), "message": str(n)})
        for n in range(len(times))
    ]
    seen = Seen()
    first = seen.new(iter(made[:at][::-1]))
    second = seen.new(iter(made[::-1]))
    assert [event.id for event in (*first, *second)] == [event.id for event in made]


def test_the_model_that_was_made_last_answers_to_last(fake: Fake, ftkit: Run, data: str) -> None:
    assert "no job was submitted from here" in ftkit("chat", "@last", "one two").stderr
    assert ftkit("submit", data, "--model", MINI, "--yes").returncode == 0
    assert "has made no model" in ftkit("chat", "@last", "one two").stderr
    fake.jobs[fake.created[0]]["fine_tuned_model"] = "ft:mini:me::1"
    assert ftkit("chat", "@last", "one two").stdout == "two one \n"


def test_a_model_s_weights_are_not_to_be_had_everywhere(ftkit: Run, tmp_path: Path) -> None:
    told = ftkit("models", "export", "ft:mini:me::1", str(tmp_path / "out"))
    assert told.returncode == 2
    assert "does not give weights away" in told.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "needed", "said"),
    [
        (None, False, "none"),
        ("[keys]\nother = 'x'\n", False, "none"),
        ("[keys]\nother = 'x'\n", True, "no key for mine"),
        ("not toml", True, "cannot read"),
        ("[keys]\nmine = 7\n", True, "no key for mine"),
        ("[keys]\nmine = ' k '\n", True, "k"),
    ],
)
def test_a_key_is_found_in_the_user_s_file_or_its_absence_is_said(
    content: str | None, needed: bool, said: str, tmp_path: Path
) -> None:
    from ftkit.client.credentials import config_file, find_key

    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    if content is not None:
        path = config_file(environment)
        path.parent.mkdir()
        path.write_text(content)
        path.chmod(0o600)
    try:
        assert find_key("mine", ("MINE_API_KEY",), environment, needed) == said
    except FtkitError as problem:
        assert said in str(problem)  # noqa: PT017


def test_a_grader_that_cannot_be_read_is_one_line(ftkit: Run, data: str) -> None:
    told = ftkit("submit", data, "--model", MINI, "--grader", "nowhere.json", "--yes")
    assert told.returncode == 2
    assert "nowhere.json" in told.stderr


def test_a_bound_on_an_unknown_cost_is_not_taken_for_held(ftkit: Run, data: str) -> None:
    told = ftkit("submit", data, "--model", "my-own-model", "--max-cost", "1", "--yes")
    assert told.returncode == 2
    assert "cannot be checked: the cost of my-own-model is unknown" in told.stderr


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
    odd: dict[str, Any], fake: Fake, ftkit: Run
) -> None:
    job = fake.add_job({"model": "m"})
    job.update(odd)
    for command in (["list"], ["show", job["id"]]):
        done = ftkit("jobs", *command)
        assert (done.returncode, done.stderr) == (0, "")


def test_an_error_that_comes_as_a_success_is_no_job_no_file_and_no_list(
    fake: Fake, ftkit: Run, data: str
) -> None:
    fake.refuse["POST /files"] = fake.refuse["GET /models"] = fake.refuse[
        "GET /fine_tuning/jobs/ftjob-1"
    ] = (200, error("busy"))
    for command in (
        ["submit", data, "--model", MINI, "--yes"],
        ["models", "list"],
        ["jobs", "show", "ftjob-1"],
    ):
        done = ftkit(*command)
        assert done.returncode == 2
        assert "busy" in done.stderr.splitlines()[-1]
    assert not fake.created


def test_the_table_of_losses_says_how_many_steps_it_leaves_out(fake: Fake, ftkit: Run) -> None:
    results = b"step,train_loss\n" + b"".join(
        f"{step},{3 / step}\n".encode() for step in range(1, 321)
    )
    file = fake.add_file("results.csv", results)["id"]
    job = fake.add_job({"model": "m", "training_file": "f"})
    job.update(status="succeeded", result_files=[file])
    shown = ftkit("jobs", "metrics", job["id"]).stdout.splitlines()
    assert "  20 of 320 steps; `--output csv` has all" in shown
    assert shown[1:4] == ["     1      3.0000", "    17      0.1765", "    34      0.0882"]
    assert ftkit("jobs", "metrics", job["id"], "--output", "csv").stdout.splitlines()[1] == "1,3.0"
    rows = ftkit("jobs", "metrics", job["id"], "--output", "json").stdout
    assert '"step": 320,' in rows
    assert len(json.loads(rows)["rows"]) == 320


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ("1,2,10", ["1", "2", "10"]),
        ("0.5,2,1e-5", ["0.5000", "2.0000", "0.0000"]),
        ("2e-5,1e-5,0", ["2.000e-05", "1.000e-05", "0.000e+00"]),
        ("nan,,0.25", ["nan", "-", "0.2500"]),
        ("1e300,1,0.5", ["1.000e+300", "1.000e+00", "5.000e-01"]),
        (",,", ["-", "-", "-"]),
    ],
)
def test_the_numbers_of_a_column_have_as_many_decimals(values: str, shown: list[str]) -> None:
    content = "step,odd\n" + "".join(
        f"{step},{value}\n" for step, value in enumerate(values.split(","), 1)
    )
    found = read_results(content.encode())
    lines = render_metrics_text(found, judge(found)).splitlines()[1:4]
    assert [line.split()[1] for line in lines] == shown


def test_a_job_shows_what_was_chosen_for_it(fake: Fake, ftkit: Run) -> None:
    job = fake.add_job({"model": "m", "training_file": "f"})
    chosen = {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.5}
    job |= {
        "method": {"type": "dpo", "dpo": {"hyperparameters": {**chosen, "beta": 0.1}}},
        "metadata": {"team": "x", "run": "2"},
    }
    fake.jobs[job["id"]] = job | {
        "seed": 0,
        "user_provided_suffix": "mine",
        "finished_at": 1_760_000_000,
    }
    rows = dict(
        line.strip().split("  ", 1) for line in ftkit("jobs", "show", job["id"]).stdout.splitlines()
    )
    told = {name: value.strip() for name, value in rows.items()}
    assert (
        told.items()
        >= {
            "method": "dpo",
            "epochs": "3",
            "batch size": "4",
            "lr multiplier": "1.5",
            "beta": "0.1",
            "suffix": "mine",
            "seed": "0",
            "finished": "2025-10-09 08:53:20",
            "metadata": "team=x, run=2",
        }.items()
    )


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
    message: str, hint: str, fake: Fake, ftkit: Run, data: str
) -> None:
    fake.refuse["POST /fine_tuning/jobs"] = (400, error(message))
    done = ftkit("submit", data, "--model", MINI, "--yes")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f"said 400: {message}{hint}")


def test_the_doctor_says_of_a_job_that_succeeded_that_there_is_nothing_to_mend(
    fake: Fake, ftkit: Run
) -> None:
    job = fake.add_job({"model": "m", "training_file": "f"})
    job["status"] = "succeeded"
    done = ftkit("jobs", "doctor", job["id"])
    assert (done.returncode, done.stdout) == (
        0,
        f"{job['id']}: it has succeeded; there is nothing to mend\n",
    )


def test_losses_that_are_no_numbers_are_shown_and_not_judged() -> None:
    found = read_results(b"step,train_loss,valid_loss\n1,2.0,nan\n2,nan,1.5\n3,1.0,inf\nnan,1,1\n")
    assert [row["step"] for row in found.rows] == [1, 2, 3]
    assert judge(found).best_step == 2
    assert "nan" in render_metrics_text(found, judge(found))


def test_the_live_view_bears_any_event_and_plays_no_tricks(fake: Fake, url: str) -> None:
    job = fake.add_job({"model": "m", "status": "canceled"})["id"]
    fake.add_event(
        job,
        "evil \x1b]0;title\x07",
        data={"step": "x", "total_steps": None, "train_loss": float("nan")},
    )
    code, shown = on_a_terminal(url, "jobs", "watch", job)
    assert code == 1
    assert b"\x1b]0;title" not in shown
    assert rb"\x1b]0;title" in shown


def test_the_doctor_finds_nothing_wrong_with_a_job_that_is_new(fake: Fake, ftkit: Run) -> None:
    job = fake.add_job({"model": "m"})
    assert ftkit("jobs", "doctor", job["id"]).returncode == 0
    job["created_at"] = None
    assert ftkit("jobs", "doctor", job["id"]).returncode == 0
    job["created_at"] = 1
    assert ftkit("jobs", "doctor", job["id"]).returncode == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-cost", "nan"], "must be a number of US dollars, not nan"),
        (["--lr-multiplier", "nan"], "a number more than 0"),
        (["--method", "dpo"], "the file has chat examples, which need "),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    options: list[str], said: str, fake: Fake, ftkit: Run, data: str
) -> None:
    done = ftkit("submit", data, "--model", MINI, "--yes", *options)
    assert done.returncode == 2
    assert said in done.stderr
    assert not [method for method, *_ in fake.requests if method == "POST"]


def test_the_cost_is_shown_to_whoever_is_asked(fake: Fake, url: str, data: str) -> None:
    code, shown = on_a_terminal(
        url, "submit", data, "--model", MINI, "--output", "json", answers={b"[y/N]": b"n\n"}
    )
    assert code == 2
    assert b"$0.00" in shown


def test_a_command_without_standard_input_is_told_to_say_yes(url: str, data: str) -> None:
    command = f"exec {sys.executable} -m ftkit submit {data} --model {MINI} <&-"
    given = {**os.environ, "OPENAI_API_KEY": "sk-test", "FTKIT_BASE_URL": url}
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=False, env=given
    )
    assert done.returncode == 2
    assert "--yes goes on without" in done.stderr
