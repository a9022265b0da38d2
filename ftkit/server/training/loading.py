"""Loading of the weights of base models, and of adapters.

A base model is built in, in a folder, or on the Hugging Face hub. Weights are read from safetensors
only, and code that comes with a model is never run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.utils import find_adapter_config_file, logging

from ftkit.errors import ModelLoadError
from ftkit.server.models import SMOKE
from ftkit.server.training.base import LOAD_ERRORS, load_error
from ftkit.server.training.smoke import build_model
from ftkit.server.training.vision import has_vision

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
        config = AutoConfig.from_pretrained(base, trust_remote_code=False)
        model_class = AutoModelForImageTextToText if has_vision(config) else AutoModelForCausalLM
        model = model_class.from_pretrained(
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


def adapter_targets(model: Any) -> str:
    """Return the layers that an adapter is for, as `target_modules` of PEFT.

    Those are all linear layers; for models with vision, a regular expression for those of the
    language model.
    """
    if not has_vision(model.config):
        return "all-linear"
    decoder = model.get_decoder()
    path = next(name for name, module in model.named_modules() if module is decoder)
    names = {
        name.rpartition(".")[2]
        for name, module in decoder.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    return rf"{re.escape(path)}\..*\.({'|'.join(sorted(names))})"


def add_adapter(model: Any, adapter: Path, trainable: bool = False) -> Any:
    """Load an adapter of this service onto its base model.

    Raises:
        ModelLoadError: The adapter was deleted.
    """
    if not adapter.exists():
        raise ModelLoadError("the fine-tuned model no longer exists")
    return PeftModel.from_pretrained(model, str(adapter), is_trainable=trainable)
