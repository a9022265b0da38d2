"""KV caches: the sequences of a batch join and leave them.

All sequences of a batch end at the same position, so shorter ones have padding on their left:

    . . A A A
    B B B B B

The functions change the layers of a cache of transformers, which have tensors of the shape
(sequences, heads, positions, size of a head), or states of linear attention without positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from transformers.cache_utils import (
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionCacheLayerMixin,
    LinearAttentionLayer,
)

ATTENTION_LAYERS = (DynamicLayer, DynamicSlidingWindowLayer)
"""Types of layers of which a prompt may be computed in parts."""

JOINABLE_LAYERS = (*ATTENTION_LAYERS, LinearAttentionLayer, LinearAttentionAndFullAttentionLayer)
"""Types of layers of which sequences may be joined."""


def can_join(cache: DynamicCache) -> bool:
    """Return True if sequences can be joined to those of a cache."""
    return all(type(layer) in JOINABLE_LAYERS for layer in cache.layers)


def can_split(cache: DynamicCache) -> bool:
    """Return True if a prompt can be computed in parts with a cache."""
    return all(type(layer) in ATTENTION_LAYERS for layer in cache.layers)


def join(cache: DynamicCache, other: DynamicCache) -> None:
    """Append the sequences of another cache of the same model."""
    for layer, other_layer in zip(cache.layers, other.layers, strict=True):
        if _has_keys(layer):
            _join_keys(layer, other_layer)
        if isinstance(layer, LinearAttentionCacheLayerMixin):
            for states, others in zip(_states(layer), _states(other_layer), strict=True):
                for key, state in states.items():
                    if state is not None:
                        states[key] = torch.cat([state, others[key]])


def _join_keys(layer: Any, other: Any) -> None:
    length = max(layer.keys.shape[-2], other.keys.shape[-2])
    layer.keys = torch.cat([_pad(layer.keys, length), _pad(other.keys, length)])
    layer.values = torch.cat([_pad(layer.values, length), _pad(other.values, length)])
    if isinstance(layer, DynamicSlidingWindowLayer):
        layer.cumulative_length = max(layer.cumulative_length, other.cumulative_length)


def _pad(tensor: torch.Tensor, length: int) -> torch.Tensor:
    return torch.nn.functional.pad(tensor, (0, 0, length - tensor.shape[-2], 0))


def keep(cache: DynamicCache, rows: list[int]) -> None:
    """Keep only some sequences, in this order. A row may be repeated."""
    _change(cache, lambda tensor: tensor[rows])


def trim(cache: DynamicCache, count: int) -> None:
    """Remove the first positions, which are padding in all sequences."""
    for layer in cache.layers:
        if not _has_keys(layer):
            continue
        length = layer.keys.shape[-2] - count
        if isinstance(layer, DynamicSlidingWindowLayer):
            layer.cumulative_length -= count
            length = min(layer.keys.shape[-2], layer.cumulative_length)
        start = layer.keys.shape[-2] - length
        layer.keys, layer.values = layer.keys[:, :, start:], layer.values[:, :, start:]


def size(cache: DynamicCache) -> int:
    """Return the size of the tensors in bytes."""
    total = 0

    def count(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal total
        total += tensor.nbytes
        return tensor

    _change(cache, count)
    return total


def _change(cache: DynamicCache, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    for layer in cache.layers:
        if _has_keys(layer):
            layer.keys, layer.values = change(layer.keys), change(layer.values)
        if isinstance(layer, LinearAttentionCacheLayerMixin):
            for states in _states(layer):
                for key, state in states.items():
                    if state is not None:
                        states[key] = change(state)


def _has_keys(layer: Any) -> bool:
    """Return True if a layer has keys and values. Some layers share those of others."""
    return isinstance(layer, DynamicLayer) and layer.is_initialized


def _states(layer: Any) -> Iterator[dict[int, torch.Tensor | None]]:
    yield layer.conv_states
    yield layer.recurrent_states
