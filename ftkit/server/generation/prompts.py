"""Requests for completions, and the prompts that they become."""

from __future__ import annotations

from typing import Any

import torch
from msgspec import Struct

from ftkit.errors import EncodingError
from ftkit.server.generation.base import LoadedBase, LoadedTemplate
from ftkit.server.generation.constraints import Constraint
from ftkit.server.generation.sampling import Settings
from ftkit.server.recipes import Recipe
from ftkit.server.training.messages import Message, template_messages, template_tools


class Request(Struct, eq=False):
    """Request of the service, which `ftkit.server.generation.process` describes."""

    id: str
    base: str
    job: str
    step: int
    recipe: Recipe
    tenant: str = ""
    messages: list[Message] | None = None
    tools: list[dict[str, Any]] = []
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool = True
    response_format: dict[str, Any] | None = None
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
    def usable_tools(self) -> list[dict[str, Any]]:
        """Tools that the model may call."""
        return [] if self.tool_choice == "none" else self.tools

    @property
    def weights(self) -> tuple[str, str, str]:
        """Key of the base model in memory: its name, and how it was loaded."""
        return self.base, self.recipe.quantization, self.recipe.attention


class PromptTooLongError(EncodingError):
    """A prompt that exceeds the context length of the model."""


class Prompt(Struct):
    """Prompt of a request.

    Attributes:
        inputs: Inputs of the model: `input_ids` of the shape (1, tokens), and images.
        max_tokens: Maximum number of tokens of a completion.
        template: Chat template, or None for a text completion.
        constraint: Constraint of the completions, or None.
    """

    inputs: dict[str, Any]
    max_tokens: int
    template: LoadedTemplate | None
    constraint: Constraint | None

    @property
    def ids(self) -> list[int]:
        """Tokens of the prompt."""
        ids: list[int] = self.inputs["input_ids"][0].tolist()
        return ids

    def new_constraint(self) -> Constraint | None:
        """Return the constraint of another completion, or None."""
        return self.constraint.copy() if self.constraint else None

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
    if not length:
        raise EncodingError("the prompt has no tokens")
    available = base.context_length - length
    if available < 1:
        raise _too_long(f"{length:,} tokens", base)
    max_tokens = available if request.max_tokens is None else request.max_tokens
    constraint = _constraint(request, template) if template else None
    return Prompt(inputs, min(max_tokens, available), template, constraint)


def _constraint(request: Request, template: LoadedTemplate) -> Constraint | None:
    """Return the constraint of a request, or None if it has none.

    Raises:
        EncodingError: A schema is not supported, or the constraints contradict each other.
    """
    tools, format = request.usable_tools, request.response_format
    must_call = tools and request.tool_choice != "auto"
    if format and format.get("type") != "text":
        if tools:
            raise EncodingError(
                "response_format cannot be combined with tools that may be called; leave one of"
                " them out, or set tool_choice to none"
            )
        return template.compiler(has_tools=False).compile_format(format)
    if must_call:
        compiler = template.compiler(has_tools=True)
        return compiler.compile_tools(tools, request.tool_choice, request.parallel_tool_calls)
    return None


def _inputs(request: Request, base: LoadedBase, template: LoadedTemplate | None) -> dict[str, Any]:
    if isinstance(request.prompt, list):
        base.check_ids(request.prompt)
        return {"input_ids": torch.tensor([request.prompt])}
    images: list[Any] = []
    if template:
        assert request.messages is not None
        images = base.read_images(request.messages)
        tools = template_tools({"tools": request.usable_tools})
        text = template.chat.prompt(template_messages(request.messages), tools)
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
