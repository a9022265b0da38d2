"""The page for a new job: a form, and what the job would train on, before it is created."""

from __future__ import annotations

import json
import math
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ftkit.dashboard.check_results import Check, Encoded, Validated
from ftkit.dashboard.checks import CheckFailure, CheckProgress
from ftkit.dashboard.choices import TRAINING, training_files, tuned_models
from ftkit.dashboard.files_page import find_file, validation, validation_check
from ftkit.dashboard.respond import fragment, page, respond
from ftkit.dashboard.state import get_state
from ftkit.server.bodies import (
    MAX_BATCH_SIZE,
    MAX_BETA,
    MAX_EPOCHS,
    MAX_SEED,
    MAX_SUFFIX,
    JobBody,
    read_body,
)
from ftkit.server.context import get_context
from ftkit.server.errors import InvalidRequestError, ServiceError
from ftkit.server.models import ModelRef
from ftkit.server.objects import FileObject, ModelObject
from ftkit.server.recipes import ResolvedHyperparameters, resolve_hyperparameters, restore_recipe
from ftkit.server.scheduling import MAX_PRIORITY, PRIORITY_KEY, read_priority

MAX_VALUE = 256
"""Maximum number of characters of a value of the form."""

HYPERPARAMETERS = ("n_epochs", "batch_size", "learning_rate_multiplier", "beta")
"""Fields that are hyperparameters of the request."""

ALLOWED = {
    "n_epochs": f"Epochs must be a whole number from 1 to {MAX_EPOCHS}, or empty.",
    "batch_size": f"The batch size must be a whole number from 1 to {MAX_BATCH_SIZE}, or empty.",
    "learning_rate_multiplier": "The learning rate multiplier must be a number above 0, or empty.",
    "beta": f"The DPO beta must be a number above 0 and up to {MAX_BETA}, or empty.",
    "seed": f"The seed must be a whole number from 0 to {MAX_SEED:,}, or empty.",
    "metadata": f"The priority must be a whole number from {-MAX_PRIORITY} to {MAX_PRIORITY}.",
    "suffix": f"The suffix must have at most {MAX_SUFFIX} characters.",
}
"""Sentences on invalid values, by the last part of the parameter that the API names."""

FIELDS = (
    *("file", "validation", "model", "other", "suffix", "seed", "priority"),
    *HYPERPARAMETERS,
)
"""Names of the fields of the form."""


class JobPreview(Struct, frozen=True):
    """The data and the settings that a job would be trained with.

    Attributes:
        problem: Reason why the job cannot be created, or "".
        warning: Reason why it is not known whether it can, or "".
        can_retry: True if the problem may have gone when the check is repeated.
        faulty: Id of the file that has the problem, or "".
        progress: Progress of a check without a result yet, or None.
        waiting: What that check does.
        file: The training file.
        training, validation: The results for the files.
        encoded: The examples as the base model is trained on them.
        hyperparameters: Hyperparameters that the training would use.
        steps: Number of training steps.
        base: The base model.
        body: Body of the request that creates the job, or None.
    """

    problem: str = ""
    warning: str = ""
    can_retry: bool = False
    faulty: str = ""
    progress: CheckProgress | None = None
    waiting: str = ""
    file: FileObject | None = None
    training: Validated | None = None
    validation: Validated | None = None
    encoded: Encoded | None = None
    hyperparameters: ResolvedHyperparameters | None = None
    steps: int = 0
    base: str = ""
    body: dict[str, Any] | None = None


@page
async def show(request: Request) -> Response:
    """Return the page."""
    values, choices = _form(request), await run_in_threadpool(_choices, request)
    values["model"] = values["model"] or choices["default"]
    preview = await _preview(request, values)
    return respond(
        request,
        "new",
        scripts=("upload.js", "new_job.js"),
        title="New job",
        values=values,
        max_priority=MAX_PRIORITY,
        max_suffix=MAX_SUFFIX,
        preview=preview,
        **choices,
    )


@fragment
async def show_preview(request: Request) -> Response:
    """Return what the job would train on, as far as that is known."""
    return respond(request, "job_preview", preview=await _preview(request, _form(request)))


def _form(request: Request) -> dict[str, str]:
    """Return the values of the form, which are "" by default."""
    return {name: request.query_params.get(name, "").strip()[:MAX_VALUE] for name in FIELDS}


def _choices(request: Request) -> dict[str, Any]:
    """Return the files and the models to choose from."""
    service, tenant = get_context(request)
    database = service.database
    files, has_more_files = training_files(database, tenant)
    tuned, has_more_models = tuned_models(database, tenant)
    file_count, model_count = len(files), len(tuned)
    listed = {file["id"] for file in files}
    for name in ("file", "validation"):
        id = request.query_params.get(name, "")
        if id and id not in listed and (file := database.get(FileObject, id, tenant)):
            files.append(file.public())
    bases = [(name, service.models.find(name, tenant).base) for name in service.models.names()]
    model = request.query_params.get("model", "")
    if model and model not in tuned and database.get(ModelObject, model, tenant):
        tuned.append(model)
    smoke, *mapped = bases
    return {
        "files": files,
        "bases": [*mapped, smoke],
        "tuned": tuned,
        "more_files_than": file_count if has_more_files else 0,
        "more_models_than": model_count if has_more_models else 0,
        "uses_hub": not request.app.state.authenticator.needs_keys,
        "default": service.models.default_name(),
    }


async def _preview(request: Request, values: dict[str, str]) -> JobPreview:
    """Return what the job would train on."""
    preview = JobPreview()
    if not values["file"]:
        return preview
    try:
        preview = await _check_files(request, values)
        if preview.training is None or preview.problem or preview.progress:
            return preview
        preview = replace(preview, body=_body(values, preview.training.method))
        model, body = await run_in_threadpool(_read_job, request, preview)
        return await _encode(request, replace(preview, base=model.base), model, body)
    except ServiceError as error:
        name = (error.param or "").rpartition(".")[2]
        return _with_problem(replace(preview, body=None), ALLOWED.get(name, str(error)))


def _with_problem(
    preview: JobPreview, problem: str, *, can_retry: bool = False, faulty: str = ""
) -> JobPreview:
    return replace(preview, problem=problem, can_retry=can_retry, faulty=faulty)


async def _check_files(request: Request, values: dict[str, str]) -> JobPreview:
    """Validate the files of the job, and return the results."""
    file = await run_in_threadpool(find_file, request, values["file"])
    preview = await _check_file(request, JobPreview(file=file), file, "training")
    if preview.problem or preview.progress or not values["validation"]:
        return preview
    other = await run_in_threadpool(find_file, request, values["validation"])
    return await _check_file(request, preview, other, "validation")


async def _check_file(
    request: Request, preview: JobPreview, file: FileObject, kind: Literal["training", "validation"]
) -> JobPreview:
    """Validate a file of the job, and return the preview with the result."""
    if file.purpose != TRAINING:
        problem = f"The {kind} file is no training data yet; convert it first."
        return _with_problem(preview, problem, faulty=file.id)
    if "again" in request.query_params:
        get_state(request).checks.forget(validation_check(request, file))
    result = await validation(request, file)
    if isinstance(result, CheckProgress):
        return replace(preview, progress=result, waiting=f"Checking the {kind} file")
    if isinstance(result, CheckFailure):
        reason = f"The {kind} file was not checked: {result.message}"
        if kind == "training":
            return _with_problem(preview, reason, can_retry=True, faulty=file.id)
        return replace(preview, warning=reason, can_retry=True)
    if kind == "training":
        preview = replace(preview, training=result)
    else:
        preview = replace(preview, validation=result)
    if result.errors:
        problem = f"The {kind} file is not ready: {result.verdict.headline}"
        return _with_problem(preview, problem, faulty=file.id)
    return preview


def _read_job(request: Request, preview: JobPreview) -> tuple[ModelRef, JobBody]:
    """Return the model and the decoded body of the request that creates the job.

    Raises:
        ServiceError: A value of the form is invalid.
    """
    service, tenant = get_context(request)
    training, other = preview.training, preview.validation
    if training and other and other.method != training.method:
        raise InvalidRequestError(
            f"The training file has {training.format} examples, and the validation file"
            f" {other.format} examples; choose files of the same format."
        )
    body = read_body(json.dumps(preview.body).encode(), JobBody)
    read_priority(body.metadata)
    return service.models.find(body.model, tenant), body


def _body(values: dict[str, str], method: str) -> dict[str, Any]:
    """Return the body of the request that creates the job."""
    hyperparameters = {
        name: _number(values[name])
        for name in HYPERPARAMETERS
        if values[name] and (name != "beta" or method == "dpo")
    }
    body: dict[str, Any] = {
        "model": values["other"] or values["model"],
        "training_file": values["file"],
        "validation_file": values["validation"] or None,
        "suffix": values["suffix"] or None,
        "seed": _number(values["seed"]) if values["seed"] else None,
        "metadata": {PRIORITY_KEY: values["priority"]} if values["priority"] else None,
        "method": {"type": method, method: {"hyperparameters": hyperparameters}},
    }
    return {name: value for name, value in body.items() if value is not None}


def _number(text: str) -> Any:
    """Return the number in a text, or the text, which the API then refuses."""
    for type in (int, float):
        try:
            value = type(text)
        except ValueError:
            continue
        return value if math.isfinite(value) else text
    return text


async def _encode(
    request: Request, preview: JobPreview, model: ModelRef, body: JobBody
) -> JobPreview:
    """Encode the examples, and return the preview with the steps of the training."""
    check = await run_in_threadpool(_encode_check, request, preview, model, body)
    if "again" in request.query_params:
        get_state(request).checks.forget(check)
    state = await get_state(request).checks.state(check)
    if isinstance(state, CheckProgress):
        return replace(preview, progress=state, waiting=f"Counting the tokens with {model.base}")
    if isinstance(state, CheckFailure):
        return _with_problem(preview, state.message, can_retry=True)
    encoded = msgspec.json.decode(state, type=Encoded)
    preview = replace(preview, encoded=encoded)
    if encoded.refused:
        reasons = "; ".join(encoded.refused)
        return _with_problem(preview, f"{model.base} cannot be trained on: {reasons}")
    if not encoded.sequences:
        problem = f"No example has anything to learn within {encoded.limit:,} tokens."
        return _with_problem(preview, problem)
    assert preview.training
    chosen = resolve_hyperparameters(
        restore_recipe(model.base, model.recipe),
        msgspec.to_builtins(body.job_hyperparameters),
        body.type,
        preview.training.examples,
    )
    batches = math.ceil(encoded.sequences * encoded.scale / chosen.batch_size)
    return replace(preview, hyperparameters=chosen, steps=chosen.epochs * batches)


def _encode_check(request: Request, preview: JobPreview, model: ModelRef, body: JobBody) -> Check:
    """Return the check that encodes the examples."""
    service, _ = get_context(request)
    assert preview.file
    assert preview.training
    other = find_file(request, body.validation_file) if body.validation_file else None
    arguments = {
        "base": model.base,
        "recipe": model.recipe,
        "method": body.type,
        "format": preview.training.format,
        "examples": preview.training.examples,
        "validation": str(service.folder.blob(other.sha256)) if other else "",
    }
    return Check("encode", preview.file.tenant, preview.file.sha256, arguments)


ROUTES = [Route("/new", show), Route("/new/preview", show_preview)]
