"""Adapters of jobs: the weights of a saved state, with which completions are generated."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftkit.server.errors import InvalidRequestError
from ftkit.server.folder import Folder, remove, sync_folder
from ftkit.server.objects import JobObject

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""Files of an adapter."""


@contextmanager
def staged_adapter(folder: Folder, job: JobObject, step: int) -> Iterator[Path]:
    """Yield a copy of the adapter of a saved state, in a new folder beside its place.

    What is left there is removed at the end.

    Args:
        folder: Data folder of the service.
        job: The job.
        step: Training step of the state.

    Raises:
        InvalidRequestError: There is no such state in the data folder.
    """
    checkpoint = folder.checkpoints(job.id) / f"checkpoint-{step}"
    adapter = folder.adapter(job.id, step)
    staged = adapter.with_name(f"{adapter.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            staged.mkdir()
            shutil.copyfile(checkpoint / WEIGHTS, staged / WEIGHTS)
            config = dict(json.loads((checkpoint / CONFIG).read_bytes()))
        except (FileNotFoundError, ValueError, TypeError) as error:
            raise missing_state(checkpoint) from error
        (staged / CONFIG).write_text(
            json.dumps({**config, "base_model_name_or_path": job.base}, indent=2)
        )
        yield staged
    finally:
        remove(staged)


def place_adapter(folder: Folder, job: str, step: int, staged: Path) -> None:
    """Move a staged adapter to its place."""
    adapter = folder.adapter(job, step)
    shutil.rmtree(adapter, ignore_errors=True)
    staged.rename(adapter)
    sync_folder(adapter.parent)


def missing_state(path: Path) -> InvalidRequestError:
    """Return the error for a saved state that is reported, but not in the data folder."""
    message = (
        "the training process and the service do not share one data folder: the service has no"
        f" complete {path}"
    )
    return InvalidRequestError(message, "step", "checkpoint_not_found")
