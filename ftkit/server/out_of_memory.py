"""Out-of-memory errors: detection, and advice on the recipe."""

from __future__ import annotations

import errno

from ftkit.errors import FtkitError
from ftkit.server.models import SMOKE
from ftkit.server.recipes import Recipe

OUT_OF_MEMORY_TEXTS = (
    "out of memory",  # torch.OutOfMemoryError of CUDA, and RuntimeErrors of CUDA and MPS
    "CUBLAS_STATUS_ALLOC_FAILED",
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",  # on Windows
    "std::bad_alloc",
    "Cannot allocate memory",  # ENOMEM, from libraries in Rust and C++
)
"""Parts of the messages of exceptions that libraries raise when they run out of memory."""


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return True if an exception, or one of its causes, is an out-of-memory error."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        # ftkit's own messages may quote an example.
        is_foreign = not isinstance(error, FtkitError)
        if is_foreign and any(text in str(error) for text in OUT_OF_MEMORY_TEXTS):
            return True
        error = error.__cause__
    return False


def memory_advice(recipe: Recipe, base: str) -> str:
    """Return advice on the options of a recipe that save memory in training.

    Args:
        recipe: Recipe of the base model.
        base: Name of the base model.
    """
    options = []
    if recipe.micro_batch > 1:
        options.append(f"micro_batch = 1 (now {recipe.micro_batch})")
    if not recipe.gradient_checkpointing:
        options.append("gradient_checkpointing = true")
    if recipe.quantization == "none" and base != SMOKE:
        options.append('quantization = "4bit"')
    options.append(f"lower tokens (now {recipe.tokens})")
    return f"set in the recipe of {base}: {', '.join(options)}"
