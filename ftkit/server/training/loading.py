"""Loading of the weights of base models, and of adapters.

A base model is built in, in a folder, or on the Hugging Face hub. Weights are read from safetensors
only, and code that comes with a model is never run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
from transformers.utils import find_adapter_config_file, logging

from ftkit.errors import ModelLoadError
from ftkit.server.models import SMOKE
from ftkit.server.training.base import LOAD_ERRORS, load_error
from ftkit.server.training.smoke import build_model

logging.disable_progress_bar()


def device() -> str:
    """Return the name of the fastest available device."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def uses_bfloat16() -> bool:
    """Return True if models are computed in bfloat16 instead of float32 on this device."""
    return device() == "cuda" and torch.cuda.is_bf16_supported()


def load_base(base: str) -> Any:
    """Load a base model to the CPU.

    Raises:
        ModelLoadError: It cannot be loaded, or is an adapter.
    """
    if base == SMOKE:
        return build_model()
    dtype = torch.bfloat16 if uses_bfloat16() else torch.float32
    try:
        _check_complete(base)
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
        if model.name_or_path != base:
            raise ValueError(f"it is an adapter of {model.name_or_path}")
    except LOAD_ERRORS as error:
        raise load_error(base) from error
    return model


def _check_complete(base: str) -> None:
    """Refuse an adapter: transformers would load the model or the folder that it names instead.

    Raises:
        ValueError: The base model is an adapter, or comes with one.
    """
    if find_adapter_config_file(base) is not None:
        raise ValueError("it has an adapter_config.json; name the base model of the adapter")


def add_adapter(model: Any, adapter: Path, trainable: bool = False) -> Any:
    """Load an adapter of this service onto its base model.

    Raises:
        ModelLoadError: The adapter was deleted.
    """
    if not adapter.exists():
        raise ModelLoadError("the fine-tuned model no longer exists")
    return PeftModel.from_pretrained(model, str(adapter), is_trainable=trainable)
