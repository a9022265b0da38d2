"""Tiny random models of the architectures that are recommended as base models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.chat_templates import create_tokenizer

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": None,
}
HEAD = {"head_dim": 16}
VISION = {"hidden_size": 32, "intermediate_size": 64}


def build_text_model(architecture: str, folder: Path) -> None:
    """Save a model of an architecture and its tokenizer."""
    import torch

    template, build = ARCHITECTURES[architecture]
    tokenizer = create_tokenizer(template)
    torch.manual_seed(0)
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    build({**SIZES, "vocab_size": len(tokenizer), **ids}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _qwen3_5(sizes: dict[str, Any]) -> Any:
    """A model with vision and linear attention, here without its image processor."""
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    linear = {
        "layer_types": ["linear_attention", "full_attention"],
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
    }
    vision = {**VISION, "depth": 1, "num_heads": 2, "out_hidden_size": sizes["hidden_size"]}
    config = Qwen3_5Config(text_config={**sizes, **HEAD, **linear}, vision_config=vision)
    return Qwen3_5ForConditionalGeneration(config)


def _gemma4(sizes: dict[str, Any]) -> Any:
    from transformers import Gemma4Config, Gemma4ForConditionalGeneration

    text = {"vocab_size_per_layer_input": sizes["vocab_size"], "hidden_size_per_layer_input": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "global_head_dim": 16}
    config = Gemma4Config(
        text_config={**sizes, **HEAD, **text},
        vision_config={**VISION, **HEAD, **heads, "num_hidden_layers": 1},
        audio_config=None,
    )
    return Gemma4ForConditionalGeneration(config)


def _gpt_oss(sizes: dict[str, Any]) -> Any:
    """A mixture of experts, whose attention PyTorch's kernel does not support."""
    from transformers import GptOssConfig, GptOssForCausalLM

    experts = {"num_local_experts": 4, "num_experts_per_tok": 2}
    return GptOssForCausalLM(GptOssConfig(**sizes, **HEAD, **experts))


def _olmo3(sizes: dict[str, Any]) -> Any:
    from transformers import Olmo3Config, Olmo3ForCausalLM

    return Olmo3ForCausalLM(Olmo3Config(**sizes))


def _smollm3(sizes: dict[str, Any]) -> Any:
    from transformers import SmolLM3Config, SmolLM3ForCausalLM

    return SmolLM3ForCausalLM(SmolLM3Config(**sizes))


ARCHITECTURES = {
    "Qwen/Qwen3.5": ("qwen3_5_nothink", _qwen3_5),
    "google/gemma-4": ("gemma4", _gemma4),
    "openai/gpt-oss": ("gptoss", _gpt_oss),
    "allenai/Olmo-3": ("olmo3", _olmo3),
    "HuggingFaceTB/SmolLM3": ("smollm3", _smollm3),
}
"""Chat template and builder of each architecture, by the start of the base models' names."""
