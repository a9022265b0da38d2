"""Requests for completions, and the prompts that they become."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from ftkit.errors import EncodingError
from ftkit.server.generation.base import LoadedBase
from ftkit.server.generation.sampling import Settings
from ftkit.server.recipes import Recipe
from ftkit.server.training.messages import Message, template_messages
from ftkit.server.training.template import ChatTemplate


class Request(Struct, eq=False):
    """Request of the service, which `ftkit.server.generation.process` describes."""

    id: str
    base: str
    job: str
    step: int
    recipe: Recipe
    tenant: str = ""
    messages: list[Message] | None = None
    prompt: str | list[int] = ""
    n: int = 1
    max_tokens: int | None = None
    stop: list[str] = []
    logprobs: int | None = None
    echo: bool = False
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[int, float] | None = None

    @property
    def settings(self) -> Settings:
        """Sampling parameters."""
        return Settings(
            self.temperature,
            self.top_p,
            self.seed,
            self.frequency_penalty,
            self.presence_penalty,
            self.logit_bias,
        )

    @property
    def weights(self) -> tuple[str, str, str]:
        """What of a base model in memory depends on the request."""
        return self.base, self.recipe.quantization, self.recipe.attention


class PromptTooLongError(EncodingError):
    """A prompt that exceeds the context length of the model."""


class Prompt(Struct):
    """Prompt of a request.

    Attributes:
        inputs: Inputs of the model: `input_ids` of the shape (1, tokens), and images.
        max_tokens: Maximum number of tokens of a completion.
        template: Chat template, or None for a text completion.
    """

    inputs: dict[str, Any]
    max_tokens: int
    template: ChatTemplate | None

    @property
    def ids(self) -> list[int]:
        """Tokens of the prompt."""
        ids: list[int] = self.inputs["input_ids"][0].tolist()
        return ids

    @property
    def has_images(self) -> bool:
        """True if the inputs have more than tokens."""
        return not self.inputs.keys() <= {"input_ids", "attention_mask"}


def encode(request: Request, base: LoadedBase) -> Prompt:
    """Encode the prompt of a request.

    Raises:
        EncodingError: The chat template cannot express the messages.
        PromptTooLongError: The prompt exceeds the context.
    """
    template = base.template(request.recipe) if request.messages is not None else None
    base.check_ids(list(request.logit_bias or ()))
    inputs = _inputs(request, base, template)
    length = inputs["input_ids"].shape[1]
    available = base.context_length - length
    if available < 1:
        raise _too_long(f"{length:,} tokens", base)
    wanted = available if request.max_tokens is None else request.max_tokens
    return Prompt(inputs, min(wanted, available), template)


def _inputs(request: Request, base: LoadedBase, template: ChatTemplate | None) -> dict[str, Any]:
    if isinstance(request.prompt, list):
        import torch

        base.check_ids(request.prompt)
        return {"input_ids": torch.tensor([request.prompt])}
    images: list[Any] = []
    if template:
        assert request.messages is not None
        images = base.read_images(request.messages)
        text = template.prompt(template_messages(request.messages))
    else:
        tokenizer = base.tokenizer
        text = request.prompt or tokenizer.bos_token or tokenizer.eos_token or ""
    if len(text) > base.max_prompt_characters:
        raise _too_long(f"{len(text):,} characters", base)
    return base.encode(text, images, is_chat=template is not None)


def _too_long(size: str, base: LoadedBase) -> PromptTooLongError:
    return PromptTooLongError(
        f"The prompt has {size}; the context length of this model is {base.context_length:,}"
        " tokens."
    )
