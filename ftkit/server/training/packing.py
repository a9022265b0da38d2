"""Check that a model keeps the sequences of a packed batch apart."""

from __future__ import annotations

from typing import Any

import torch

from ftkit.errors import RecipeError

CHECKED_TOKENS = 64
"""Number of tokens of each sequence that is compared."""

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
"""Maximum difference of the logits, relative to their norm, by the data type of the model."""


def check_packing(model: Any, first: list[int], second: list[int]) -> None:
    """Compare the logits of a sequence alone with those after another one.

    Attention is limited to a sequence by the position ids, which some kinds of layers ignore
    (such as linear attention without its kernels): these would learn from unrelated examples.

    Args:
        model: The model to train.
        first: Token ids of a sequence.
        second: Token ids of the sequence that follows.

    Raises:
        RecipeError: The logits differ.
    """
    first, second = first[:CHECKED_TOKENS], second[:CHECKED_TOKENS]
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        alone = _logits(model, [second])
        packed = _logits(model, [first, second])[len(first) :]
    model.train(was_training)
    difference = (torch.linalg.norm(packed - alone) / torch.linalg.norm(alone)).item()
    if not difference <= TOLERANCE.get(model.dtype, TOLERANCE[torch.bfloat16]):
        raise RecipeError(
            "packing = true would mix the examples of a batch, since this base model does not keep"
            " packed sequences apart; set packing = false in the recipe"
        )


def _logits(model: Any, sequences: list[list[int]]) -> torch.Tensor:
    """Return the logits of packed sequences, of shape (tokens, vocabulary), in float32."""
    ids = torch.tensor([[id for sequence in sequences for id in sequence]])
    positions = torch.tensor([[index for sequence in sequences for index in range(len(sequence))]])
    inputs = {"input_ids": ids.to(model.device), "position_ids": positions.to(model.device)}
    logits: torch.Tensor = model(**inputs, use_cache=False).logits[0]
    return logits.float()
