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
from transformers import AutoConfig, BitsAndBytesConfig
from transformers.utils import find_adapter_config_file, logging

from ftkit.errors import ModelLoadError, RecipeError
from ftkit.server.models import SMOKE
from ftkit.server.recipes import Recipe
from ftkit.server.training.base import LOAD_ERRORS, load_error
from ftkit.server.training.device import compute_dtype, device, has_flash_attention
from ftkit.server.training.smoke import build_model
from ftkit.server.training.vision import has_vision, model_class

logging.disable_progress_bar()


def load_on_device(base: str, recipe: Recipe) -> Any:
    """Load a base model to the device, to train it or to generate with it.

    Raises:
        ModelLoadError: It cannot be loaded, or is an adapter.
    """
    model = load_base(base, recipe)
    # Quantized models are on the device already, and cannot be moved.
    return model if getattr(model, "is_loaded_in_4bit", False) else model.to(device())


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
        config = AutoConfig.from_pretrained(base, trust_remote_code=False)
        model = model_class(config).from_pretrained(
            base,
            dtype=compute_dtype(),
            use_safetensors=True,
            trust_remote_code=False,
            **(_options(recipe, config) if recipe else {}),
        )
        if model.name_or_path != base:
            raise ValueError(f"it is an adapter of {model.name_or_path}")
    except LOAD_ERRORS as error:
        raise load_error(base) from error
    return model


def _options(recipe: Recipe, config: Any) -> dict[str, Any]:
    """Return the arguments with which transformers loads a model for a recipe."""
    options: dict[str, Any] = {}
    if recipe.attention != "auto":
        options["attn_implementation"] = recipe.attention
    elif has_flash_attention() and _supports_flash_attention(config):
        options["attn_implementation"] = "flash_attention_2"
    if recipe.quantization == "4bit":  # as in the paper on QLoRA, arXiv:2305.14314
        options["device_map"] = device()  # of several GPUs, that of this process
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=compute_dtype(),
        )
    return options


def _supports_flash_attention(config: Any) -> bool:
    architecture = model_class(config)._model_mapping[type(config)]
    return bool(getattr(architecture, "_supports_flash_attn", False))


def _check_complete(base: str) -> None:
    """Refuse an adapter: transformers would load the model or the folder that it names instead.

    Raises:
        ValueError: The base model is an adapter, or comes with one.
    """
    if find_adapter_config_file(base) is not None:
        raise ValueError("it has an adapter_config.json; name the base model of the adapter")


def adapter_targets(model: Any, recipe: Recipe) -> str | list[str]:
    """Return the layers that an adapter is for, as `target_modules` of PEFT.

    For models with vision, it is a regular expression for layers of the language model.

    Raises:
        RecipeError: The model has no such layers.
    """
    has_images, targets = has_vision(model.config), recipe.targets
    decoder = model.get_decoder() if has_images else model
    names = {
        name.rpartition(".")[2]
        for name, module in decoder.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
    if isinstance(targets, list):
        if unknown := sorted(set(targets) - names):
            raise RecipeError(
                f"targets: the base model has no linear layers {', '.join(unknown)}; it has"
                f" {', '.join(sorted(names))}"
            )
        names = set(targets)
    if not has_images:
        return targets
    path = next(name for name, module in model.named_modules() if module is decoder)
    return rf"{re.escape(path)}\..*\.({'|'.join(sorted(names))})"


def add_adapter(model: Any, adapter: Path, trainable: bool = False) -> Any:
    """Load an adapter of this service onto its base model.

    Raises:
        ModelLoadError: The adapter was deleted.
    """
    if not adapter.exists():
        raise ModelLoadError("the fine-tuned model no longer exists")
    return PeftModel.from_pretrained(model, str(adapter), is_trainable=trainable)
