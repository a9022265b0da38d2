"""Loading of the weights of base models, and of adapters.

A base model is built in, in a folder, or on the Hugging Face hub. Weights are read from safetensors
only, and code that comes with a model is never run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig
from transformers.utils import find_adapter_config_file, logging

from ftkit.errors import ModelLoadError
from ftkit.server.models import SMOKE
from ftkit.server.recipes import Recipe
from ftkit.server.training.base import LOAD_ERRORS, load_error
from ftkit.server.training.device import attention, compute_dtype, device
from ftkit.server.training.smoke import build_model

logging.disable_progress_bar()


def load_base(base: str, recipe: Recipe | None = None) -> Any:
    """Load a base model: to the CPU, or to the device if it is quantized.

    Args:
        base: The base model.
        recipe: Sets quantization and attention. Without one, the model is not quantized.

    Raises:
        ModelLoadError: It cannot be loaded, or is an adapter.
    """
    if base == SMOKE:
        return build_model()
    try:
        _check_complete(base)
        model = AutoModelForCausalLM.from_pretrained(
            base,
            dtype=compute_dtype(),
            use_safetensors=True,
            trust_remote_code=False,
            **(_options(recipe) if recipe else {}),
        )
        if model.name_or_path != base:
            raise ValueError(f"it is an adapter of {model.name_or_path}")
    except LOAD_ERRORS as error:
        raise load_error(base) from error
    return model


def _options(recipe: Recipe) -> dict[str, Any]:
    """Return the arguments with which transformers loads a model for a recipe."""
    options: dict[str, Any] = {"attn_implementation": attention(recipe)}
    if recipe.quantization == "4bit":  # as in the paper on QLoRA, arXiv:2305.14314
        options["device_map"] = {"": device()}
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute_dtype(),
        )
    return options


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
