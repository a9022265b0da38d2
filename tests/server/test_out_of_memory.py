"""Exceptions that mean too little memory, and what would help."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from ftkit.errors import EncodingError, ModelLoadError
from ftkit.server.out_of_memory import is_out_of_memory, memory_advice
from ftkit.server.recipes import restore_recipe


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 5 bytes."
        ),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB, max allowed: 9 GB)."),
        RuntimeError("CUDA error: out of memory"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_an_exception_that_means_too_little_memory_is_recognized(error: Exception) -> None:
    assert is_out_of_memory(error)
    wrapped = ModelLoadError("the base model cannot be loaded")
    wrapped.__cause__ = error
    assert is_out_of_memory(wrapped)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        EncodingError("line 3 of the training file: unknown role 'out of memory'"),
        OSError(2, "No such file or directory"),
    ],
)
def test_another_exception_is_not_taken_for_too_little_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (
            {"micro_batch": 8, "tokens": 4096, "gradient_checkpointing": False},
            "micro_batch = 1 (now 8), gradient_checkpointing = true,"
            ' quantization = "4bit", lower tokens (now 4096)',
        ),
        ({"micro_batch": 1, "tokens": 512, "quantization": "4bit"}, "lower tokens (now 512)"),
    ],
)
def test_the_advice_names_the_options_that_are_not_set_yet(
    options: dict[str, Any], advice: str
) -> None:
    recipe = replace(restore_recipe("some/model", {}), **options)
    assert memory_advice(recipe, "some/model") == f"set in the recipe of some/model: {advice}"
