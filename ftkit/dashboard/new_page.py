"""The page for a new job: a form, and what the job would train on, before it is created."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
from msgspec import Struct
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ftkit.dashboard.check_results import Check, Encoded, Validated
from ftkit.dashboard.checks import CheckFailure, CheckProgress, get_checks
from ftkit.dashboard.files_page import TRAINING, find_file, validation, validation_check
from ftkit.dashboard.respond import fragment, page, respond
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
from ftkit.server.database import PageQuery
from ftkit.server.errors import InvalidRequestError, ServiceError
from ftkit.server.models import ModelRef
from ftkit.server.objects import FileObject, ModelObject
from ftkit.server.recipes import ResolvedHyperparameters, resolve_hyperparameters, restore_recipe
from ftkit.server.scheduling import MAX_PRIORITY, PRIORITY_KEY, read_priority

MAX_CHOICES = 100
"""Maximum number of files, and of fine-tuned models, to choose from: the newest ones."""

MAX_VALUE = 256
"""Maximum number of characters of a value of the form."""

HYPERPARAMETERS = ("n_epochs", "batch_size", "learning_rate_multiplier", "beta")

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
    *("file", "validation", "model", "hub", "suffix", "seed", "priority"),
    *HYPERPARAMETERS,
)
"""Names of the fields of the form."""


class Plan(Struct):
    """The data and the settings that a job would be trained with.

    Attributes:
        problem: Reason why the job cannot be created, or "".
        warning: Reason why it is not known whether it can, or "".
        can_retry: True if the problem may have gone when the check is repeated.
        faulty: Id of the file that has the problem, or "".
        progress: CheckProgress of a check without a result yet, or None.
        waiting: What that check does.
        training, validation: The results for the files.
        encoded: The examples as the base model is trained on them.
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
    plan = await _plan(request, values)
    return respond(
        request,
        "new",
        scripts=("upload.js", "new_job.js"),
        title="New job",
        values=values,
        max_priority=MAX_PRIORITY,
        max_suffix=MAX_SUFFIX,
        plan=plan,
        **choices,
    )


@fragment
async def show_plan(request: Request) -> Response:
    """Return what the job would train on, as far as that is known."""
    return respond(request, "plan", plan=await _plan(request, _form(request)))


def _form(request: Request) -> dict[str, str]:
    """Return the values of the form, which are "" by default."""
    return {name: request.query_params.get(name, "").strip()[:MAX_VALUE] for name in FIELDS}


def _choices(request: Request) -> dict[str, Any]:
    """Return the files and the models to choose from."""
    service, tenant = get_context(request)
    database = service.database
    query = PageQuery(limit=MAX_CHOICES, equal={"$.purpose": TRAINING})
    files = [json.loads(row) for row in database.page(FileObject, tenant, query)[0]]
    listed = {file["id"] for file in files}
    for name in ("file", "validation"):
        id = request.query_params.get(name, "")
        if id and id not in listed and (file := database.get(FileObject, id, tenant)):
            files.append(file.public())
    bases = [(name, service.models.find(name, tenant).base) for name in service.models.names()]
    rows, _ = database.page(ModelObject, tenant, PageQuery(limit=MAX_CHOICES))
    smoke, *mapped = bases
    return {
        "files": files,
        "bases": [*mapped, smoke],
        "tuned": [json.loads(row)["id"] for row in rows],
        "uses_hub": not request.app.state.authenticator.needs_keys,
        "default": (mapped or [smoke])[0][0],
    }


async def _plan(request: Request, values: dict[str, str]) -> Plan:
    """Return what the job would train on."""
    plan = Plan()
    if not values["file"]:
        return plan
    try:
        await _check_files(request, values, plan)
        if plan.training and not (plan.problem or plan.progress):
            model, body = await run_in_threadpool(_job, request, values, plan)
            await _encode(request, plan, model, body)
    except ServiceError as error:
        name = (error.param or "").rpartition(".")[2]
        plan.problem, plan.body = ALLOWED.get(name, str(error)), None
    return plan


async def _check_files(request: Request, values: dict[str, str], plan: Plan) -> None:
    """Validate the files of the job."""
    for field, kind in (("file", "training"), ("validation", "validation")):
        if not values[field]:
            continue
        file = await run_in_threadpool(find_file, request, values[field])
        plan.file = plan.file or file
        if file.purpose != TRAINING:
            plan.problem = f"The {kind} file is no training data yet; convert it first."
            plan.faulty = file.id
            return
        if "again" in request.query_params:
            get_checks(request).forget(validation_check(request, file))
        result = await validation(request, file)
        if isinstance(result, CheckProgress):
            plan.progress, plan.waiting = result, f"Checking the {kind} file"
            return
        if isinstance(result, CheckFailure):
            plan.warning = f"The {kind} file was not checked: {result.message}"
            continue
        setattr(plan, kind, result)
        if result.errors:
            plan.problem = f"The {kind} file is not ready: {result.verdict.headline}"
            plan.faulty = file.id
            return
    if plan.training is None and plan.file:
        plan.problem, plan.can_retry, plan.faulty = plan.warning, True, plan.file.id


def _job(request: Request, values: dict[str, str], plan: Plan) -> tuple[ModelRef, JobBody]:
    """Return the model and the body of the request that the form describes.

    Raises:
        ServiceError: A value of the form is invalid.
    """
    service, tenant = get_context(request)
    assert plan.training
    method, other = plan.training.method, plan.validation
    if other and other.method != method:
        raise InvalidRequestError(
            f"The training file has {plan.training.format} examples, and the validation file"
            f" {other.format} examples; choose files of the same format."
        )
    plan.body = _body(values, method)
    body = read_body(json.dumps(plan.body).encode(), JobBody)
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
        "model": values["hub"] or values["model"],
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


async def _encode(request: Request, plan: Plan, model: ModelRef, body: JobBody) -> None:
    """Encode the examples, and compute the steps of the training."""
    service, tenant = get_context(request)
    assert plan.file
    assert plan.training
    other = None
    if body.validation_file:
        other = await run_in_threadpool(find_file, request, body.validation_file)
    plan.base = model.base
    arguments = {
        "base": model.base,
        "recipe": model.recipe,
        "method": body.type,
        "format": plan.training.format,
        "examples": plan.training.examples,
        "validation": str(service.folder.blob(other.sha256)) if other else "",
    }
    check = Check("encode", plan.file.sha256, arguments)
    if "again" in request.query_params:
        get_checks(request).forget(check)
    state = await get_checks(request).state(check, tenant)
    if isinstance(state, CheckProgress):
        plan.progress, plan.waiting = state, f"Counting the tokens with {model.base}"
        return
    if isinstance(state, CheckFailure):
        plan.problem, plan.can_retry = state.message, True
        return
    plan.encoded = encoded = msgspec.json.decode(state, type=Encoded)
    if encoded.refused:
        plan.problem = f"{model.base} cannot be trained on: {'; '.join(encoded.refused)}"
    elif not encoded.sequences:
        plan.problem = f"No example has anything to learn within {encoded.limit:,} tokens."
    requested = msgspec.to_builtins(body.job_hyperparameters)
    recipe = restore_recipe(model.base, model.recipe)
    plan.hyperparameters = chosen = resolve_hyperparameters(
        recipe, requested, body.type, plan.training.examples
    )
    plan.steps = chosen.epochs * math.ceil(encoded.sequences * encoded.scale / chosen.batch_size)


ROUTES = [Route("/new", show), Route("/new/plan", show_plan)]
