"""README files of an archive and of its jobs, in Markdown."""

from __future__ import annotations

from typing import Any

from ftkit._text import printable
from ftkit.archive.facts import Fact, facts_of, files_of
from ftkit.archive.figures import JobFigures, day_of
from ftkit.archive.read import Archive, ArchivedJob
from ftkit.jobs.metrics import assess
from ftkit.report.metrics import render_metrics_text

MAX_TEXT = 500
"""Maximum number of characters of a value."""


def render_archive_readme(archive: Archive) -> str:
    """Return the README of an archive."""
    return (
        f"# Archive of {escape_markdown(archive.manifest.account)}\n\n"
        "Everything that the account holds about fine-tuning, as the provider returned it."
        " Created by `ftkit archive`.\n\n"
        "- `index.html`: all jobs on one page, for a browser; it works offline.\n"
        "- `jobs/`: a folder for each job, with a summary in its `index.html` and `README.md`.\n"
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
    return [(escape_markdown(fact.name), _fact(fact)) for fact in facts_of(figures)]


def _fact(fact: Fact) -> str:
    text, details = escape_markdown(fact.text), escape_markdown(fact.details)
    linked = f"[{text}]({fact.link})" if fact.link else text
    return f"{linked} ({details})" if details else linked


def _files(archived: ArchivedJob) -> str:
    rows = files_of(archived).items()
    return _table([(f"[{name}]({name})", description) for name, description in rows])


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
