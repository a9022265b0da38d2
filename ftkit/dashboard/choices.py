"""Files, models and jobs that pages offer to choose from: the newest ones, up to a limit."""

from __future__ import annotations

import json
from typing import Any

from ftkit.server.database import Database, PageQuery
from ftkit.server.job_search import list_models
from ftkit.server.objects import FileObject, ModelObject

MAX_CHOICES = 200
"""Maximum number of entries of a list. The pages say what to do if there are more."""

TRAINING = "fine-tune"
"""Purpose of files that jobs train on."""


def training_files(database: Database, tenant: str) -> tuple[list[dict[str, Any]], bool]:
    """Return the newest training files, and True if there are more."""
    query = PageQuery(limit=MAX_CHOICES, equal={"$.purpose": TRAINING})
    rows, has_more = database.page(FileObject, tenant, query)
    return [json.loads(row) for row in rows], has_more


def tuned_models(database: Database, tenant: str) -> tuple[list[str], bool]:
    """Return the names of the newest fine-tuned models, and True if there are more."""
    rows, has_more = database.page(ModelObject, tenant, PageQuery(limit=MAX_CHOICES))
    return [str(json.loads(row)["id"]) for row in rows], has_more


def models_of_jobs(database: Database, tenant: str) -> tuple[list[str], bool]:
    """Return the base models of the jobs, and True if there are more."""
    names = list_models(database, tenant, MAX_CHOICES + 1)
    return names[:MAX_CHOICES], len(names) > MAX_CHOICES
