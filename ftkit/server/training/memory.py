"""Estimated memory of training, and the longest sequences that fit."""

from __future__ import annotations

from typing import Any

import torch
from msgspec import Struct

from ftkit.server.recipes import Recipe
from ftkit.server.training.device import compute_dtype, device
from ftkit.server.training.vision import model_class

OVERHEAD = 512 << 20
"""Bytes that the libraries take."""

USABLE = 0.9
"""Share of the memory of the device that training may use."""

QUANTIZED_BYTES = 0.6
"""Bytes per weight in 4 bits, with the constants of quantization."""

ADAPTER_BYTES = 16
"""Bytes per weight of an adapter: value, gradient and both moments of AdamW in float32."""

ACTIVATION_BYTES = 11
"""Bytes per input and output of a linear layer with an adapter, for each token."""

MASK_BYTES = 4
"""Bytes per element of the attention mask of a padded batch.

The scores are not counted: only eager attention stores them.
"""

HEAD_BYTES = {"cpu": 33, "mps": 33, "cuda": 8}
"""Bytes per logit of TRL's chunked loss."""

HEAD_TOKENS, HEAD_LOGITS = 4096, 32768
"""Size of a chunk of that loss in tokens and in logits per token, in TRL 1.16."""

STEP = 64
"""Limits on the length of sequences are multiples of this number of tokens."""

MIN_TOKENS = 256
"""Lowest limit; training may still run out of memory, which is reported."""

MAX_TOKENS = 1 << 20
"""Highest limit, beyond the context of any base model."""


class Footprint(Struct, frozen=True):
    """Sizes of a base model that its memory in training depends on.

    Attributes:
        weights: Number of weights.
        layers: Number of transformer layers.
        hidden: Size of a hidden state.
        vocabulary: Number of logits.
        connections: Sum of inputs and outputs of the linear layers.
    """

    weights: int
    layers: int
    hidden: int
    vocabulary: int
    connections: int


def measure_footprint(config: Any) -> Footprint:
    """Return the sizes of a base model, which is built without its weights."""
    with torch.device("meta"):
        model = model_class(config).from_config(config, trust_remote_code=False)
    head = model.get_output_embeddings()
    linear = [
        module
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    ]
    text = config.get_text_config()
    return Footprint(
        weights=model.num_parameters(),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        vocabulary=text.vocab_size,
        connections=sum(module.in_features + module.out_features for module in linear),
    )


def training_bytes(model: Footprint, recipe: Recipe, method: str, tokens: int) -> float:
    """Return an estimate of the memory that training takes, in bytes.

    `benchmarks/gpu.py` compares it with what training took.

    Args:
        model: Sizes of the base model.
        recipe: Recipe of the base model.
        method: "supervised", or "dpo", which passes two sequences for each example.
        tokens: Length of the sequences.
    """
    width = compute_dtype().itemsize
    batch = min(recipe.micro_batch, recipe.batch_size) * (2 if method == "dpo" else 1)
    weights = model.weights * (QUANTIZED_BYTES if recipe.quantization == "4bit" else width)
    adapters = model.connections * recipe.rank * ADAPTER_BYTES
    layer = batch * tokens * model.connections / model.layers * ACTIVATION_BYTES
    if recipe.gradient_checkpointing:
        layers = 2 * layer + model.layers * batch * tokens * model.hidden * width
    else:
        layers = model.layers * layer
    logits: int = min(batch * tokens, HEAD_TOKENS) * min(model.vocabulary, HEAD_LOGITS)
    mask = batch * tokens**2 * MASK_BYTES
    return float(OVERHEAD + weights + adapters + layers + mask + logits * HEAD_BYTES[device()])


def fitting_tokens(config: Any, recipe: Recipe, method: str, memory: int) -> int:
    """Return the length in tokens of the longest sequences that fit into the memory in training.

    Args:
        config: Configuration of the base model.
        recipe: Recipe of the base model.
        method: "supervised" or "dpo".
        memory: Memory of the device in bytes.
    """
    model, available = measure_footprint(config), memory * USABLE
    low, high = MIN_TOKENS // STEP, MAX_TOKENS // STEP
    while low < high:
        middle = (low + high + 1) // 2
        if training_bytes(model, recipe, method, middle * STEP) <= available:
            low = middle
        else:
            high = middle - 1
    return low * STEP
