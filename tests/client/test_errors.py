"""Errors of a provider, as one line each."""

from __future__ import annotations

import pytest
import respx
from click.testing import CliRunner

from ftkit.cli import cli
from ftkit.errors import ProviderError
from support.api_requests import REQUESTS
from support.mock_transport import mock_service

"""For each kind of request its method and path, the answer, the call, and what the call gives."""


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
        "Check the billing",
    ),
    "the end of training": (
        "create",
        403,
        "training_not_available",
        "Fine-tuning is winding down",
        "Train at another provider",
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
        "Check the billing",
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
    kind, status, code, message, hint = REFUSALS[name]
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
        ask(mock_service(router))
    text = str(caught.value)
    assert "\n" not in text
    assert message in text
    assert code in text
    assert (caught.value.status, caught.value.code) == (status, code)
    assert "ftkit explain" not in text
    explained = CliRunner().invoke(cli, ["explain", f"{message} ({code})"])
    assert explained.exit_code == 0
    assert hint in explained.output
