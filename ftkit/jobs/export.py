"""Export of fine-tuned models as folders: a PEFT adapter, or a model that is made from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ftkit._atomic import atomic_folder
from ftkit.client.client import Client
from ftkit.errors import FileError, os_error_message

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""Files of an adapter, as PEFT names them."""

Transform = Callable[[str, Path], None]
"""Function that adds a model made from the adapter in a folder to that folder.

Its arguments are the name of the base model and the folder.
"""


def export(client: Client, model: str, folder: Path, transform: Transform | None = None) -> str:
    """Write a fine-tuned model into a new folder, atomically, and return the name of its base.

    Args:
        client: Connection to the provider.
        model: Name of the fine-tuned model.
        folder: Folder to create.
        transform: Makes the model from the adapter, which is then removed; by default the adapter
            itself is written.

    Raises:
        FileError: The folder exists or cannot be written.
        UsageError: The provider does not offer model weights, or the model cannot be merged.
        NotFoundError: There is no such model.
        FtkitError: `transform` raised it.
    """
    if folder.exists():
        raise FileError(f"{folder} already exists; choose another folder, or remove it")
    base = ""
    try:
        with atomic_folder(folder) as temporary:
            for name in ADAPTER_FILES:
                data, base = client.adapter_file(model, name)
                (temporary / name).write_bytes(data)
            if transform:
                transform(base, temporary)
                for name in ADAPTER_FILES:
                    (temporary / name).unlink(missing_ok=True)
    except OSError as error:
        raise FileError(f"cannot write {folder}: {os_error_message(error)}") from error
    return base
