"""Validation of a job's files: ftkit's rules, with the error codes of OpenAI's jobs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ftkit.dataset.formats import METHODS
from ftkit.rules import RULES
from ftkit.server.database import Database
from ftkit.server.folder import Folder
from ftkit.server.lifecycle import add_event, fail, transition
from ftkit.server.objects import JobError, JobObject
from ftkit.server.out_of_memory import is_out_of_memory
from ftkit.summary import FileReport
from ftkit.validation.provider_messages import EXPLAINS

PROVIDER = "local"

MAX_FINDINGS = 5
"""Maximum number of findings in the error message of a job."""

CODES = {"examples-too-few": "invalid_n_examples"}
"""Error codes, by the name of the rule."""

CODES_BY_PREFIX = {"FT1": "invalid_file_format", "FT203": "invalid_file_format"}
"""Error codes, by the beginning of the rule's code."""

OTHER_CODE = "invalid_training_file"
"""Error code for all other rules."""


def check(database: Database, folder: Folder, job: JobObject) -> None:
    """Validate the files of a job, then queue the job or fail it."""
    try:
        _check(database, folder, job)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        message = "The files need more memory to validate than is free; split them"
        fail(database, job.id, "out_of_memory", message, "training_file")


def _check(database: Database, folder: Folder, job: JobObject) -> None:
    from ftkit.validation.validate import validate

    job_folder = folder.job(job.id)
    for name, sha256 in job.hashes.items():
        folder.link_blob(sha256, job_folder / f"{name}.jsonl")
    validation = job_folder / "validation.jsonl" if "validation" in job.hashes else None
    report = validate(
        job_folder / "training.jsonl", provider=PROVIDER, validation_file=validation, workers=1
    )
    for file, kind in zip(report.files, ("training", "validation"), strict=False):
        error = _find_error(file, job.names[kind], job.method.type)
        if error:
            fail(database, job.id, *error, f"{kind}_file")
            return
    if find_spec("transformers") is None:
        # Without the extra `local`, the training process fails and names it.
        _queue(database, job.id, report.files[0])
    else:
        _check_base_model(database, job, job_folder, report.files[0])


def _check_base_model(
    database: Database, job: JobObject, job_folder: Path, training: FileReport
) -> None:
    """Queue the job if the base model can be trained on every example, and fail it otherwise.

    What truncation removes is reported in events.
    """
    from ftkit.server.training.checking import check_files

    result = check_files(job, job_folder, training.format or "chat")
    if isinstance(result, JobError):
        fail(database, job.id, result.code, result.message, result.param)
        return
    for kind, warning in result.warnings.items():
        add_event(database, job.id, job.tenant, warning, "warn", key=f"cut {kind}")
    _queue(database, job.id, training, tokens=result.max_tokens)


def _queue(database: Database, id: str, training: FileReport, **recipe: Any) -> None:
    """Record the result of the validation, even if the job was paused, and queue the job.

    Args:
        database: Database of the service.
        id: Id of the job.
        training: Report on the training file.
        **recipe: Values that replace those of the job's recipe.
    """

    def edit(job: JobObject) -> None:
        job.valid = True
        job.note_progress()
        job.format, job.examples = training.format or "", training.examples
        job.recipe |= recipe

    with database.transaction():
        database.change(JobObject, id, edit)
        message = "Files validated, moving job to queued state"
        transition(database, id, ("validating_files",), "queued", message)


def _find_error(file: FileReport, name: str, method: str) -> tuple[str, str] | None:
    """Return the error code and message for a file, or None if a job can train on it."""
    if file.errors:
        return _error_code(file), _error_message(file, name)
    file_method = METHODS[file.format or "chat"]
    if file_method != method:
        message = (
            f"{name} has {file.format} examples, and the job's method is '{method}',"
            f" not '{file_method}'"
        )
        return OTHER_CODE, message
    return None


def _error_code(file: FileReport) -> str:
    first = next(finding for finding in file.findings if finding.severity == "error")
    by_prefix = (code for prefix, code in CODES_BY_PREFIX.items() if first.code.startswith(prefix))
    return CODES.get(first.rule) or next(by_prefix, OTHER_CODE)


def _error_message(file: FileReport, name: str) -> str:
    """List the first findings with their lines, and name their rules."""
    errors = [finding for finding in file.findings if finding.severity == "error"]
    messages = [
        f"line {finding.line}: {finding.message}" if finding.line else finding.message
        for finding in errors[:MAX_FINDINGS]
    ]
    rules = ", ".join(dict.fromkeys(finding.rule for finding in errors if finding.rule in RULES))
    more = f"; and {file.errors - MAX_FINDINGS:,} more" if file.errors > MAX_FINDINGS else ""
    return f"Invalid file {name}: {'; '.join(messages)}{more}. {EXPLAINS}{rules}"
