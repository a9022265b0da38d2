"""The local service over HTTP, as the official client sees it; what is trained is in test_training.py."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from click.testing import CliRunner
from conftest import Write, lines
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st
from local import Local, texts, wait
from openai.types import FileObject, Model, Upload
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.uploads import UploadPart

from ftkit._local import find_running
from ftkit.cli import cli, run
from ftkit.client.connect import connect
from ftkit.server import files, lifecycle, supervisor
from ftkit.server.app import ServerSettings
from ftkit.server.auth import Authenticator
from ftkit.server.bodies import ChatBody, JobBody, UploadBody, read_body
from ftkit.server.daemon import stop
from ftkit.server.database import Database
from ftkit.server.errors import (
    AuthenticationError,
    ConflictError,
    InvalidRequestError,
    LimitReachedError,
    ServiceError,
)
from ftkit.server.folder import Blob, Folder, Writer
from ftkit.server.models import ModelRegistry
from ftkit.server.multipart import Form, read_form
from ftkit.server.objects import (
    CheckpointObject,
    EventObject,
    JobObject,
    ModelObject,
    UploadObject,
)
from ftkit.server.objects import FileObject as StoredFile
from ftkit.server.responses import ERRORS
from ftkit.server.results import results_csv

GOOD = b"".join(line + b"\n" for line in lines(12))
SMOKE = "ftkit/smoke"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    service = Local(tmp_path_factory.mktemp("service") / "data", {"gpt-3.5-turbo": SMOKE}).start()
    yield service
    service.stop()


@pytest.fixture
def client(local: Local) -> openai.OpenAI:
    return local.client()


def upload(client: openai.OpenAI, content: bytes = GOOD, name: str = "data.jsonl") -> FileObject:
    return client.files.create(file=(name, content), purpose="fine-tune")


def raw(client: openai.OpenAI, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """What the service answers, status and JSON."""
    import httpx

    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with httpx.Client() as http:
        answer = http.request(
            method, f"{client.base_url}{path}", content=None if body is None else data
        )
    return answer.status_code, answer.json()


def test_a_file_makes_the_trip_there_and_back(client: openai.OpenAI) -> None:
    file = upload(client)
    assert (file.bytes, file.filename, file.status, file.purpose) == (
        len(GOOD),
        "data.jsonl",
        "processed",
        "fine-tune",
    )
    assert client.files.content(file.id).read() == GOOD
    assert client.files.retrieve(file.id).id == file.id
    assert file.id in [each.id for each in client.files.list(purpose="fine-tune")]
    assert file.id not in [each.id for each in client.files.list(purpose="batch")]
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError) as error:
        client.files.content(file.id)
    assert error.value.body["message"] == f"No such File object: {file.id}"  # type: ignore[index]


def test_deleting_a_file_leaves_another_with_the_same_content(client: openai.OpenAI) -> None:
    one, two = upload(client), upload(client, name="other.jsonl")
    client.files.delete(one.id)
    assert client.files.content(two.id).read() == GOOD


@pytest.mark.parametrize(
    "name",
    [
        "../../x.jsonl",
        "/etc/passwd.jsonl",
        "a" * 400 + ".jsonl",
        "ünïcode \N{PILE OF POO}.jsonl",
        "CON.jsonl",
    ],
)
def test_a_file_s_name_is_kept_and_never_a_path(
    name: str, client: openai.OpenAI, local: Local
) -> None:
    file = upload(client, name=name)
    assert file.filename.endswith(".jsonl")
    assert client.files.content(file.id).read() == GOOD
    assert not [
        path
        for path in local.folder.rglob("*")
        if path.name.endswith(".jsonl") and path.parent.parent.name != "jobs"
    ]


@pytest.mark.parametrize(
    ("given", "param", "said"),
    [
        ({"file": ("data.txt", GOOD), "purpose": "fine-tune"}, "file", "Must be .jsonl"),
        ({"file": ("data.jsonl", b""), "purpose": "fine-tune"}, "file", "empty"),
        (
            {"file": ("data.jsonl", GOOD), "purpose": "nonsense"},
            "purpose",
            "'nonsense' is not one of",
        ),
    ],
)
def test_a_bad_upload_is_refused_in_the_service_s_words(
    given: Any, param: str, said: str, client: openai.OpenAI
) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.files.create(**given)
    assert error.value.param == param
    assert said in error.value.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--x",
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{}',
    ],
)
def test_a_form_that_is_cut_off_is_refused_and_leaves_nothing(
    body: bytes, client: openai.OpenAI, local: Local
) -> None:
    before = sorted(local.folder.rglob("*"))
    import httpx

    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = httpx.post(f"{client.base_url}files", content=body, headers=kind)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert sorted(local.folder.rglob("*")) == before


def test_an_upload_in_parts_becomes_one_file(client: openai.OpenAI) -> None:
    made = client.uploads.create(
        bytes=len(GOOD), filename="big.jsonl", mime_type="application/jsonl", purpose="fine-tune"
    )
    first = client.uploads.parts.create(made.id, data=GOOD[:500])
    wrong = client.uploads.parts.create(made.id, data=b"never mind")
    second = client.uploads.parts.create(made.id, data=GOOD[500:])
    with pytest.raises(openai.BadRequestError):
        client.uploads.complete(made.id, part_ids=[first.id, wrong.id])
    with pytest.raises(openai.NotFoundError):
        client.uploads.complete(made.id, part_ids=["part_none"])
    done = client.uploads.complete(made.id, part_ids=[first.id, second.id])
    assert done.status == "completed"
    assert done.file
    assert client.files.content(done.file.id).read() == GOOD
    again = client.uploads.complete(made.id, part_ids=[first.id, second.id])
    assert again.file
    assert again.file.id == done.file.id


def test_a_cancelled_upload_takes_no_more_parts(client: openai.OpenAI, local: Local) -> None:
    made = client.uploads.create(
        bytes=10, filename="big.jsonl", mime_type="application/jsonl", purpose="fine-tune"
    )
    client.uploads.parts.create(made.id, data=b"0123456789")
    assert client.uploads.cancel(made.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        client.uploads.parts.create(made.id, data=b"more")
    assert not list((local.folder / "parts").iterdir())


def test_a_part_over_64_mb_is_refused(client: openai.OpenAI) -> None:
    made = client.uploads.create(
        bytes=100 << 20, filename="big.jsonl", mime_type="application/jsonl", purpose="fine-tune"
    )
    with pytest.raises(openai.APIStatusError) as error:
        client.uploads.parts.create(made.id, data=bytes(65 << 20))
    assert error.value.status_code == 413


def test_objects_are_those_of_openai_s_published_types(client: openai.OpenAI) -> None:
    file = upload(client)
    job = client.fine_tuning.jobs.create(model=SMOKE, training_file=file.id, metadata={"team": "a"})
    made = client.uploads.create(
        bytes=1, filename="a.jsonl", mime_type="application/jsonl", purpose="fine-tune"
    )
    part = client.uploads.parts.create(made.id, data=b"x")
    events = client.fine_tuning.jobs.list_events(job.id).data
    for kind, value in (
        (FileObject, file),
        (FineTuningJob, job),
        (Upload, made),
        (UploadPart, part),
        (Model, client.models.retrieve(SMOKE)),
    ):
        kind.model_validate(value.to_dict(), strict=True)
    assert events
    for event in events:
        FineTuningJobEvent.model_validate(event.to_dict(), strict=True)
    client.fine_tuning.jobs.cancel(job.id)


BAD = {
    "role": (
        lines(12, {3: {"messages": [{"role": "human", "content": "x"}]}}),
        "invalid_training_file",
        "line 3",
    ),
    "json": (lines(12, {5: b"oops"}), "invalid_file_format", "line 5"),
    "few": (lines(4), "invalid_n_examples", "no fewer than 10"),
    "extra": (
        lines(12, {2: {"messages": json.loads(lines(1)[0])["messages"], "extra": 1}}),
        "invalid_file_format",
        "line 2",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_job_on_an_invalid_file_fails_with_the_service_s_code_and_names_lines(
    name: str, client: openai.OpenAI
) -> None:
    bad, code, said = BAD[name]
    file = upload(client, b"\n".join(bad), "mine.jsonl")
    job = client.fine_tuning.jobs.create(model=SMOKE, training_file=file.id)
    failed = wait(client, job.id, "failed")
    assert failed.error.code == code
    assert failed.error.param == "training_file"
    assert said in failed.error.message
    assert "mine.jsonl" in failed.error.message
    assert texts(client, job.id)[-1] == f"The job failed: {failed.error.message}"


def test_a_file_for_another_method_fails_the_job(client: openai.OpenAI) -> None:
    job = client.fine_tuning.jobs.create(
        model=SMOKE, training_file=upload(client).id, method={"type": "dpo"}
    )
    assert "job's method is 'dpo', not 'supervised'" in wait(client, job.id, "failed").error.message


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "model", "missing_required_parameter"),
        ({"model": SMOKE}, "training_file", "missing_required_parameter"),
        ({"model": SMOKE, "training_file": "file-none"}, "training_file", "file_not_found"),
        ({"model": "gpt-4o-mini", "training_file": "FILE"}, "model", "model_not_found"),
        ({"model": "ft:gpt-4o:a::b", "training_file": "FILE"}, "model", "model_not_found"),
        ({"model": "../../etc/x", "training_file": "FILE"}, "model", "model_not_found"),
        ({"model": SMOKE, "training_file": "FILE", "suffix": "x" * 65}, "suffix", "invalid_value"),
        ({"model": SMOKE, "training_file": "FILE", "seed": -1}, "seed", "invalid_value"),
        ({"model": SMOKE, "training_file": "FILE", "nonsense": 1}, "nonsense", "unknown_parameter"),
        (
            {"model": SMOKE, "training_file": "FILE", "hyperparameters": {"n_epochs": 51}},
            "hyperparameters.n_epochs",
            "invalid_value",
        ),
        (
            {"model": SMOKE, "training_file": "FILE", "method": {"type": "reinforcement"}},
            "method",
            "unsupported_method",
        ),
        (
            {"model": SMOKE, "training_file": "FILE", "integrations": [{"type": "wandb"}]},
            "integrations",
            "unsupported_parameter",
        ),
        (
            {"model": SMOKE, "training_file": "FILE", "metadata": {str(n): "x" for n in range(17)}},
            "metadata",
            "invalid_value",
        ),
    ],
)
def test_a_job_that_cannot_be_is_refused_with_the_parameter(
    body: dict[str, Any], param: str, code: str, client: openai.OpenAI
) -> None:
    file = upload(client)
    status, answer = raw(
        client,
        "POST",
        "fine_tuning/jobs",
        {**body, **({"training_file": file.id} if body.get("training_file") == "FILE" else {})},
    )
    assert status == 400
    assert (answer["error"]["param"], answer["error"]["code"]) == (param, code)
    assert answer["error"]["type"] == "invalid_request_error"


def test_a_hosted_name_that_stands_for_nothing_says_how_to_map_it(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"--model gpt-4o-mini=Qwen/Qwen3-0\.6B"):
        client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=upload(client).id)


def test_jobs_are_paged_and_found_by_metadata(client: openai.OpenAI) -> None:
    file = upload(client)
    made = [
        client.fine_tuning.jobs.create(model=SMOKE, training_file=file.id, metadata={"n.n": str(n)})
        for n in range(5)
    ]
    for job in made:
        client.fine_tuning.jobs.cancel(job.id)
    found = [job.id for job in client.fine_tuning.jobs.list(limit=2)][:5]
    assert found == [job.id for job in made][::-1]
    assert [job.id for job in client.fine_tuning.jobs.list(metadata={"n.n": "3"})] == [made[3].id]
    status, answer = raw(client, "GET", "fine_tuning/jobs?after=ftjob-none")
    assert (status, answer["error"]["param"]) == (404, "after")
    assert raw(client, "GET", "fine_tuning/jobs?limit=0")[0] == 400


def test_a_job_whose_process_dies_fails_in_the_end_and_never_hangs(
    client: openai.OpenAI, local: Local
) -> None:
    """A base that is a folder with nothing in it, which only the training process can find out."""
    job = client.fine_tuning.jobs.create(
        model="no/such-model-anywhere", training_file=upload(client).id
    )
    failed = wait(client, job.id, "failed")
    assert failed.error.message
    assert failed.finished_at


def test_models_are_listed_and_bases_cannot_be_deleted(client: openai.OpenAI) -> None:
    assert {SMOKE, "gpt-3.5-turbo"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve(SMOKE).id == SMOKE
    for model in (SMOKE, "ft:x:y:z"):
        with pytest.raises(openai.NotFoundError):
            client.models.delete(model)


@pytest.mark.parametrize(
    "path",
    [
        "evals",
        "fine_tuning/checkpoints/c/permissions",
        "files/a/b/c",
        "fine_tuning/jobs/x/nonsense",
    ],
)
def test_what_is_not_there_answers_in_openai_s_shape(path: str, client: openai.OpenAI) -> None:
    status, answer = raw(client, "GET", path)
    assert status in (404, 405)
    assert set(answer["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000, b'{"model": 1}'])
def test_a_body_that_is_no_request_is_refused(body: bytes, client: openai.OpenAI) -> None:
    status, answer = raw(client, "POST", "fine_tuning/jobs", body)
    assert status == 400
    assert answer["error"]["message"]


def test_a_body_without_end_is_refused(client: openai.OpenAI) -> None:
    assert raw(client, "POST", "chat/completions", b'{"model": "' + b"x" * (17 << 20))[0] == 413


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "https://127.0.0.1.evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://["},
    ],
)
def test_a_page_of_another_origin_is_not_answered(
    headers: dict[str, str], client: openai.OpenAI
) -> None:
    import httpx

    answer = httpx.get(f"{client.base_url}models", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")


def test_two_keys_are_two_tenants_who_see_nothing_of_each_other(tmp_path: Path) -> None:
    service = Local(tmp_path / "data", keys=("one", "two")).start()
    try:
        one, two = service.client("one"), service.client("two")
        file = upload(one)
        job = one.fine_tuning.jobs.create(model=SMOKE, training_file=file.id)
        assert not list(two.files.list())
        assert not list(two.fine_tuning.jobs.list())
        for ask in (
            lambda: two.files.content(file.id),
            lambda: two.files.delete(file.id),
            lambda: two.fine_tuning.jobs.retrieve(job.id),
            lambda: two.fine_tuning.jobs.cancel(job.id),
            lambda: two.fine_tuning.jobs.list_events(job.id),
        ):
            with pytest.raises(openai.NotFoundError):
                ask()
        with pytest.raises(openai.BadRequestError):
            two.fine_tuning.jobs.create(model=SMOKE, training_file=file.id)
        for key in ("three", "", "one "):
            if key != "one ":
                with pytest.raises((openai.AuthenticationError, openai.APIConnectionError)):
                    service.client(key or "x").models.list()
    finally:
        service.stop()
    assert "one" not in (tmp_path / "data" / "service.db").read_bytes().decode("latin-1").split(
        "\0"
    )


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    service = Local(tmp_path / "data").start()
    kept: list[str] = []
    gone = threading.Event()

    def work() -> None:
        client = service.client()
        try:
            while not gone.is_set():
                file = upload(client)
                job = client.fine_tuning.jobs.create(model=SMOKE, training_file=file.id)
                kept.append(job.id)
        except openai.OpenAIError:
            pass

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(kept) < 30:
        time.sleep(0.01)
    service.kill()
    gone.set()
    for thread in threads:
        thread.join()
    service.start()
    try:
        client = service.client()
        found = {job.id: job for job in client.fine_tuning.jobs.list(limit=100)}
        assert set(kept) <= found.keys()
        for id in kept:
            assert client.files.content(found[id].training_file).read() == GOOD
            assert texts(client, id)[0] == f"Created fine-tuning job: {id}"
    finally:
        service.stop()


@pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="limits of other processes are Linux's"
)
def test_a_disk_that_is_full_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    service = Local(tmp_path / "data").start()
    try:
        client = service.client()
        kept = upload(client)
        _, most = resource.prlimit(service.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (2 << 20, most))
        with pytest.raises(openai.InternalServerError) as error:
            upload(client, GOOD * 3000)
        assert error.value.body["type"] == "server_error"  # type: ignore[index]
        assert "File too large" in error.value.message
        assert not list((service.folder / "parts").iterdir())
        assert client.files.content(kept.id).read() == GOOD
        resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (most, most))
        assert upload(client, GOOD * 3000).bytes == len(GOOD) * 3000
    finally:
        service.stop()


def test_a_second_service_on_a_folder_is_refused(local: Local) -> None:
    from ftkit.errors import UsageError
    from ftkit.server.run import run as serve

    with pytest.raises(UsageError, match="another service uses"):
        serve(ServerSettings(local.folder), "127.0.0.1", 0, print)


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    from ftkit.errors import UsageError
    from ftkit.server.run import run as serve

    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(UsageError, match="choose another `port`"),
    ):
        serve(ServerSettings(tmp_path), "127.0.0.1", taken.getsockname()[1], print)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "FTKIT_API_KEY"),
        (["--host", "example.com"], "FTKIT_API_KEY"),
        (["--model", "x"], "NAME=BASE"),
        (["--port", "99999"], "--port"),
    ],
)
def test_a_service_that_cannot_be_is_one_line_and_2(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("ftkit.cli.serve.PACKAGES", ())
    assert run(["serve", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_missing_packages_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ftkit.cli.serve.PACKAGES", ("no_such_package",))
    assert run(["serve"]) == 2
    assert "no_such_package is missing" in capsys.readouterr().err


def test_status_and_stop_say_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Local(tmp_path / "data").start()
    monkeypatch.setenv("FTKIT_DATA_DIR", str(service.folder))
    try:
        status = CliRunner().invoke(
            cli, ["serve", "status", "--output", "json"], standalone_mode=False
        )
        assert json.loads(status.output) == {
            "running": True,
            "url": service.url,
            "pid": service.pid,
        }
        stopped = CliRunner().invoke(cli, ["serve", "stop"], standalone_mode=False)
        assert stopped.output == f"stopped {service.url}\n"
        assert (
            CliRunner().invoke(cli, ["serve", "status"], standalone_mode=False).output
            == "not running\n"
        )
    finally:
        service.stop()


@pytest.fixture
def tuned(local: Local, client: openai.OpenAI) -> Iterator[str]:
    """A tuned model that the service has, with the files of its adapter."""
    store, folder = Database(local.folder / "service.db"), Folder(local.folder)
    job = client.fine_tuning.jobs.create(
        model=SMOKE, training_file=upload(client).id, suffix="mine"
    )
    client.fine_tuning.jobs.cancel(job.id)
    thing = store.get(JobObject, job.id)
    assert thing
    name = lifecycle.tuned_name(thing)
    adapter = folder.adapter(job.id, 3)
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    lifecycle.add_model(store, thing, name, 3)
    lifecycle.add_checkpoint(store, thing, 3, {"train_loss": 0.5})
    yield name
    store.close()


def test_a_tuned_model_is_exported_whole_or_not_at_all(
    tuned: str, local: Local, tmp_path: Path
) -> None:
    from ftkit.client.connect import connect
    from ftkit.errors import FileError, NotFoundError, UsageError
    from ftkit.jobs.export import export

    service = connect("local", local.url)
    assert export(service, tuned, tmp_path / "a") == SMOKE
    assert (tmp_path / "a" / "adapter_model.safetensors").read_bytes() == b"weights"
    with pytest.raises(FileError, match="is there already"):
        export(service, tuned, tmp_path / "a")
    with pytest.raises(NotFoundError):
        export(service, "ft:none:a::b", tmp_path / "b")
    with pytest.raises(UsageError, match="does not give weights away"):
        export(
            connect("openai", local.url, environment={"OPENAI_API_KEY": "x"}), tuned, tmp_path / "b"
        )
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "b.part").exists()


def test_deleting_the_last_model_of_an_adapter_deletes_the_adapter(
    tuned: str, local: Local, client: openai.OpenAI
) -> None:
    job = next(job.id for job in client.fine_tuning.jobs.list() if tuned.endswith(job.id[6:14]))
    (checkpoint,) = client.fine_tuning.jobs.checkpoints.list(job)
    adapter = local.folder / "jobs" / job / "adapter-3"
    assert client.models.retrieve(tuned).owned_by == "org-local"
    client.models.delete(tuned)
    assert adapter.exists()
    client.models.delete(checkpoint.fine_tuned_model_checkpoint)
    assert not adapter.exists()


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    from ftkit.errors import FtkitError
    from ftkit.server.daemon import find_or_start

    held = FileLock(tmp_path / "service.lock")
    with held, pytest.raises(FtkitError, match=r"did not start \(.+\); see .+service.log"):
        find_or_start(tmp_path, print)


def test_a_service_that_runs_is_found_and_not_started_again(local: Local) -> None:
    from ftkit.server.daemon import find_or_start

    assert find_or_start(local.folder, print).url == local.url


def test_an_upload_with_a_wrong_checksum_or_size_is_refused(client: openai.OpenAI) -> None:
    made = client.uploads.create(
        bytes=3, filename="a.jsonl", mime_type="application/jsonl", purpose="fine-tune"
    )
    part = client.uploads.parts.create(made.id, data=b"{}\n")
    with pytest.raises(openai.BadRequestError, match="md5"):
        client.uploads.complete(made.id, part_ids=[part.id], md5="0" * 32)
    done = client.uploads.complete(
        made.id, part_ids=[part.id], md5=hashlib.md5(b"{}\n").hexdigest()
    )
    assert done.status == "completed"
    with pytest.raises(openai.APIStatusError) as error:
        client.uploads.create(
            bytes=9_000_000_000,
            filename="a.jsonl",
            mime_type="application/jsonl",
            purpose="fine-tune",
        )
    assert error.value.status_code == 413


# The parts, without a server.


def test_an_upload_whose_time_is_over_takes_no_parts_and_keeps_none(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    store = Database(folder.database)
    made = files.begin_upload(
        store,
        folder,
        "t",
        UploadBody(bytes=3, filename="a.jsonl", mime_type="x", purpose="fine-tune"),
    )
    with Writer(folder.temporary()) as writer:
        writer.write(b"{}")
        files.add_part(store, folder, "t", made.id, writer)
    store.change(UploadObject, made.id, lambda upload: setattr(upload, "expires_at", 1))
    with pytest.raises(InvalidRequestError, match="has expired"):
        files.pending_upload(store, made.id, "t")
    files.expire_uploads(store, folder)
    found = store.get(UploadObject, made.id)
    assert found
    assert found.status == "expired"
    assert not list((tmp_path / "parts").iterdir())


def test_uploads_and_parts_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path)
    store = Database(folder.database)
    monkeypatch.setattr(files, "OPEN_UPLOADS", 1)
    monkeypatch.setattr(files, "PARTS", 0)
    body = UploadBody(bytes=3, filename="a.jsonl", mime_type="x", purpose="fine-tune")
    made = files.begin_upload(store, folder, "t", body)
    with pytest.raises(LimitReachedError, match="pending already"):
        files.begin_upload(store, folder, "t", body)
    with (
        Writer(folder.temporary()) as writer,
        pytest.raises(InvalidRequestError, match="at most 0 parts"),
    ):
        files.add_part(store, folder, "t", made.id, writer)


def test_a_content_that_is_given_again_while_its_file_is_deleted_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    store = Database(folder.database)

    def add() -> Any:
        form = Form(writer := Writer(folder.temporary()), 100)
        form.fields, form.file_name = {"purpose": "fine-tune"}, "a.jsonl"
        writer.write(b"{}")
        return files.create_file(store, folder, "t", form, writer)

    first, deleting = add(), []
    keep = folder.keep

    def slow(writer: Writer) -> Blob:
        stored = keep(writer)
        deleting.append(
            threading.Thread(
                target=lambda: files.delete_file(Database(folder.database), folder, "t", first.id)
            )
        )
        deleting[0].start()
        time.sleep(0.3)
        return stored

    monkeypatch.setattr(folder, "keep", slow)
    second = add()
    deleting[0].join()
    found = store.get(StoredFile, second.id)
    assert found
    assert folder.blob(found.sha256).read_bytes() == b"{}"
    assert store.get(StoredFile, first.id) is None


@pytest.mark.parametrize("status", ["validating_files", "paused"])
def test_a_file_that_a_job_has_not_read_yet_is_kept_for_it_and_no_longer(
    status: str, tmp_path: Path
) -> None:
    folder = Folder(tmp_path)
    store = Database(folder.database)
    stored = folder.keep_bytes(b"{}")
    store.add(
        StoredFile(
            id="file-1",
            tenant="t",
            bytes=2,
            filename="a",
            purpose="fine-tune",
            sha256=stored.sha256,
        )
    )
    job = lifecycle.create_job(
        store, ModelRegistry(store, {}), JobBody(model=SMOKE, training_file="file-1"), "t"
    )
    store.change(JobObject, job.id, lambda found: setattr(found, "status", status))
    files.delete_file(store, folder, "t", "file-1")
    assert folder.blob(stored.sha256).exists()
    store.change(JobObject, job.id, lambda found: setattr(found, "valid", True))
    store.change(JobObject, job.id, lambda found: setattr(found, "status", "queued"))
    files.release_blob(store, folder, stored.sha256)
    assert not folder.blob(stored.sha256).exists()


def test_uploads_whose_time_is_over_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path)
    store = Database(folder.database)
    monkeypatch.setattr(files, "OPEN_UPLOADS", 1)
    body = UploadBody(bytes=3, filename="a.jsonl", mime_type="x", purpose="fine-tune")
    made = files.begin_upload(store, folder, "t", body)
    store.change(UploadObject, made.id, lambda upload: setattr(upload, "expires_at", 1))
    assert files.begin_upload(store, folder, "t", body).status == "pending"


def test_a_form_of_many_fields_or_headers_is_refused() -> None:
    form = Form(None, 100)  # type: ignore[arg-type]
    for _ in range(32):
        form.on_part_begin()
        form.on_header_end()
    with pytest.raises(InvalidRequestError, match="more than 32 fields"):
        form.on_part_begin()
    for _ in range(31):
        form.on_header_end()
    with pytest.raises(InvalidRequestError, match="more than 32 headers"):
        form.on_header_end()


def test_a_checkpoint_that_a_job_trains_on_is_kept(store: Database) -> None:
    job = store.get(JobObject, begun(store))
    assert job
    lifecycle.add_checkpoint(store, job, 1, {})
    file = job.training_file
    user = lifecycle.create_job(
        store,
        ModelRegistry(store, {}),
        JobBody(model=lifecycle.tuned_name(job, 1), training_file=file),
        job.tenant,
    )
    assert [lifecycle.add_checkpoint(store, job, step, {}) for step in (2, 3, 4)] == [[], [], []]
    store.change(JobObject, user.id, lambda found: setattr(found, "status", "succeeded"))
    assert lifecycle.add_checkpoint(store, job, 5, {}) == [1, 2]


def test_jobs_are_taken_up_once_the_disk_has_room_again(
    store: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = begun(store)
    store.change(JobObject, id, lambda job: setattr(job, "status", "pausing"))
    real, full = lifecycle.transition, iter((True,))

    def move(*arguments: Any, **shown: Any) -> bool:
        if next(full, False):
            raise sqlite3.OperationalError("database or disk is full")
        return real(*arguments, **shown)

    monkeypatch.setattr(supervisor, "transition", move)
    watching = supervisor.Supervisor(store, Folder(tmp_path), 1)
    watching.start()
    try:
        for _ in range(100):
            if store.with_status(JobObject, "paused"):
                break
            time.sleep(0.05)
        assert store.with_status(JobObject, "paused")
    finally:
        watching.stop()


def test_another_service_on_the_port_of_one_that_was_killed_is_not_taken_for_it(
    local: Local, tmp_path: Path
) -> None:
    (tmp_path / "server.json").write_text(json.dumps({"pid": os.getpid(), "url": local.url}))
    assert find_running(tmp_path) is None
    assert stop(tmp_path) is None


@pytest.mark.parametrize("query", ["limit=" + "9" * 5000, "metadata[a%00b]=x", "metadata[a%22b]=x"])
def test_a_query_that_makes_no_sense_is_refused(query: str, client: openai.OpenAI) -> None:
    status, told = raw(client, "GET", f"fine_tuning/jobs?{query}")
    assert (status, told["error"]["type"]) == (400, "invalid_request_error")


def test_what_fails_unforeseen_has_openai_s_shape_too(client: openai.OpenAI, local: Local) -> None:
    file = upload(client, b'{"only": "once"}')
    next(
        path for path in local.folder.rglob("blobs/*/*") if path.read_bytes() == b'{"only": "once"}'
    ).unlink()
    assert raw(client, "GET", f"files/{file.id}/content")[0] == 500
    assert raw(client, "GET", f"files/{file.id}/content")[1]["error"]["type"] == "server_error"


@pytest.fixture
def store(tmp_path: Path) -> Database:
    return Database(tmp_path / "service.db")


def begun(store: Database) -> str:
    store.add(
        StoredFile(
            id="file-1",
            tenant="t",
            bytes=2,
            filename="a.jsonl",
            purpose="fine-tune",
            sha256="0",
        )
    )
    return lifecycle.create_job(
        store, ModelRegistry(store, {}), JobBody(model=SMOKE, training_file="file-1"), "t"
    ).id


@pytest.mark.parametrize(
    ("status", "action", "after"),
    [
        ("validating_files", "cancel", "cancelled"),
        ("queued", "cancel", "cancelled"),
        ("running", "cancel", "cancelled"),
        ("pausing", "cancel", "cancelled"),
        ("paused", "cancel", "cancelled"),
        ("succeeded", "cancel", None),
        ("failed", "cancel", None),
        ("cancelled", "cancel", None),
        ("queued", "pause", "paused"),
        ("running", "pause", "pausing"),
        ("paused", "pause", None),
        ("succeeded", "pause", None),
        ("paused", "resume", "queued"),
        ("running", "resume", None),
        ("failed", "resume", None),
    ],
)
def test_what_may_be_done_to_a_job_follows_from_its_state(
    status: str, action: str, after: str | None, store: Database
) -> None:
    id = begun(store)
    store.change(JobObject, id, lambda job: setattr(job, "status", status))
    store.change(JobObject, id, lambda job: setattr(job, "valid", True))
    if after is None:
        with pytest.raises(InvalidRequestError, match=f"is {status} cannot be"):
            lifecycle.apply_action(store, id, "t", action)
    else:
        assert lifecycle.apply_action(store, id, "t", action).status == after


def test_a_job_that_was_paused_before_its_check_is_checked_when_it_resumes(store: Database) -> None:
    id = begun(store)
    lifecycle.apply_action(store, id, "t", "pause")
    assert lifecycle.apply_action(store, id, "t", "resume").status == "validating_files"


def test_the_queue_of_a_tenant_is_bounded(store: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "MAX_UNFINISHED", 2)
    begun(store)
    lifecycle.create_job(
        store, ModelRegistry(store, {}), JobBody(model=SMOKE, training_file="file-1"), "t"
    )
    with pytest.raises(LimitReachedError) as error:
        lifecycle.create_job(
            store, ModelRegistry(store, {}), JobBody(model=SMOKE, training_file="file-1"), "t"
        )
    assert ERRORS[type(error.value)][0] == 429


def test_an_event_with_a_key_is_added_once(store: Database) -> None:
    id = begun(store)
    before = len(store.children(EventObject, id))
    for _ in range(3):
        lifecycle.add_event(store, id, "t", "Step 1/2", data={"step": 1}, key="train 1")
    assert len(store.children(EventObject, id)) == before + 1


def test_the_last_three_checkpoints_are_kept_with_their_models(store: Database) -> None:
    id = begun(store)
    job = store.get(JobObject, id)
    assert job
    dropped = [
        lifecycle.add_checkpoint(store, job, step, {"train_loss": 1.0}) for step in (5, 10, 15, 20)
    ]
    assert dropped == [[], [], [], [5]]
    assert [each.step_number for each in store.children(CheckpointObject, id)] == [10, 15, 20]
    assert store.get(ModelObject, lifecycle.tuned_name(job, 5)) is None
    assert store.get(ModelObject, lifecycle.tuned_name(job, 20)) is not None


def test_a_model_that_a_job_trains_on_is_not_deleted(store: Database) -> None:
    id = begun(store)
    job = store.get(JobObject, id)
    assert job
    lifecycle.add_model(store, job, "ft:a:b:c", 4)
    lifecycle.create_job(
        store, ModelRegistry(store, {}), JobBody(model="ft:a:b:c", training_file="file-1"), "t"
    )
    with pytest.raises(ConflictError, match="is training on"):
        lifecycle.delete_model(store, "ft:a:b:c", "t")


def test_a_transaction_that_fails_changes_nothing(store: Database) -> None:
    def fails() -> None:
        with store.transaction():
            store.add(
                StoredFile(id="file-9", tenant="t", bytes=2, filename="a", purpose="x", sha256="0")
            )
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert store.get(StoredFile, "file-9") is None


@given(st.binary(max_size=300), st.lists(st.integers(1, 400), max_size=6))
@settings(max_examples=60)
def test_a_form_is_read_however_it_is_cut(content: bytes, cuts: list[int]) -> None:
    import asyncio
    import tempfile

    body = (
        b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
        + content
        + b"\r\n--x--\r\n"
    )
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]

    async def chunks() -> Any:
        for start, end in itertools.pairwise(places):
            yield body[start:end]

    with tempfile.TemporaryDirectory() as folder, Writer(Path(folder) / "new") as writer:
        if b"\r\n--x" in content:
            return
        form = asyncio.run(read_form("multipart/form-data; boundary=x", chunks(), writer, 1000))
        assert form.fields == {"purpose": "fine-tune"}
        assert form.file_name == "a.jsonl"
        writer.finish()
        assert writer.path.read_bytes() == content


def test_a_content_is_kept_once_and_lent_for_as_long_as_it_is_needed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    one, two = folder.keep_bytes(b"abc"), folder.keep_bytes(b"abc")
    assert one == two
    folder.link_blob(one.sha256, folder.job("j") / "training.jsonl")
    folder.blob(one.sha256).unlink()
    assert (folder.job("j") / "training.jsonl").read_bytes() == b"abc"


@pytest.mark.parametrize(
    ("headers", "tenant"),
    [
        ({"authorization": "Bearer one"}, True),
        ({"authorization": "bearer one"}, True),
        ({"authorization": "Basic one"}, False),
        ({}, False),
    ],
)
def test_a_key_is_taken_as_a_bearer_token(headers: dict[str, str], tenant: bool) -> None:
    access = Authenticator(("one",), ())
    if tenant:
        assert access.tenant(headers)
    else:
        with pytest.raises(AuthenticationError) as error:
            access.tenant(headers)
        assert ERRORS[type(error.value)][0] == 401


def test_the_result_file_has_a_row_for_each_step() -> None:
    metrics = [
        {"step": 2, "total_steps": 2, "train_loss": 1.5, "train_mean_token_accuracy": 0.5},
        {"step": 1, "total_steps": 2, "train_loss": 2.0, "train_mean_token_accuracy": 0.25},
        {"step": 2, "total_steps": 2, "valid_loss": 1.75, "valid_mean_token_accuracy": 0.5},
    ]
    assert results_csv(metrics).decode() == (
        "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,2.0,0.25,,\n2,1.5,0.5,1.75,0.5\n"
    )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["model", "messages", "n", "stop", "seed", "x"]), inner, max_size=4
            )
        ),
    )
)
def test_any_body_is_read_or_refused(value: Any) -> None:
    with contextlib.suppress(ServiceError):
        assert read_body(json.dumps(value).encode(), ChatBody).messages


def test_uploads_come_from_streams_too(client: openai.OpenAI) -> None:
    file = client.files.create(file=("s.jsonl", io.BytesIO(GOOD)), purpose="fine-tune")
    assert file.bytes == len(GOOD)


def test_a_file_of_a_user_is_no_job_s_business(client: openai.OpenAI, write: Write) -> None:
    file = client.files.create(file=("notes.txt", b"hello"), purpose="user_data")
    with pytest.raises(openai.BadRequestError) as error:
        client.fine_tuning.jobs.create(model=SMOKE, training_file=file.id)
    assert error.value.code == "invalid_file_purpose"


def test_the_commands_find_the_service_that_runs(
    local: Local, write: Write, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "FTKIT_DATA_DIR": str(local.folder),
        "FTKIT_STATE_DIR": str(tmp_path / "state"),
    }

    def ftkit(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ftkit", *arguments, "--provider", "local"]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    done = ftkit("submit", str(write(lines(12))), "--model", SMOKE, "--yes", "--suffix", "mine")
    assert done.returncode == 0, done.stderr
    assert "$0.00" in done.stdout
    id = done.stdout.split()[-2]
    assert id in ftkit("jobs", "list").stdout
    assert json.loads(ftkit("jobs", "show", id, "--output", "json").stdout)["id"] == id
    shown = next(line for line in ftkit("models", "list").stdout.splitlines() if SMOKE in line)
    assert shown.split() == [SMOKE, "-", "ftkit", "-"]
    assert connect("local", environment=environment).job(id).id == id
    assert ftkit("estimate", str(write(lines(12))), "--model", "Qwen/Qwen3-0.6B").returncode == 0
    cancelled = ftkit(
        "jobs", "cancel", id, "--output", "json"
    )  # where there is no PyTorch, it has failed by now
    assert (
        f'"{id}"' in cancelled.stdout if cancelled.returncode == 0 else "failed" in cancelled.stderr
    )
