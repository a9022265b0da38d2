"""Merging of an adapter into its base model, for programs that do not load adapters."""

from __future__ import annotations

from pathlib import Path

from ftkit.errors import ModelLoadError
from ftkit.server.training.base import load_tokenizer, operator_error
from ftkit.server.training.loading import add_adapter, load_base
from ftkit.server.training.vision import copy_processor, has_vision


def merge(base: str, folder: Path) -> None:
    """Merge the adapter in a folder into its base model, and save what the model needs there.

    Raises:
        UsageError: The base model cannot be loaded.
    """
    try:
        tokenizer, model = load_tokenizer(base), load_base(base)
    except ModelLoadError as error:
        raise operator_error(base, error) from error
    merged = add_adapter(model, folder).merge_and_unload()
    merged.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if has_vision(merged.config):
        copy_processor(base, folder)
