"""Models from where they are: built, in a folder, or on the Hugging Face hub. Weights are safetensors; no code of theirs is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from ftkit.errors import ModelLoadError
from ftkit.server.models import SMOKE
from ftkit.server.training.smoke import build_model, build_tokenizer

logging.disable_progress_bar()


def device() -> str:
    """The best device that there is."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def half_precision() -> bool:
    """Whether the device computes in bfloat16 faster than in float32."""
    return device() == "cuda" and torch.cuda.is_bf16_supported()


def load_tokenizer(base: str) -> Any:
    """The tokenizer of a base model; raises `ModelLoadError`."""
    if base == SMOKE:
        return build_tokenizer()
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _cannot(base, error) from error
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer


def load_base(base: str) -> Any:
    """A base model, on the CPU; raises `ModelLoadError`."""
    if base == SMOKE:
        return build_model()
    kind = torch.bfloat16 if half_precision() else torch.float32
    try:
        return AutoModelForCausalLM.from_pretrained(
            base, dtype=kind, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise _cannot(base, error) from error


def add_adapter(model: Any, adapter: Path, trainable: bool = False) -> Any:
    """The model with an adapter of this service on it; raises `ModelLoadError` if it was deleted."""
    if not adapter.exists():
        raise ModelLoadError("the tuned model is not there any more")
    return PeftModel.from_pretrained(model, str(adapter), is_trainable=trainable)


def _cannot(base: str, error: Exception) -> ModelLoadError:
    said = " ".join(str(error).split())
    return ModelLoadError(f"the base model {base} cannot be loaded: {said[:400]}")
