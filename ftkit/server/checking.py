"""Are the files of a job what it can train on? The rules are ftkit's own; the codes are those that OpenAI's jobs fail with."""

from __future__ import annotations

from ftkit.dataset.formats import METHODS
from ftkit.rules import RULES
from ftkit.server.folder import Folder
from ftkit.server.jobs import fail, move
from ftkit.server.store import Store, Thing
from ftkit.summary import FileReport
from ftkit.validation.service_messages import EXPLAINS

PROVIDER = "local"
SHOWN = 5
"""Findings that the job's message names."""

CODES = {"examples-too-few": "invalid_n_examples"}
SUBJECTS = {"FT1": "invalid_file_format", "FT203": "invalid_file_format"}
"""The codes of the rules: by name, by the beginning of the rule's code; else it is `invalid_training_file`."""


def check(store: Store, folder: Folder, job: Thing) -> None:
    """Check the files of a job, and queue or fail it."""
    from ftkit.validation.validate import validate

    place = folder.job(job.id)
    for name, sha256 in job.kept["files"].items():
        folder.lend(sha256, place / f"{name}.jsonl")
    validation = place / "validation.jsonl" if "validation" in job.kept["files"] else None
    report = validate(
        place / "training.jsonl", provider=PROVIDER, validation_file=validation, workers=1
    )
    for file, param in zip(report.files, ("training_file", "validation_file"), strict=False):
        method = job.shown["method"]["type"]
        name = job.kept["names"][param.removesuffix("_file")]
        if file.errors:
            fail(store, job.id, _code(file), _message(file, name), param)
            return
        if METHODS[file.format or "chat"] != method:
            told = f"{name} has {file.format} examples, and the job's method is '{method}', not '{METHODS[file.format or 'chat']}'"
            fail(store, job.id, "invalid_training_file", told, param)
            return
    format, examples = report.files[0].format, report.files[0].examples
    with store.transaction():
        store.change(
            "job",
            job.id,
            lambda found: found.kept.update(
                valid=True, format=format, examples=examples, attempts=0
            ),
        )
        move(
            store,
            job.id,
            ("validating_files",),
            "queued",
            "Files validated, moving job to queued state",
        )


def _code(file: FileReport) -> str:
    first = next(finding for finding in file.findings if finding.severity == "error")
    by_subject = (code for start, code in SUBJECTS.items() if first.code.startswith(start))
    return CODES.get(first.rule) or next(by_subject, "invalid_training_file")


def _message(file: FileReport, name: str) -> str:
    """The first findings, each with the lines that have it."""
    errors = [finding for finding in file.findings if finding.severity == "error"]
    told = [
        f"line {each.line}: {each.message}" if each.line else each.message
        for each in errors[:SHOWN]
    ]
    rules = ", ".join(dict.fromkeys(finding.rule for finding in errors if finding.rule in RULES))
    more = f"; and {file.errors - SHOWN:,} more" if file.errors > SHOWN else ""
    return f"Invalid file {name}: {'; '.join(told)}{more}. {EXPLAINS}{rules}"
