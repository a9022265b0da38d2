"""Check of a job's files against its base model: each example must be expressible and fit."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from ftkit.errors import ModelLoadError, RecipeError
from ftkit.server.objects import JobError, JobObject
from ftkit.server.recipes import restore_recipe
from ftkit.server.training.base import job_error, load_base_model
from ftkit.server.training.dataset import EncodedFile, Refusal, encode_file

MAX_REFUSALS = 5
"""Maximum number of examples in an error message."""


class FileCheck(Struct, frozen=True):
    """Result for files that a job can be trained on.

    Attributes:
        max_tokens: Length in tokens to which examples are truncated.
        warnings: Messages about what truncation removes, by the kind of the file.
    """

    max_tokens: int
    warnings: dict[str, str]


def check_files(job: JobObject, job_folder: Path, format: str) -> JobError | FileCheck:
    """Encode the files of a job, as training does.

    Args:
        job: The job.
        job_folder: Folder of the job, with its files.
        format: Format of the files.

    Returns:
        The result, or the error with which the job fails.
    """
    try:
        base = load_base_model(job.base, restore_recipe(job.base, job.recipe))
    except (ModelLoadError, RecipeError) as error:
        failure = job_error(error)
        assert failure
        return failure
    limit = base.max_tokens(job.method.type)
    warnings, encoder = {}, base.encoder(limit)
    for kind in job.hashes:
        file = encode_file(job_folder / f"{kind}.jsonl", encoder, format)
        message = _error_message(file, job.names[kind], job.base, limit)
        if message:
            return JobError("invalid_training_file", message, f"{kind}_file")
        if warning := file.truncation_message(kind, limit):
            warnings[kind] = warning
    return FileCheck(limit, warnings)


def _error_message(file: EncodedFile, name: str, base: str, limit: int) -> str | None:
    if file.refused:
        return f"{base} cannot be trained on {name}: {_list_refusals(file.refused)}"
    if not file.encoded:
        return f"no example of {name} has anything to learn within {limit:,} tokens"
    return None


def _list_refusals(refused: list[Refusal]) -> str:
    lines = "; ".join(f"line {item.line}: {item.reason}" for item in refused[:MAX_REFUSALS])
    more = len(refused) - MAX_REFUSALS
    return f"{lines}; and {more:,} more" if more > 0 else lines
