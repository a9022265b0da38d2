"""Image input of base models, with the processors of transformers.

The text of a prompt has one placeholder for each image. The processor of the base model replaces it
with the tokens whose embeddings become the features of the image.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path
from typing import Any

from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
)
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils import cached_file

from ftkit.errors import EncodingError
from ftkit.server.training.images import decode_images, image_urls
from ftkit.server.training.messages import Message

TEXT_INPUTS = ("input_ids", "attention_mask")
"""Inputs that models without vision have, too."""

PROCESSOR_FILES = (
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "chat_template.json",
)
"""Files of a processor, of which a base model has some, besides those of its tokenizer."""

LOAD_ERRORS = (OSError, ValueError, RuntimeError, ImportError)
"""Exceptions of transformers for processors that are missing, or need a missing package."""

logger = logging.getLogger(__name__)


class Vision:
    """Image input of a base model.

    Args:
        processor: Processor of transformers, with a tokenizer and an image processor.
        feature_ids: Ids of the tokens that the model replaces with features of images.

    Attributes:
        processor: The processor.
        tokenizer: Its tokenizer, with the chat template of the base model.
        token: Placeholder of an image in the text of a prompt.
        feature_token: Token that is replaced with a part of an image's features.
        token_inputs: Names of the inputs with a value for each token, besides `TEXT_INPUTS`.
    """

    def __init__(self, processor: Any, feature_ids: set[int]) -> None:
        self.processor, self.tokenizer = processor, processor.tokenizer
        self.token: str = processor.image_token
        self._placeholder_id: int = processor.image_token_id
        self._feature_ids = feature_ids
        self.feature_token: str = self.tokenizer.convert_ids_to_tokens(min(feature_ids))
        self.token_inputs = [name for name in processor(text=["a"]) if name not in TEXT_INPUTS]

    def inputs(self, texts: list[str], images: list[list[Any]]) -> dict[str, Any]:
        """Return the model's inputs for prompts with images, padded to the right.

        Args:
            texts: Prompts, with a placeholder for each image.
            images: Images of each prompt; at least one.

        Raises:
            EncodingError: The processor refuses an image.
        """
        try:
            inputs = self.processor(
                text=texts,
                images=images,
                add_special_tokens=False,
                padding=True,
                padding_side="right",
                return_tensors="pt",
            )
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise EncodingError(f"the base model's image processor says: {error}") from error
        return dict(inputs)

    def check_size(self, images: list[Any], max_tokens: int) -> None:
        """Check that the tokens of several images do not exceed a limit.

        The images are processed one at a time: all of them together could take too much memory.

        Raises:
            EncodingError: They exceed it, or the processor refuses an image.
        """
        tokens = 0
        for image in images if len(images) > 1 else ():
            tokens += self.inputs([self.token], [[image]])["input_ids"].shape[1]
            if tokens > max_tokens:
                raise EncodingError(f"the images exceed the limit of {max_tokens:,} tokens")

    def check_placeholders(self, ids: list[int], images: int) -> None:
        """Check that a text has a placeholder for each image, and no other token of images.

        Args:
            ids: Token ids of the text, before the placeholders are expanded.
            images: Number of images.

        Raises:
            EncodingError: The chat template writes no images, or a text contains such a token.
        """
        placeholders = ids.count(self._placeholder_id)
        if placeholders < images:
            raise EncodingError("the base model's chat template leaves out an image")
        others = self._feature_ids - {self._placeholder_id}
        if placeholders > images or not others.isdisjoint(ids):
            raise EncodingError(
                f"a text contains a token that stands for an image, such as {self.token}; remove it"
            )

    def has_features(self, ids: list[int]) -> bool:
        """Return True if some of the tokens are replaced with features of images."""
        return not self._feature_ids.isdisjoint(ids)


def read_images(messages: list[Message], vision: Vision | None) -> list[Any]:
    """Decode the images in messages of the API.

    Raises:
        EncodingError: There are images and the base model has no image input, or one of them
            cannot be decoded.
    """
    urls = image_urls(messages)
    if urls and vision is None:
        raise EncodingError("the base model does not support images")
    return decode_images(urls)


def has_vision(config: Any) -> bool:
    """Return True if transformers joins image input to a language model of this configuration."""
    has_language_model = config.get_text_config() is not config
    return has_language_model and type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING


def model_class(config: Any) -> Any:
    """Return the class of transformers that loads a model of this configuration."""
    return AutoModelForImageTextToText if has_vision(config) else AutoModelForCausalLM


def load_vision(base: str, config: Any) -> Vision | None:
    """Load the image input of a base model.

    Returns:
        The image input, or None if the base model has none, or one that is not supported. The log
        has the reason.
    """
    if not has_vision(config):
        return None
    try:
        processor = _load_processor(base, config)
    except LOAD_ERRORS as error:
        logger.warning("%s is used without images: %s", base, error)
        return None
    if not _is_supported(processor):
        logger.warning("%s is used without images: its processor is not supported", base)
        return None
    tokenizer = processor.tokenizer
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.chat_template = processor.chat_template or tokenizer.chat_template
    ids = (getattr(config, name, None) for name in ("image_token_id", "image_token_index"))
    return Vision(processor, {id for id in ids if id is not None} or {processor.image_token_id})


def _is_supported(processor: Any) -> bool:
    """Return True if a processor replaces placeholders with tokens for features of images.

    Llama 3.2 Vision attends to images through layers of their own instead.
    """
    names = ("image_processor", "image_token", "image_token_id")
    has_tokens = all(getattr(processor, name, None) is not None for name in names)
    return has_tokens and "cross_attention_mask" not in processor.model_input_names


def _load_processor(base: str, config: Any) -> Any:
    try:
        return AutoProcessor.from_pretrained(base, trust_remote_code=False)
    except LOAD_ERRORS:
        # Video processors need torchvision, which has to match the build of PyTorch.
        processor_class = PROCESSOR_MAPPING.get(type(config), None)
        if processor_class is None or "video_processor" not in processor_class.get_attributes():
            raise
        return _without_videos(processor_class).from_pretrained(base, trust_remote_code=False)


def _without_videos(processor_class: Any) -> Any:
    """Return a class of processors that do without their video processor, the last attribute."""

    class ImageProcessorOnly(processor_class):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in super().get_attributes() if name != "video_processor"]

    ImageProcessorOnly.__name__ = processor_class.__name__
    return ImageProcessorOnly


def copy_processor(base: str, folder: Path) -> None:
    """Copy the files of a base model's processor to a folder, if it has any."""
    for name in PROCESSOR_FILES:
        with contextlib.suppress(OSError):  # the base model has no such file
            shutil.copy(cached_file(base, name), folder / name)
