"""Tuned models as folders: a PEFT adapter as the service keeps it, or merged into its base with transformers."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ftkit.client.client import Client
from ftkit.errors import FileError, UsageError, os_error_message

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
"""The files of an adapter, as PEFT names them."""


def export(client: Client, model: str, folder: Path, merge: bool = False) -> str:
    """Write a tuned model into a new folder, whole or not at all, and return its base.

    Raises `UsageError` where the service gives no weights away, or the packages to merge are missing, and `FileError` where the
    folder is there already or cannot be written.
    """
    if folder.exists():
        raise FileError(f"{folder} is there already; name another, or remove it")
    aside = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        base = ""
        aside.mkdir(parents=True)
        for name in ADAPTER:
            data, base = client.adapter(model, name)
            (aside / name).write_bytes(data)
        if merge:
            _merge(base, aside)
        os.replace(aside, folder)
    except OSError as error:
        raise FileError(f"cannot write {folder}: {os_error_message(error)}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return base


def _merge(base: str, folder: Path) -> None:
    """Put the whole model into the folder in place of its adapter."""
    try:
        from ftkit.server.training.merging import merge
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--merge needs more packages ({error.name} is missing): pip install 'ftkit[local]'"
        ) from error
    merge(base, folder)
    for name in ADAPTER:
        (folder / name).unlink()
