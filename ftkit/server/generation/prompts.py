"""Requests to the generation process, and their prompts, encoded for the model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from msgspec import Struct, field

from ftkit.errors import EncodingError
from ftkit.server.generation.base import LoadedBase, LoadedTemplate
from ftkit.server.generation.constraints import Constraint
from ftkit.server.generation.sampling import SamplingParameters
from ftkit.server.recipes import Recipe
from ftkit.server.training.messages import Message, template_messages, template_tools


class Request(SamplingParameters, frozen=True, kw_only=True, eq=False):
    """Request of the service, which `ftkit.server.generation.process` describes."""

    id: str
    base: str
    job: str
    step: int
    recipe: Recipe
    tenant: str = ""
    messages: list[Message] | None = None
    tools: list[dict[str, Any]] = field(default_factory=list)
    tool_choice: str | dict[str, Any] = "auto"
    parallel_tool_calls: bool = True
    response_format: dict[str, Any] | None = None
    prompt: str | list[int] = ""
    n: int = 1
    max_tokens: int | None = None
    stop: list[str] = field(default_factory=list)
    logprobs: int | None = None
    echo: bool = False

    @property
    def prompt_param(self) -> str:
        """Name of the parameter with the prompt."""
        return "prompt" if self.messages is None else "messages"

    @property
    def usable_tools(self) -> list[dict[str, Any]]:
        """Tools that the model may call."""
        return [] if self.tool_choice == "none" else self.tools

    @property
    def weights(self) -> tuple[str, str, str]:
        """Key of the weights in memory: the base model and the options of loading it."""
        return self.base, self.recipe.quantization, self.recipe.attention


class ParameterError(EncodingError):
    """A parameter of a request that cannot be used.

    Attributes:
        param: Name of the parameter.
    """

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


class PromptTooLongError(ParameterError):
    """A prompt that exceeds the context length of the model."""


@contextmanager
def _about(param: str) -> Iterator[None]:
    """Raise errors of the block as those of a parameter."""
    try:
        yield
    except ParameterError:
        raise
    except EncodingError as error:
        raise ParameterError(str(error), param) from error


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
        """Return a new constraint for another completion, or None."""
        return self.constraint.copy() if self.constraint else None

    @property
    def has_images(self) -> bool:
        """True if the inputs have more than tokens."""
        return not self.inputs.keys() <= {"input_ids", "attention_mask"}


def encode(request: Request, base: LoadedBase) -> Prompt:
    """Encode the prompt of a request.

    Raises:
        ParameterError: A parameter cannot be used: the chat template cannot express the messages,
            a schema is not supported, or a token is not in the vocabulary.
        PromptTooLongError: The prompt exceeds the context.
    """
    with _about("logit_bias"):
        base.check_ids(list(request.logit_bias or ()))
    with _about(request.prompt_param):
        template = base.template(request.recipe) if request.messages is not None else None
        inputs = _inputs(request, base, template)
    length = inputs["input_ids"].shape[1]
    if not length:
        raise EncodingError("the prompt has no tokens")
    available = base.context_length - length
    if available < 1:
        raise _too_long(request, f"{length:,} tokens", base)
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
    if must_call:
        # The answer has calls only, so a response_format does not apply.
        with _about("tools"):
            compiler = template.compiler(has_tools=True)
            return compiler.compile_tools(tools, request.tool_choice, request.parallel_tool_calls)
    if format and format.get("type") != "text":
        with _about("response_format"):
            if tools:
                raise EncodingError(
                    "response_format cannot be combined with tools that may be called; leave one"
                    " of them out, or set tool_choice to none or required"
                )
            return template.compiler(has_tools=False).compile_format(format)
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
        raise _too_long(request, f"{len(text):,} characters", base)
    return base.encode(text, images, is_chat=template is not None)


def _too_long(request: Request, size: str, base: LoadedBase) -> PromptTooLongError:
    # The words of OpenAI's message, since LiteLLM and others recognize the error by them.
    return PromptTooLongError(
        f"This model's maximum context length is {base.context_length} tokens, and the prompt has"
        f" {size}. Shorten the prompt.",
        request.prompt_param,
    )
