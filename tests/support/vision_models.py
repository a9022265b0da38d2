"""Tiny random models with image input, as folders like those of the Hugging Face hub."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from support.chat_templates import create_tokenizer

CONTEXT_LENGTH = 512

TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT_LENGTH,
    "bos_token_id": None,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
"""Sizes of the language model and of the vision tower."""


def build_vision_model(name: str, folder: Path) -> Path:
    """Save a model by the name of its chat template: "qwen2_5_vl", "idefics3" or "gemma3"."""
    import torch

    torch.manual_seed(0)
    model = {"qwen2_5_vl": _qwen, "idefics3": _idefics, "gemma3": _gemma}[name](folder)
    with torch.no_grad():
        # The image is a part of what the untrained model sees, as it is for a real one.
        for weights in model.parameters():
            if weights.dim() >= 2:
                fan_in = weights[0].numel()
                weights.normal_(0, fan_in**-0.5)
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder)
    return folder


def _qwen(folder: Path) -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )

    tokenizer = create_tokenizer("qwen2_5_vl")
    tokenizer.save_pretrained(folder)
    # A real folder has the configuration of a video processor, too, which needs torchvision.
    Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=16 * 28 * 28).save_pretrained(folder)
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]}
    config = Qwen2_5_VLConfig(
        text_config={
            **TEXT,
            "vocab_size": len(tokenizer),
            "rope_parameters": rope,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "num_heads": 2,
            "intermediate_size": 64,
            "out_hidden_size": TEXT["hidden_size"],
            "fullatt_block_indexes": [1],
            "window_size": 56,
        },
        **ids,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def _idefics(folder: Path) -> Any:
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import (
        Idefics3ImageProcessorPil,
    )

    images = Idefics3ImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}
    )
    tokenizer = create_tokenizer("idefics3")
    template = tokenizer.chat_template
    processor = Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=template)
    processor.save_pretrained(folder)
    config = Idefics3Config(
        image_token_id=processor.image_token_id,
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
        vision_config={**VISION, "image_size": 32, "patch_size": 8},
        text_config={
            **TEXT,
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
    )
    return Idefics3ForConditionalGeneration(config)


def _gemma(folder: Path) -> Any:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    tokenizer = create_tokenizer(
        "gemma3",
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
        image_token="<image_soft_token>",
    )
    images = Gemma3ImageProcessorPil(size={"height": 32, "width": 32})
    template = tokenizer.chat_template
    processor = Gemma3Processor(images, tokenizer, template, image_seq_length=4)
    processor.save_pretrained(folder)
    config = Gemma3Config(
        text_config={
            **TEXT,
            "vocab_size": len(tokenizer),
            "head_dim": 16,
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={**VISION, "image_size": 32, "patch_size": 8},
        mm_tokens_per_image=4,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
    )
    return Gemma3ForConditionalGeneration(config)


def image_bytes(color: Any, size: tuple[int, int] = (56, 56), format: str = "PNG") -> bytes:
    """Return the file of an image of one color."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, format)
    return file.getvalue()


def data_url(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def image_part(data: bytes, media_type: str = "image/png") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_url(data, media_type)}}


def color_question(color: Any, text: str = "Which color?") -> list[dict[str, Any]]:
    content = [image_part(image_bytes(color)), {"type": "text", "text": text}]
    return [{"role": "user", "content": content}]


def color_example(color: Any, answer: str) -> dict[str, Any]:
    return {"messages": [*color_question(color), {"role": "assistant", "content": answer}]}
