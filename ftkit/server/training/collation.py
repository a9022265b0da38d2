"""Batches of tokenized sequences with images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from ftkit.server.training.dataset import read_example
from ftkit.server.training.images import decode_images, image_urls
from ftkit.server.training.vision import TEXT_INPUTS, Vision


class ImageCollator(DataCollatorForLanguageModeling):  # type: ignore[misc]
    """Collator of TRL that adds the images, and what else the base model's processor returns.

    The images of a batch are decoded when it is needed. A row has the fields of a `Sequence`.
    """

    def __init__(self, vision: Vision) -> None:
        super().__init__(pad_token_id=vision.tokenizer.pad_token_id)
        self._vision = vision

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return a batch."""
        batch: dict[str, Any] = super().torch_call(examples)
        for name in self._vision.token_inputs:
            batch[name] = batch["input_ids"].new_zeros(batch["input_ids"].shape)
        rows = [index for index, row in enumerate(examples) if row["image_count"]]
        if rows:
            self._add_images(batch, rows, [examples[index] for index in rows])
        return batch

    def _add_images(
        self, batch: dict[str, Any], rows: list[int], examples: list[dict[str, Any]]
    ) -> None:
        """Add the inputs for the examples with images, which are in these rows of the batch."""
        texts = [example["image_prompt"] for example in examples]
        inputs = self._vision.inputs(texts, [_read_images(example) for example in examples])
        for name, values in inputs.items():
            if name in self._vision.token_inputs:
                # Truncation may have cut the text after the images.
                length = min(values.shape[1], batch[name].shape[1])
                batch[name][rows, :length] = values[:, :length]
            elif name not in TEXT_INPUTS:
                batch[name] = values


def _read_images(example: dict[str, Any]) -> list[Any]:
    messages = read_example(Path(example["path"]), example["offset"])["messages"]
    return decode_images(image_urls(messages)[: example["image_count"]])
