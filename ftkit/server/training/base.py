"""Base model without its weights: what is needed to encode examples and prompts."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from ftkit.errors import ModelLoadError
from ftkit.server.models import SMOKE
from ftkit.server.training.encoding import Encoder
from ftkit.server.training.recipes import Recipe
from ftkit.server.training.smoke import CONTEXT_LENGTH, build_tokenizer
from ftkit.server.training.vision import Vision, load_vision

REASON_LENGTH = 400
"""Maximum number of characters of a library's error message."""

LOAD_ERRORS = (OSError, ValueError, RuntimeError)
"""Exceptions of transformers for models that are missing, unreadable or unsupported."""


class BaseModel(Struct, frozen=True):
    """Tokenizer and configuration of a base model.

    Attributes:
        context_length: Maximum number of tokens of a sequence, or None if it is not declared.
        end_ids: Ids of the tokens that end a completion, by the generation configuration.
        vision: Image input of the base model, or None.
    """

    tokenizer: Any
    context_length: int | None
    end_ids: tuple[int, ...]
    vision: Vision | None = None

    def max_tokens(self, recipe: Recipe) -> int:
        """Return the length to which examples are truncated."""
        return min(recipe.tokens, self.context_length or recipe.tokens)

    def encoder(self, recipe: Recipe) -> Encoder:
        """Return the encoder of examples."""
        return Encoder(
            self.tokenizer, self.max_tokens(recipe), recipe.template, self.end_ids, self.vision
        )


def load_base_model(base: str) -> BaseModel:
    """Load the tokenizer, the configuration and the image processor of a base model.

    Raises:
        ModelLoadError: They cannot be loaded.
    """
    tokenizer = load_tokenizer(base)
    if base == SMOKE:
        return BaseModel(tokenizer, CONTEXT_LENGTH, ())
    try:
        config = AutoConfig.from_pretrained(base, trust_remote_code=False)
    except LOAD_ERRORS as error:
        raise load_error(base) from error
    context_length = getattr(config.get_text_config(), "max_position_embeddings", None)
    vision = load_vision(base, config)
    # The processor adds its tokens to the tokenizer, and may have the chat template.
    tokenizer = vision.tokenizer if vision else tokenizer
    return BaseModel(tokenizer, context_length, _end_ids(base), vision)


def load_tokenizer(base: str) -> Any:
    """Load the tokenizer of a base model.

    Raises:
        ModelLoadError: It cannot be loaded.
    """
    if base == SMOKE:
        return build_tokenizer()
    try:
        tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    except LOAD_ERRORS as error:
        raise load_error(base) from error
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer


def _end_ids(base: str) -> tuple[int, ...]:
    try:
        ids = GenerationConfig.from_pretrained(base).eos_token_id
    except OSError:  # there is none
        return ()
    return tuple(ids) if isinstance(ids, list) else () if ids is None else (ids,)


def load_error(base: str) -> ModelLoadError:
    """Return the error for a base model that cannot be loaded; its cause is the reason."""
    # One text for all causes: clients must not learn which folders and private models exist.
    return ModelLoadError(
        f"the base model {base} cannot be loaded: no complete model of that name, with safetensors"
        " and a supported architecture, is available to this service; its log has the reason"
    )


def load_reason(error: ModelLoadError) -> str:
    """Return the reason of an error in one line, for those who may know it."""
    return " ".join(str(error.__cause__ or error).split())[:REASON_LENGTH]
