"""Facts about an archived job for its pages: model, data, dates, cost, files."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from urllib.parse import quote

from msgspec import Struct

from ftkit._text import money
from ftkit.archive.figures import JobFigures, day_of
from ftkit.archive.layout import (
    ANSWERS,
    ANSWERS_CHAT,
    CHECKPOINTS,
    EVENTS,
    JOB,
    PERMISSIONS,
    is_safe,
    key_of,
)
from ftkit.archive.read import ArchivedJob

JOB_FILES = {
    JOB: "job object of the provider",
    EVENTS: "events, oldest first",
    CHECKPOINTS: "checkpoints with their metrics, oldest first",
    PERMISSIONS: "permissions of the checkpoints",
    ANSWERS: "recorded answers of the fine-tuned model, with prompts, parameters and usage",
    ANSWERS_CHAT: "the recorded answers as training data",
}
"""Files in the folder of a job, with their descriptions."""


class Fact(Struct, frozen=True):
    """A fact, as text of the provider that is not escaped.

    Attributes:
        name: Name of the fact.
        text: The fact.
        details: More about it, in parentheses.
        link: Relative URL of the file that `text` names, or "".
    """

    name: str
    text: str
    details: str = ""
    link: str = ""


def facts_of(figures: JobFigures) -> list[Fact]:
    """Return the facts of a job that are known."""
    return [fact for fact in _facts(figures) if fact.text]


def _facts(figures: JobFigures) -> Iterator[Fact]:
    archived, job = figures.archived, figures.archived.job
    yield Fact("model", job.fine_tuned_model)
    yield Fact("base model", job.model)
    yield Fact("status", job.status)
    yield Fact("created", day_of(job.created_at))
    yield Fact("finished", day_of(job.finished_at))
    tokens = job.trained_tokens
    yield Fact("billed tokens", f"{tokens:,}" if isinstance(tokens, int) else "")
    cost = figures.cost_note
    if figures.cost is not None:
        cost = f"about {money(figures.cost)}, at {figures.cost_note}"
    yield Fact("cost", cost)
    yield Fact("served until", figures.served_until, figures.served_until_source)
    yield _data_file("training data", archived, job.training_file)
    yield _data_file("validation data", archived, job.validation_file)
    for name, key in (("seed", "seed"), ("organization", "organization_id")):
        value = job.raw.get(key)
        yield Fact(name, "" if value is None else str(value))
    for key, value in job.metadata.items():
        yield Fact(f"metadata {key}", "" if value is None else str(value))


def _data_file(name: str, archived: ArchivedJob, id: str) -> Fact:
    """Return a link to a file of the job, with its name and size, or a note that it is missing."""
    archive = archived.archive
    key = key_of(id) if id else ""
    file, path = archive.files.get(id), archive.manifest.contents.get(key)
    details = [file.name] if file else []
    if path is None or not is_safe(path):
        return Fact(name, id, ", ".join([*details, "missing"]))
    if path in archive.manifest.files:
        details.append(f"{archive.manifest.files[path].size:,} bytes")
    if key in archive.missing:
        details.append("incomplete")
    link = quote(posixpath.relpath(path, archived.path))
    return Fact(name, id, ", ".join(details), link)


def files_of(archived: ArchivedJob) -> dict[str, str]:
    """Return the files in the folder of a job, with their descriptions."""
    files = {
        name: description
        for name, description in JOB_FILES.items()
        if archived.archive.has(f"{archived.path}/{name}")
    }
    return files | {path.name: "metrics by step" for path in archived.results}
