"""Examples with images as token sequences and batches, for several architectures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftkit.errors import EncodingError
from ftkit.server.recipes import builtin_recipes
from support.fixture_types import Write
from support.training import encode_jsonl
from support.vision_models import (
    build_vision_model,
    color_example,
    color_question,
    image_bytes,
    image_part,
)

pytestmark = pytest.mark.training

LEADS = {"qwen2_5_vl": "", "idefics3": " ", "gemma3": ""}
ENDS = {
    "qwen2_5_vl": "<|im_end|>",
    "idefics3": "<end_of_utterance>",
    "gemma3": "<end_of_turn>",
}
"""Text before an answer, and end of turn, by chat template."""


class Base:
    """A base model without its weights, and its encoder."""

    def __init__(self, name: str, folder: Path, tokens: int = 512) -> None:
        from ftkit.server.training.base import load_base_model
        from ftkit.server.training.encoding import Encoder

        self.name, self.folder = name, folder
        self.model = load_base_model(str(folder), builtin_recipes().find(str(folder)))
        self.vision, self.tokenizer = self.model.vision, self.model.tokenizer
        self.encoder = Encoder(self.tokenizer, tokens, vision=self.vision)

    def with_limit(self, tokens: int) -> Base:
        return Base(self.name, self.folder, tokens)

    def encode(self, example: dict[str, Any]) -> list[Any]:
        return self.encoder.encode(example, "chat")

    def learned(self, sequence: Any) -> str:
        return self.tokenizer.decode([label for label in sequence.labels if label != -100])

    def answer(self, text: str) -> str:
        return LEADS[self.name] + text + ENDS[self.name]


@pytest.fixture(scope="module", params=["qwen2_5_vl", "idefics3", "gemma3"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = tmp_path_factory.mktemp("base") / request.param
    return Base(request.param, build_vision_model(request.param, folder))


def collate(base: Base, path: Path) -> dict[str, Any]:
    from ftkit.server.training.collation import ImageCollator
    from ftkit.server.training.dataset import encode_file

    file = encode_file(path, base.encoder, "chat")
    assert not file.refused
    return ImageCollator(base.vision)(list(map(to_row, file.encoded)))


def to_row(sequence: Any) -> dict[str, Any]:
    from msgspec.structs import asdict

    return asdict(sequence)


def test_the_prompt_is_what_the_processor_itself_writes(base: Base) -> None:
    from ftkit.server.training.images import decode_images, image_urls

    messages = color_question("red")
    (image,) = decode_images(image_urls(messages))
    content = [{"type": "image", "image": image}, messages[0]["content"][1]]
    expected = base.vision.processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
    )["input_ids"][0]
    (sequence,) = base.encode(color_example("red", "Red it is."))
    assert sequence.input_ids[: len(expected)] == list(expected)
    assert base.vision.has_features(sequence.input_ids)
    assert base.tokenizer.decode(sequence.input_ids[len(expected) :]) == base.answer("Red it is.")
    assert base.learned(sequence) == base.answer("Red it is.")


def test_each_answer_of_a_conversation_is_learned_after_the_images_before_it(base: Base) -> None:
    messages = [
        *color_question("red"),
        {"role": "assistant", "content": "Red."},
        {"role": "user", "content": "Really?"},
        {"role": "assistant", "content": "No.", "weight": 0},
        *color_question("blue"),
        {"role": "assistant", "content": "Blue."},
        *color_question("green"),
    ]
    sequences = base.encode({"messages": messages})
    # The tokenizer joins the end of Idefics' prompts with the answers that follow them.
    assert len(sequences) == (2 if base.name == "idefics3" else 1)
    assert sequences[-1].image_count == 2
    learned = "".join(map(base.learned, sequences))
    assert learned == base.answer("Red.") + base.answer("Blue.")


def test_a_system_message_is_a_part_of_the_prompt(base: Base) -> None:
    system = {"role": "system", "content": "Be kind."}
    (sequence,) = base.encode({"messages": [system, *color_example("red", "Red.")["messages"]]})
    assert "Be kind." in base.tokenizer.decode(sequence.input_ids)
    assert base.learned(sequence) == base.answer("Red.")


def test_an_answer_may_be_cut_and_images_may_not(base: Base) -> None:
    example = color_example("red", "Red, " * 100)
    (whole,) = base.with_limit(10_000).encode(example)
    last_image = max(n for n, id in enumerate(whole.input_ids) if base.vision.has_features([id]))
    (cut,) = base.with_limit(len(whole.input_ids) - 50).encode(example)
    assert (cut.cut, cut.image_count) == (50, 1)
    with pytest.raises(EncodingError, match=r"images are not within the limit of \d+ tokens"):
        base.with_limit(last_image).encode(example)
    (sequence,) = base.with_limit(last_image + 1).encode(example)
    assert not sequence.is_learned


def test_a_batch_has_the_images_of_its_rows(base: Base, write: Write) -> None:
    both = [{"type": "text", "text": "Same?"}, *(image_part(image_bytes("red", (80, 56))),) * 2]
    answer = {"role": "assistant", "content": "Yes."}
    text_only = {"messages": [{"role": "user", "content": "Hello there " * 30}, answer]}
    two = {"messages": [{"role": "user", "content": both}, answer]}
    examples = [text_only, color_example("red", "Red."), two]
    batch = collate(base, write(encode_jsonl(examples)))
    assert {"pixel_values", "attention_mask", *base.vision.token_inputs} <= set(batch)
    assert all(len(batch[name]) == 3 for name in ("input_ids", "labels", "attention_mask"))
    for row, example in enumerate(examples):
        (sequence,) = base.encode(example)
        length = len(sequence.input_ids)
        assert batch["input_ids"][row, :length].tolist() == sequence.input_ids
        assert batch["labels"][row, :length].tolist() == sequence.labels
        assert batch["attention_mask"][row].sum() == length
        for name in base.vision.token_inputs:
            features = [int(base.vision.has_features([id])) for id in sequence.input_ids]
            assert batch[name][row, :length].tolist() == features


def test_a_batch_of_texts_needs_no_images(base: Base, write: Write) -> None:
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes."}]
    batch = collate(base, write(encode_jsonl([{"messages": messages}] * 2)))
    assert "pixel_values" not in batch
    assert all(not batch[name].any() for name in base.vision.token_inputs)


def test_the_features_of_a_batch_match_its_tokens(base: Base, write: Write) -> None:
    import torch

    from ftkit.server.training.loading import load_base

    text_only = {
        "messages": [
            {"role": "user", "content": "Hello there"},
            {"role": "assistant", "content": "Yes."},
        ]
    }
    examples = [text_only, color_example("red", "R."), color_example("blue", "R.")]
    model = load_base(str(base.folder)).train()
    with torch.no_grad():
        logits = model(**collate(base, write(encode_jsonl(examples)))).logits
        alone = model(**collate(base, write(encode_jsonl(examples[2:])))).logits
    assert torch.allclose(logits[2, : alone.shape[1]], alone[0], atol=1e-4)
    assert not torch.allclose(logits[1, : alone.shape[1]], alone[0], atol=1e-2)
