"""README files of an archive and of its jobs, in Markdown."""

from __future__ import annotations

import posixpath
from typing import Any
from urllib.parse import quote

from ftkit._text import money, printable
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
from ftkit.archive.read import Archive, ArchivedJob
from ftkit.jobs.metrics import assess
from ftkit.report.metrics import render_metrics_text

JOB_FILES = {
    JOB: "job object of the provider",
    EVENTS: "events, oldest first",
    CHECKPOINTS: "checkpoints with their metrics, oldest first",
    PERMISSIONS: "permissions of the checkpoints",
    ANSWERS: "recorded answers of the fine-tuned model, with prompts, parameters and usage",
    ANSWERS_CHAT: "the recorded answers as training data",
}
"""Files in the folder of a job, with their descriptions."""

MAX_TEXT = 500
"""Maximum number of characters of a value."""


def render_archive_readme(archive: Archive) -> str:
    """Return the README of an archive."""
    return (
        f"# Archive of {escape_markdown(archive.manifest.account)}\n\n"
        "Everything that the account holds about fine-tuning, as the provider returned it."
        " Created by `ftkit archive`.\n\n"
        "- `index.html`: all jobs on one page, for a browser; it works offline.\n"
        "- `jobs/`: a folder for each job, with a summary in its `README.md`.\n"
        "- `files/`: training and validation files, named by the SHA-256 of their content.\n"
        "- `files.json`, `models.json`: file and model objects of the provider.\n"
        "- `manifest.json`: SHA-256 and size of every file, and what is missing and why.\n\n"
        "`ftkit archive verify` checks all files. Without ftkit, compare the hashes in the"
        " manifest with the output of `sha256sum`.\n"
    )


def render_job_readme(figures: JobFigures) -> str:
    """Return the README of a job."""
    archived = figures.archived
    title = f"# {escape_markdown(archived.job.id)}\n\n{_summary(archived)}\n"
    parts = [title, _table(_facts(figures))]
    if archived.hyperparameters:
        rows = [
            (escape_markdown(name), _value(value))
            for name, value in sorted(archived.hyperparameters.items())
        ]
        parts.append(f"## Hyperparameters\n\nAs the provider resolved them.\n\n{_table(rows)}")
    if figures.metrics.rows:
        verdict = assess(figures.metrics)
        text = render_metrics_text(figures.metrics, verdict, "the result file")
        parts.append(f"## Losses\n\n```text\n{_code_block(text)}```\n")
    parts.append(f"## Files\n\n{_files(archived)}")
    if archived.missing:
        lines = "".join(
            f"- {escape_markdown(item.what)} `{escape_markdown(item.id)}`: {item.reason}"
            f" ({escape_markdown(item.message)})\n"
            for item in archived.missing
        )
        parts.append(f"## Missing\n\n{lines}")
    return "\n".join(parts)


def _summary(archived: ArchivedJob) -> str:
    job = archived.job
    model, day = escape_markdown(job.model) or "an unknown model", day_of(job.created_at)
    created = f", created on {day}" if day else ""
    summary = f"Fine-tuning of {model} ({escape_markdown(archived.method)}){created}."
    if job.status == "succeeded":
        return f"{summary} The job succeeded."
    code = f" ({escape_markdown(job.error_code)})" if job.error_code else ""
    error = f": {escape_markdown(job.error)}{code}" if job.error else ""
    return f"{summary} The status was {escape_markdown(job.status)} at the last sync{error}."


def _facts(figures: JobFigures) -> list[tuple[str, str]]:
    archived, job = figures.archived, figures.archived.job
    tokens = f"{job.trained_tokens:,}" if isinstance(job.trained_tokens, int) else ""
    cost = figures.cost_note
    if figures.cost is not None:
        cost = f"about {money(figures.cost)}, at {figures.cost_note}"
    served_until = ""
    if figures.served_until:
        day = escape_markdown(figures.served_until)
        served_until = f"{day} ({figures.served_until_source})"
    rows = [
        ("model", escape_markdown(job.fine_tuned_model)),
        ("base model", escape_markdown(job.model)),
        ("status", escape_markdown(job.status)),
        ("created", day_of(job.created_at)),
        ("finished", day_of(job.finished_at)),
        ("billed tokens", tokens),
        ("cost", cost),
        ("served until", served_until),
        ("training data", _data_file(archived, job.training_file)),
        ("validation data", _data_file(archived, job.validation_file)),
        ("seed", _value(job.raw.get("seed"))),
        ("organization", _value(job.raw.get("organization_id"))),
        *(
            (escape_markdown(f"metadata {key}"), _value(value))
            for key, value in job.metadata.items()
        ),
    ]
    return [(name, value) for name, value in rows if value]


def _data_file(archived: ArchivedJob, id: str) -> str:
    """Return a link to a file of the job, with its name and size, or a note that it is missing."""
    if not id:
        return ""
    archive, name = archived.archive, escape_markdown(id)
    key = key_of(id)
    file, path = archive.files.get(id), archive.manifest.contents.get(key)
    details = [escape_markdown(file.name)] if file else []
    if path is None or not is_safe(path):
        return f"{name} ({', '.join([*details, 'missing'])})"
    if path in archive.manifest.files:
        details.append(f"{archive.manifest.files[path].size:,} bytes")
    if key in archive.missing:
        details.append("incomplete")
    link = quote(posixpath.relpath(path, archived.path))
    return f"[{name}]({link}) ({', '.join(details)})"


def _files(archived: ArchivedJob) -> str:
    files = {
        name: description
        for name, description in JOB_FILES.items()
        if archived.archive.has(f"{archived.path}/{name}")
    }
    files |= {path.name: "metrics by step" for path in archived.results}
    return _table([(f"[{name}]({name})", description) for name, description in files.items()])


def _table(rows: list[tuple[str, str]]) -> str:
    lines = "".join(f"| {_cell(name)} | {_cell(value)} |\n" for name, value in rows)
    return f"| | |\n|---|---|\n{lines}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _value(value: Any) -> str:
    return "" if value is None else escape_markdown(str(value))


def escape_markdown(text: str) -> str:
    """Return untrusted text on one line, without characters that are markup in Markdown or HTML."""
    line = printable(" ".join(text[: 10 * MAX_TEXT].split()))[:MAX_TEXT]
    return "".join(f"\\{char}" if char in "\\`*<>[]#" else char for char in line)


def _code_block(text: str) -> str:
    """Return text for a fenced code block: printable, and without a fence that would end it."""
    return "".join(f"{printable(line)}\n" for line in text.replace("```", "'''").splitlines())
