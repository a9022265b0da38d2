"""Base model without its weights: what is needed to encode examples and prompts."""

from __future__ import annotations

import logging
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from msgspec import Struct
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoTokenizer,
    GenerationConfig,
)

from ftkit.errors import EncodingError, ModelLoadError, RecipeError, UsageError
from ftkit.server.models import SMOKE
from ftkit.server.objects import JobError
from ftkit.server.recipes import Recipe
from ftkit.server.training.device import check_recipe, device_memory
from ftkit.server.training.encoding import Encoder
from ftkit.server.training.memory import fitting_tokens
from ftkit.server.training.smoke import build_config, build_tokenizer
from ftkit.server.training.vision import Vision, has_vision, load_vision

REASON_LENGTH = 400
"""Maximum number of characters of a library's error message."""

LOAD_ERRORS = (
    OSError,
    ValueError,
    RuntimeError,
    TypeError,
    LookupError,
    AttributeError,
    ImportError,
    SafetensorError,
    StrictDataclassError,
)
"""Exceptions of transformers for models that are missing, unreadable or unsupported."""

logger = logging.getLogger(__name__)


class BaseModel(Struct, frozen=True):
    """Tokenizer and configuration of a base model.

    Attributes:
        config: Configuration of transformers.
        end_ids: Ids of the tokens that end a completion, by the generation configuration.
        recipe: Recipe of the base model.
        vision: Image input of the base model, or None.
    """

    tokenizer: Any
    config: Any
    end_ids: tuple[int, ...]
    recipe: Recipe
    vision: Vision | None = None

    @property
    def context_length(self) -> int | None:
        """Maximum number of tokens of a sequence, or None if it is not declared."""
        return getattr(self.config.get_text_config(), "max_position_embeddings", None)

    def max_tokens(self, method: str) -> int:
        """Return the length to which the examples of a method are truncated."""
        tokens = self.recipe.tokens
        if tokens == "auto":
            tokens = fitting_tokens(self.config, self.recipe, method, device_memory())
        return min(tokens, self.context_length or tokens)

    def encoder(self, max_tokens: int) -> Encoder:
        """Return the encoder of examples, which are truncated to `max_tokens` tokens."""
        return Encoder(self.tokenizer, max_tokens, self.recipe.template, self.end_ids, self.vision)


def load_base_model(base: str, recipe: Recipe) -> BaseModel:
    """Load the tokenizer, the configuration and the image processor of a base model.

    Raises:
        ModelLoadError: They cannot be loaded.
        RecipeError: This machine lacks something that the recipe needs.
    """
    check_recipe(recipe)
    tokenizer = load_tokenizer(base)
    if base == SMOKE:
        return BaseModel(tokenizer, build_config(tokenizer), (), recipe)
    try:
        config = AutoConfig.from_pretrained(base, trust_remote_code=False)
        _check_architecture(config)
        end_ids = _end_ids(base)
    except LOAD_ERRORS as error:
        raise load_error(base) from error
    vision = load_vision(base, config)
    # The processor adds its tokens to the tokenizer, and may have the chat template.
    tokenizer = vision.tokenizer if vision else tokenizer
    return BaseModel(tokenizer, config, end_ids, recipe, vision)


def _check_architecture(config: Any) -> None:
    """Raise `ValueError` for a model that does not continue texts, such as T5."""
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING and not has_vision(config):
        raise ValueError(
            f"models of the type {config.model_type} do not continue texts; choose a causal"
            " language model"
        )


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


def job_error(error: Exception) -> JobError | None:
    """Return the error with which a job fails for an exception, or None for an unexpected one.

    The reason why a base model cannot be loaded is logged, since clients do not see it.
    """
    if isinstance(error, EncodingError):
        return JobError("invalid_training_file", str(error), "training_file")
    if isinstance(error, ModelLoadError):
        logger.warning("%s (%s)", error, load_reason(error))
        return JobError("model_not_available", str(error), "model")
    if isinstance(error, RecipeError):
        return JobError("unsupported_recipe", str(error), "model")
    return None


def operator_error(base: str, error: ModelLoadError) -> UsageError:
    """Return the error for the operator of the machine, with the reason that `load_error` hides."""
    return UsageError(f"the base model {base} cannot be loaded: {load_reason(error)}")


def load_reason(error: Exception) -> str:
    """Return the reason of an error in one line, for those who may know it."""
    return " ".join(str(error.__cause__ or error).split())[:REASON_LENGTH]
