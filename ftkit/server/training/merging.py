"""An adapter merged into its base: a model of its own, which other programs serve."""

from __future__ import annotations

from pathlib import Path

from ftkit.errors import ModelLoadError, UsageError
from ftkit.server.training.loading import add_adapter, load_base, load_tokenizer


def merge(base: str, folder: Path) -> None:
    """Write the base with the adapter that is in the folder into the folder; raises `UsageError` if the base cannot be had."""
    try:
        tokenizer, model = load_tokenizer(base), load_base(base)
    except ModelLoadError as error:
        raise UsageError(str(error)) from error
    add_adapter(model, folder).merge_and_unload().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
