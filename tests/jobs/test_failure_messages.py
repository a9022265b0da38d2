"""Messages of failed jobs and events, recognised."""

from __future__ import annotations

from pathlib import Path

import pytest
import respx
from click.testing import CliRunner

from ftkit.cli import cli
from ftkit.jobs.diagnose import diagnose
from ftkit.jobs.journal import Journal
from ftkit.validation.provider_messages import interpret
from support.mock_transport import EVENT, FILE, JOB, list_body, mock_service

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
        "Remove or rewrite these lines",
    ),
    "distillation": (
        "unsafe_file",
        "The file was blocked for model reasoning extraction",
        "safety screening",
    ),
    "a billing limit": ("exceeded_quota", "The job was stopped", "Check the billing"),
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
    "a validation that took too long": (
        "validation_timeout",
        "The validation of the files took longer than the maximum of 75 seconds; split them",
        "split the file",
    ),
    "no such base": (
        "model_not_available",
        "the base model a/b cannot be loaded: no complete model of that name",
        "Use a Hugging Face model",
    ),
    "a tuned model that was deleted": (
        "model_not_available",
        "the fine-tuned model no longer exists",
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
        "alternating user and assistant messages",
    ),
    "images": (
        "invalid_training_file",
        "example 3: the base model does not support images",
        "Remove the examples with images",
    ),
    "too little memory": (
        "out_of_memory",
        "The training needs more memory than is free; set in the recipe of a/b: micro_batch = 1",
        "set the options that the message names",
    ),
    "killed by the kernel": (
        "out_of_memory",
        "The training process ended 3 times (killed because the memory was full); set in the recipe",
        "End other programs",
    ),
    "an API key": (
        "invalid_api_key",
        "Incorrect API key provided: sk-*****. You can find your API key at the console.",
        "does not accept the API key",
    ),
    "a key of completions": ("", "Missing 'prompt' key on line 1", "prompt-missing"),
    "a role of another format": ("", "Unsupported role: human", "role-unknown"),
    "a base model of 2023": (
        "",
        "Invalid base model: xxi (model must be one of ada, babbage, curie, davinci) or a "
        "fine-tuned model created by your organization",
        "`ftkit catalog` lists them",
    ),
    "a moderation system": (
        "",
        "The job failed due to an invalid training file. This training file was blocked by our "
        "moderation system because it contains too many examples that violate OpenAI's usage "
        "policies, or because it attempts to create model outputs that violate OpenAI's usage "
        "policies.",
        "safety screening",
    ),
    "an unsafe file": ("", "The job failed due to an unsafe training file.", "safety screening"),
    "a quota": (
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
        "Check the billing",
    ),
    "a hard limit": (
        "exceeded_quota",
        "Creating this fine-tuning job would exceed your hard limit, please check your plan and "
        "billing details.",
        "Raise the limit",
    ),
    "too many jobs": (
        "",
        "You have exceeded the maximum number of fine-tuning jobs",
        "Wait until a job ends",
    ),
    "too many jobs today": (
        "daily_rate_limit_exceeded",
        "Your organization has reached the maximum of 8 fine-tuning requests per day for the model",
        "Wait until a job ends",
    ),
    "a file that is too large": (
        "",
        "Error code: 413 - Request Entity Too Large",
        "split the file",
    ),
    "a file that is not there": ("", "No such File object: file-1", "`ftkit files list`"),
    "a model that is not there": ("", "That model does not exist", "`ftkit models list`"),
    "an image by its address": (
        "invalid_training_file",
        "line 3: image 1 is not embedded, and this service fetches no addresses; write data:",
        "Embed the images in the file",
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
    code, message, cause = FAILURES[name]
    error = {"code": code or None, "message": message or None, "param": "training_file"}
    router.get("/fine_tuning/jobs/ftjob-1").respond(
        200, json={**JOB, "status": "failed", "error": error}
    )
    it = mock_service(router)
    diagnosis = diagnose(it.job("ftjob-1"), it, Journal(tmp_path / "state"))
    assert diagnosis.message == (message or code)
    assert "\n" not in diagnosis.advice
    assert cause in diagnosis.rules or cause in diagnosis.advice
    if diagnosis.rules:
        assert f"`ftkit rule {diagnosis.rules[0]}` explains the rule" in diagnosis.advice
    explained = CliRunner().invoke(cli, ["explain", f"{message} ({code})"])
    assert explained.exit_code == 0
    assert cause in explained.output


def test_a_message_that_nobody_knows_is_no_reason_to_try_again(
    router: respx.MockRouter, tmp_path: Path
) -> None:
    error = {"code": "odd_failure", "message": "It went wrong", "param": None}
    router.get("/fine_tuning/jobs/ftjob-1").respond(
        200, json={**JOB, "status": "failed", "error": error}
    )
    it = mock_service(router)
    diagnosis = diagnose(it.job("ftjob-1"), it, Journal(tmp_path / "state"))
    assert "--again" not in diagnosis.advice
    assert "`ftkit jobs events ftjob-1`" in diagnosis.advice


def test_the_rules_that_a_message_names_go_before_those_whose_words_it_quotes() -> None:
    message = """Invalid file a.jsonl: line 2: Unexpected file format. `ftkit rule NAME` explains: json-syntax, role-unknown (x)"""
    assert [rule.name for rule in interpret(message).rules] == ["json-syntax", "role-unknown"]


def test_an_image_that_was_skipped_is_an_event_and_no_failure(router: respx.MockRouter) -> None:
    skipped = {
        **EVENT,
        "level": "warn",
        "message": "Example 3: the image was skipped, since it shows a face",
    }
    router.get("/fine_tuning/jobs/ftjob-1/events").respond(200, json=list_body(skipped))
    (event,) = mock_service(router).events("ftjob-1")
    assert (event.level, event.message) == ("warn", skipped["message"])


def test_a_file_that_the_service_found_wanting_says_so(router: respx.MockRouter) -> None:
    details = "Line 3 contains invalid json"
    router.get("/files/file-1").respond(
        200, json={**FILE, "status": "error", "status_details": details}
    )
    file = mock_service(router).file("file-1")
    assert (file.status, file.raw["status_details"]) == ("error", details)
