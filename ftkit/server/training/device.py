"""The device that models run on, and what a recipe needs of it."""

from __future__ import annotations

import gc
import os
from importlib.util import find_spec

import torch
from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available

from ftkit.errors import RecipeError, install_command
from ftkit.server.control_groups import memory_limits
from ftkit.server.recipes import Recipe


def device() -> str:
    """Return the name of the fastest available device."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def free_memory() -> None:
    """Free the memory of tensors that nothing refers to, also in the cache of the device."""
    gc.collect()
    if device() == "cuda":
        torch.cuda.empty_cache()
    elif device() == "mps":
        torch.mps.empty_cache()


def uses_bfloat16() -> bool:
    """Return True if models are computed in bfloat16 instead of float32 on this device."""
    return device() == "cuda" and torch.cuda.is_bf16_supported()


def compute_dtype() -> torch.dtype:
    """Return the data type that models are computed in."""
    return torch.bfloat16 if uses_bfloat16() else torch.float32


def device_memory() -> int:
    """Return the memory of the device in bytes, of the smallest one if there are several."""
    if device() == "cuda":
        numbers = range(torch.cuda.device_count())
        return min(int(torch.cuda.get_device_properties(number).total_memory) for number in numbers)
    if device() == "mps":
        return int(torch.mps.recommended_max_memory())
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([total, *memory_limits()])


def has_flash_attention() -> bool:
    """Return True if flash attention can be used: its package is installed, and the GPU fits."""
    return uses_bfloat16() and is_flash_attn_2_available()


def check_recipe(recipe: Recipe) -> None:
    """Check that this machine has all that a recipe needs.

    Raises:
        RecipeError: A package or a device is missing.
    """
    missing = None
    if recipe.quantization == "4bit" and find_spec("bitsandbytes") is None:
        missing = f'quantization = "4bit" needs bitsandbytes: {install_command("qlora")}'
    if recipe.attention == "flash_attention_2" and not is_flash_attn_2_available():
        missing = 'attention = "flash_attention_2" needs CUDA and the package flash-attn'
    if recipe.attention == "flash_attention_3" and not is_flash_attn_3_available():
        missing = 'attention = "flash_attention_3" needs CUDA and the package flash-attn-3'
    if missing:
        raise RecipeError(f"the recipe of the base model cannot be used here: {missing}")
