"""The playground: two models side by side, such as a fine-tuned model and its base model.

The page shows what each model is now. What an answer names comes from its own response: its
`system_fingerprint` and the headers of `ftkit.server.model_headers`.
"""

from __future__ import annotations

import hashlib
import json

from msgspec import Struct
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ftkit.dashboard.choices import tuned_models
from ftkit.dashboard.respond import fragment, page, respond
from ftkit.server.context import Service, get_context
from ftkit.server.errors import MissingObjectError
from ftkit.server.objects import JobObject


class ModelFacts(Struct, frozen=True):
    """Facts about a model that can be asked.

    Attributes:
        name: Name in requests.
        error: Reason why it cannot be asked, or "".
        kind: "base", "tuned" or "checkpoint".
        base: Its base model.
        job: Job that trained its adapter, or "" for the base model itself.
        step: Training step of the adapter.
        file: Name of the training file, or "".
        recipe: Digest of the recipe that it is loaded with.
    """

    name: str
    error: str = ""
    kind: str = "base"
    base: str = ""
    job: str = ""
    step: int = 0
    file: str = ""
    recipe: str = ""


@page
async def show(request: Request) -> Response:
    """Return the page."""
    return await run_in_threadpool(_show, request)


def _show(request: Request) -> Response:
    service, tenant = get_context(request)
    tuned, has_more = tuned_models(service.database, tenant)
    query = request.query_params
    model = query.get("model") or next(iter(tuned), service.models.default_name())
    facts = _describe(service, model, tenant)
    against = query["against"] if "against" in query else _base_name(service, facts, tenant)
    other = _describe(service, against, tenant) if against else None
    return respond(
        request,
        "playground",
        scripts=("playground.js",),
        title="Playground",
        bases=service.models.names(),
        tuned=tuned,
        has_more=has_more,
        # The base model comes first. A model alone is on the side that is never empty.
        sides=[other, facts] if other else [facts, None],
        missing_base=facts.base if facts.job and not against and "against" not in query else "",
    )


@fragment
async def show_model(request: Request) -> Response:
    """Return the part of the page with the facts about a model."""
    service, tenant = get_context(request)
    name = request.query_params.get("name", "")
    facts = await run_in_threadpool(_describe, service, name, tenant)
    return respond(request, "playground_model", model=facts)


def _base_name(service: Service, tuned: ModelFacts, tenant: str) -> str:
    """Return a name of the base model of a fine-tuned one, or "" if it has none here."""
    if not tuned.job:
        return ""
    job = service.database.get(JobObject, tuned.job, tenant)
    return service.models.name_of(tuned.base, job.model if job else "") or ""


def _describe(service: Service, name: str, tenant: str) -> ModelFacts:
    """Return the facts about a model, with an error if there is no such model."""
    try:
        served = service.models.find(name, tenant)
    except MissingObjectError as error:
        return ModelFacts(name, str(error))
    recipe = hashlib.sha256(json.dumps(served.recipe, sort_keys=True).encode()).hexdigest()
    facts = ModelFacts(name, base=served.base, recipe=recipe)
    if not served.job:
        return facts
    job = service.database.get(JobObject, served.job, tenant)
    return ModelFacts(
        name,
        kind="tuned" if job and job.fine_tuned_model == name else "checkpoint",
        base=served.base,
        job=served.job,
        step=served.step,
        file=job.names.get("training", "") if job else "",
        recipe=recipe,
    )


ROUTES = [Route("/playground", show), Route("/playground/model", show_model)]
