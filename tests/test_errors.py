"""Each request as it stands on the wire, and each failure that services are known to answer with, in one line that says what to do."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from click.testing import CliRunner
from wire import URL, client

from ftkit.catalog import load_catalog
from ftkit.cli import cli
from ftkit.client.client import Client
from ftkit.client.resources import Job
from ftkit.errors import NotFoundError, ProviderError, UnknownOutcomeError
from ftkit.jobs.diagnose import diagnose
from ftkit.jobs.journal import Journal
from ftkit.validation.service_messages import meaning

JOB = {
    "id": "ftjob-1",
    "object": "fine_tuning.job",
    "status": "running",
    "model": "m",
    "created_at": 1,
    "training_file": "file-1",
}
FILE = {
    "id": "file-1",
    "object": "file",
    "filename": "a.jsonl",
    "bytes": 3,
    "purpose": "fine-tune",
    "created_at": 1,
}
EVENT = {
    "id": "e-1",
    "object": "fine_tuning.job.event",
    "created_at": 1,
    "level": "info",
    "message": "Step 1",
}
POINT = {
    "id": "c-1",
    "object": "fine_tuning.job.checkpoint",
    "step_number": 5,
    "fine_tuned_model_checkpoint": "ft:m:ckpt-step-5",
    "metrics": {"train_loss": 0.5},
}
MODEL = {
    "id": "ft:m",
    "object": "model",
    "created": 1,
    "owned_by": "me",
    "shutdown_date": "2027-01-14",
}
UPLOAD = {
    "id": "upload_1",
    "object": "upload",
    "status": "pending",
    "bytes": 3,
    "filename": "a.jsonl",
    "purpose": "fine-tune",
}


@pytest.fixture
def router() -> Iterator[respx.MockRouter]:
    """Routes relative to `URL`; a request without a route fails the test, and so does a route without a request."""
    made = respx.MockRouter(assert_all_called=True, base_url=URL)
    yield made
    made.assert_all_called()


def service(router: respx.MockRouter, provider: str = "openai") -> Client:
    facts = load_catalog().providers[provider]
    assert facts.api
    return Client(provider, facts, facts.api, client(router))


def page(*items: dict[str, Any]) -> dict[str, Any]:
    return {"object": "list", "data": list(items), "has_more": False}


Ask = Callable[[Client], Any]

REQUESTS: dict[str, tuple[str, str, dict[str, Any], Ask, Any]] = {
    "create": (
        "POST",
        "/fine_tuning/jobs",
        JOB,
        lambda it: it.create({"model": "m", "training_file": "file-1", "seed": 1}).id,
        "ftjob-1",
    ),
    "list": (
        "GET",
        "/fine_tuning/jobs",
        page(JOB),
        lambda it: [job.id for job in it.jobs()],
        ["ftjob-1"],
    ),
    "retrieve": (
        "GET",
        "/fine_tuning/jobs/ftjob-1",
        JOB,
        lambda it: it.job("ftjob-1").status,
        "running",
    ),
    "cancel": (
        "POST",
        "/fine_tuning/jobs/ftjob-1/cancel",
        JOB,
        lambda it: it.act("ftjob-1", "cancel").id,
        "ftjob-1",
    ),
    "pause": (
        "POST",
        "/fine_tuning/jobs/ftjob-1/pause",
        JOB,
        lambda it: it.act("ftjob-1", "pause").id,
        "ftjob-1",
    ),
    "resume": (
        "POST",
        "/fine_tuning/jobs/ftjob-1/resume",
        JOB,
        lambda it: it.act("ftjob-1", "resume").id,
        "ftjob-1",
    ),
    "events": (
        "GET",
        "/fine_tuning/jobs/ftjob-1/events",
        page(EVENT),
        lambda it: [each.message for each in it.events("ftjob-1")],
        ["Step 1"],
    ),
    "checkpoints": (
        "GET",
        "/fine_tuning/jobs/ftjob-1/checkpoints",
        page(POINT),
        lambda it: [each.step for each in it.checkpoints("ftjob-1")],
        [5],
    ),
    "file list": (
        "GET",
        "/files",
        page(FILE),
        lambda it: [file.id for file in it.files("fine-tune")],
        ["file-1"],
    ),
    "file": ("GET", "/files/file-1", FILE, lambda it: it.file("file-1").name, "a.jsonl"),
    "file upload": (
        "POST",
        "/files",
        FILE,
        lambda it: it.upload("a.jsonl", io.BytesIO(b"{}\n")).id,
        "file-1",
    ),
    "file content": (
        "GET",
        "/files/file-1/content",
        {"step": 1},
        lambda it: json.loads(it.content("file-1")),
        {"step": 1},
    ),
    "file deletion": (
        "DELETE",
        "/files/file-1",
        {"id": "file-1", "deleted": True},
        lambda it: it.delete_file("file-1"),
        None,
    ),
    "upload": ("POST", "/uploads", UPLOAD, lambda it: it.create_upload("a.jsonl", 3), "upload_1"),
    "part": (
        "POST",
        "/uploads/upload_1/parts",
        {"id": "part_1", "upload_id": "upload_1"},
        lambda it: it.upload_part("upload_1", b"abc"),
        "part_1",
    ),
    "completion": (
        "POST",
        "/uploads/upload_1/complete",
        {**UPLOAD, "file": FILE},
        lambda it: it.complete_upload("upload_1", ["part_1"]).id,
        "file-1",
    ),
    "model list": (
        "GET",
        "/models",
        page(MODEL),
        lambda it: [model.shutdown_date for model in it.models()],
        ["2027-01-14"],
    ),
    "model": ("GET", "/models/ft:m", MODEL, lambda it: it.model("ft:m").owner, "me"),
    "shutdown date": (
        "GET",
        "/models/ft:m",
        MODEL,
        lambda it: it.shutdown_date("ft:m"),
        "2027-01-14",
    ),
    "model deletion": (
        "DELETE",
        "/models/ft:m",
        {"id": "ft:m", "deleted": True},
        lambda it: it.delete_model("ft:m"),
        None,
    ),
}
"""For each kind of request its method and path, the answer, the call, and what the call gives."""


@pytest.mark.parametrize("kind", REQUESTS)
def test_each_request_is_sent_once_to_its_path_with_the_key(
    kind: str, router: respx.MockRouter
) -> None:
    method, path, answer, ask, gives = REQUESTS[kind]
    route = router.route(method=method, url=path).respond(200, json=answer)
    assert ask(service(router)) == gives
    assert route.call_count == 1
    assert route.calls[0].request.headers["Authorization"] == "Bearer sk-test"


BODIES: dict[str, Any] = {
    "create": {"model": "m", "training_file": "file-1", "seed": 1},
    "upload": {
        "bytes": 3,
        "filename": "a.jsonl",
        "mime_type": "application/jsonl",
        "purpose": "fine-tune",
    },
    "completion": {"part_ids": ["part_1"]},
}


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_holds_what_was_asked_and_no_more(kind: str, router: respx.MockRouter) -> None:
    method, path, answer, ask, _ = REQUESTS[kind]
    route = router.route(method=method, url=path).respond(200, json=answer)
    ask(service(router))
    assert json.loads(route.calls[0].request.content) == BODIES[kind]


def test_azure_gets_a_body_with_a_cancel(router: respx.MockRouter) -> None:
    route = router.post("/fine_tuning/jobs/ftjob-1/cancel").respond(200, json=JOB)
    service(router, "azure").act("ftjob-1", "cancel")
    assert json.loads(route.calls[0].request.content) == {}


def test_a_list_asks_for_the_next_page_after_the_last_item(router: respx.MockRouter) -> None:
    pages = [{**page({**JOB, "id": "ftjob-2"}), "has_more": True}, page(JOB)]
    route = router.get("/fine_tuning/jobs").mock(
        side_effect=[httpx.Response(200, json=each) for each in pages]
    )
    assert [job.id for job in service(router).jobs(metadata={"a": "b"})] == ["ftjob-2", "ftjob-1"]
    asked = [dict(call.request.url.params) for call in route.calls]
    assert asked == [
        {"limit": "100", "metadata[a]": "b"},
        {"limit": "100", "metadata[a]": "b", "after": "ftjob-2"},
    ]


TROUBLES: dict[str, tuple[Any, type[ProviderError], str]] = {
    "401": (
        httpx.Response(401, json={"error": {"message": "Incorrect API key provided: sk-test"}}),
        ProviderError,
        "rejected the API key",
    ),
    "404": (
        httpx.Response(404, json={"error": {"message": "No such thing"}}),
        NotFoundError,
        "not found at OpenAI (No such thing)",
    ),
    "429": (
        httpx.Response(429, json={"error": {"message": "Slow down"}}),
        ProviderError,
        "rate limit or quota of OpenAI exceeded",
    ),
    "500": (
        httpx.Response(500, json={"error": {"message": "Oops"}}),
        UnknownOutcomeError,
        "responded with 500: Oops",
    ),
    "a page of HTML": (
        httpx.Response(502, text="<html>\n<h1>Bad gateway</h1>"),
        UnknownOutcomeError,
        "responded with 502",
    ),
    "an error that is no object": (httpx.Response(400, json=["no"]), ProviderError, "responded with 400"),
    "a time-out": (httpx.ReadTimeout("too slow"), UnknownOutcomeError, "cannot"),
    "a broken connection": (httpx.ConnectError("refused"), UnknownOutcomeError, "cannot"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("kind", [kind for kind in REQUESTS if kind != "shutdown date"])
def test_trouble_with_any_request_is_one_line(
    kind: str, trouble: str, router: respx.MockRouter
) -> None:
    method, path, _, ask, _ = REQUESTS[kind]
    answer, raised, said = TROUBLES[trouble]
    router.route(method=method, url=path).mock(side_effect=[answer])
    with pytest.raises(raised) as caught:
        ask(service(router))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "sk-test" not in str(caught.value)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_model_whose_end_cannot_be_asked_for_has_none(
    trouble: str, router: respx.MockRouter
) -> None:
    router.get("/models/ft:m").mock(side_effect=[TROUBLES[trouble][0]])
    assert service(router).shutdown_date("ft:m") == ""


REFUSALS: dict[str, tuple[str, int, str, str, str]] = {
    "too few examples": (
        "create",
        400,
        "",
        "Training file has 3 examples, but must have at least 10 examples",
        "examples-too-few",
    ),
    "an array": (
        "file upload",
        400,
        "",
        "Expected file to have JSONL format, where every line is a JSON dictionary. Line 1 is not a dictionary",
        "json-array-file",
    ),
    "another extension": (
        "file upload",
        400,
        "",
        "File has an invalid extension. Must be .jsonl",
        "Rename the file",
    ),
    "a file that is not processed": (
        "create",
        400,
        "",
        "File 'file-1' is still being processed and is not ready",
        "Wait until its status",
    ),
    "a free plan": (
        "create",
        403,
        "",
        "Fine-tuning jobs cannot be created on an Explore plan",
        "Look at billing",
    ),
    "the end of training": (
        "create",
        403,
        "training_not_available",
        "Fine-tuning is winding down",
        "Train at another service",
    ),
    "another base": (
        "create",
        400,
        "model_not_available",
        "Model m is not available for fine-tuning or does not exist",
        "exact name of the model",
    ),
    "a used up quota": (
        "create",
        429,
        "insufficient_quota",
        "You exceeded your current quota",
        "Look at billing",
    ),
    "the wrong method": (
        "create",
        400,
        "",
        "Model o4-mini requires the reinforcement method",
        "format-method-mismatch",
    ),
    "a suffix of null": (
        "create",
        400,
        "",
        "None is not of type 'string' - 'suffix'",
        "Leave the suffix out",
    ),
    "a model without training": (
        "create",
        400,
        "invalidPayload",
        "The specified base model does not support fine-tuning.",
        "exact name of the model",
    ),
    "an import under way": (
        "create",
        400,
        "invalidPayload",
        "The job needs a completed file import.",
        "Wait until its status",
    ),
    "an old address": ("create", 404, "404", "Resource not found", "--base-url"),
    "an api-version": (
        "create",
        400,
        "BadRequest",
        "api-version query parameter is not allowed when using /v1 path",
        "--base-url",
    ),
    "a cancel without a body": ("cancel", 411, "", "Length Required", "Send {} as the body"),
    "wandb that is not linked": (
        "create",
        400,
        "",
        "wandb integration is not enabled for this organization",
        "leave --wandb-project out",
    ),
    "the limits of a checkpoint": (
        "model",
        429,
        "rate_limit_exceeded",
        "Rate limit reached for ft:m:ckpt-step-5",
        "Wait a minute",
    ),
    "a model in use": (
        "model deletion",
        409,
        "",
        "The model is still deployed",
        "Delete the deployment first",
    ),
}
"""For each refusal over HTTP the request, status, code and message, and the rule or the advice that ftkit knows for it."""


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_told_in_one_line_with_its_code_and_what_to_do(
    name: str, router: respx.MockRouter
) -> None:
    kind, status, code, message, known = REFUSALS[name]
    method, path, _, ask, _ = REQUESTS[kind]
    route = router.route(method=method, url=path)
    route.respond(
        status,
        json={
            "error": {
                "message": message,
                "type": "invalid_request_error",
                "param": None,
                "code": code or None,
            }
        },
    )
    with pytest.raises(ProviderError) as caught:
        ask(service(router))
    told = str(caught.value)
    assert "\n" not in told
    assert message in told
    assert code in told
    assert (caught.value.status, caught.value.code) == (status, code)
    assert "ftkit explain" not in told
    explained = CliRunner().invoke(cli, ["explain", f"{message} ({code})"])
    assert explained.exit_code == 0
    assert known in explained.output


FAILURES: dict[str, tuple[str, str, str]] = {
    "too few examples": (
        "invalid_n_examples",
        "Training file has 3 examples, but must have at least 10 examples",
        "examples-too-few",
    ),
    "another method": (
        "invalid_training_file",
        "The file is in the fine-tune-chat format but job is not using 'supervised'",
        "format-method-mismatch",
    ),
    "no role": (
        "invalid_training_file",
        "Row 3, message 1: Discriminator 'role' is missing",
        "role-missing",
    ),
    "an unknown key": (
        "invalid_file_format",
        'Invalid file format. Example 4 contains an extra "id"',
        "example-unknown-key",
    ),
    "tools from a line on": (
        "invalid_file_format",
        'Invalid file format. Example 536 contains an extra "tools"',
        "example-unknown-key",
    ),
    "no input": ("", "Invalid file format. Example 1 is missing key 'input'", "preference-input"),
    "no messages": (
        "",
        "Invalid file format. Example 1 is missing key 'messages'",
        "messages-missing",
    ),
    "broken JSON": (
        "",
        "Line 3 contains invalid json: Expecting value: line 3 column 1",
        "json-syntax",
    ),
    "another format": (
        "invalid_training_file",
        "Unexpected file format, expected chat messages",
        "format-unknown",
    ),
    "a special token": ("", "invalid token: <|fim_suffix|>", "special-token-text"),
    "moderation by share": (
        "invalid_training_file",
        "too many examples were flagged by our moderation API: violence",
        "safety screening",
    ),
    "moderation by line": (
        "",
        "This file failed moderation safety checks. Flagged lines: 4, 13",
        "Take the lines out",
    ),
    "distillation": (
        "unsafe_file",
        "The file was blocked for model reasoning extraction",
        "safety screening",
    ),
    "a billing limit": ("exceeded_quota", "The job was stopped", "Look at billing"),
    "a fault of the service": (
        "server_error",
        "The job failed due to an internal error",
        "create the job again",
    ),
    "a system message": (
        "",
        "The role 'system' is not supported in 'reinforcement' examples",
        "rft-system-role",
    ),
    "only a code": ("server_error", "", "create the job again"),
    "a rule by its name": (
        "invalid_training_file",
        "Invalid file a.jsonl: line 4: 'human' is not one of user, assistant. `ftkit rule NAME` explains: role-unknown",
        "role-unknown",
    ),
    "another method here": (
        "invalid_training_file",
        "a.jsonl has chat examples, and the job's method is 'dpo', not 'supervised'",
        "format-method-mismatch",
    ),
    "answers beyond the limit": (
        "invalid_training_file",
        "no example has anything to learn within 2,048 tokens",
        "example-trained-tokens-cut",
    ),
    "no such base": (
        "model_not_available",
        "the base model a/b cannot be loaded: a/b is not a local folder",
        "Name a model of the Hugging Face hub",
    ),
    "a tuned model that was deleted": (
        "model_not_available",
        "the tuned model is not there any more",
        "models list --provider local",
    ),
    "no template": (
        "invalid_training_file",
        "example 1: the base model has no chat template; train it on prompts",
        "prompts and completions",
    ),
    "a template that refuses": (
        "invalid_training_file",
        "example 1 does not fit the chat template of the base model: no",
        "user and assistant in turn",
    ),
    "images": (
        "invalid_training_file",
        "example 3: this service takes no images",
        "Take the examples with images out",
    ),
    "a process that died": (
        "server_error",
        "The training process ended 3 times (signal 9)",
        "--batch-size",
    ),
}
"""For each failure that a job can end with its code and message, and the rule or the advice that ftkit knows for it."""


@pytest.mark.parametrize("name", FAILURES)
def test_the_doctor_knows_why_a_job_failed(
    name: str, router: respx.MockRouter, tmp_path: Path
) -> None:
    code, message, known = FAILURES[name]
    error = {"code": code or None, "message": message or None, "param": "training_file"}
    router.get("/fine_tuning/jobs/ftjob-1").respond(
        200, json={**JOB, "status": "failed", "error": error}
    )
    it = service(router)
    found = diagnose(it.job("ftjob-1"), it, Journal(tmp_path / "state"))
    assert found.says == (message or code)
    assert "\n" not in found.advice
    assert known in found.rules or known in found.advice
    if found.rules:
        assert f"`ftkit rule {found.rules[0]}` explains the rule" in found.advice
    explained = CliRunner().invoke(cli, ["explain", f"{message} ({code})"])
    assert explained.exit_code == 0
    assert known in explained.output


def test_a_message_that_nobody_knows_is_no_reason_to_try_again(
    router: respx.MockRouter, tmp_path: Path
) -> None:
    error = {"code": "odd_failure", "message": "It went wrong", "param": None}
    router.get("/fine_tuning/jobs/ftjob-1").respond(
        200, json={**JOB, "status": "failed", "error": error}
    )
    it = service(router)
    found = diagnose(it.job("ftjob-1"), it, Journal(tmp_path / "state"))
    assert "--again" not in found.advice
    assert "`ftkit jobs events ftjob-1`" in found.advice


def test_the_rules_that_a_message_names_go_before_those_whose_words_it_quotes() -> None:
    message = """Invalid file a.jsonl: line 2: Unexpected file format. `ftkit rule NAME` explains: json-syntax, role-unknown (x)"""
    assert [rule.name for rule in meaning(message).rules] == ["json-syntax", "role-unknown"]


def test_an_image_that_was_skipped_is_an_event_and_no_failure(router: respx.MockRouter) -> None:
    skipped = {
        **EVENT,
        "level": "warn",
        "message": "Example 3: the image was skipped, since it shows a face",
    }
    router.get("/fine_tuning/jobs/ftjob-1/events").respond(200, json=page(skipped))
    (event,) = service(router).events("ftjob-1")
    assert (event.level, event.message) == ("warn", skipped["message"])


def test_a_file_that_the_service_found_wanting_says_so(router: respx.MockRouter) -> None:
    details = "Line 3 contains invalid json"
    router.get("/files/file-1").respond(
        200, json={**FILE, "status": "error", "status_details": details}
    )
    file = service(router).file("file-1")
    assert (file.status, file.raw["status_details"]) == ("error", details)


def test_what_a_job_leaves_out_is_empty() -> None:
    assert (
        Job.read({"id": "a", "error": {"code": None, "message": None, "param": None}}).error_code
        == ""
    )
