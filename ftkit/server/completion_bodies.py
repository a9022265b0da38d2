"""Request bodies of completions, and their translation for the generation process.

Limits are from OpenAI's API description of 2026-08-21, unless stated otherwise.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from ftkit.server.bodies import NULL, Metadata, Name, read_value
from ftkit.server.errors import InvalidRequestError
from ftkit.server.tools import (
    FunctionChoice,
    Functions,
    NamedTool,
    ResponseFormat,
    Tool,
    ToolChoiceMode,
    Tools,
    format_fields,
    tool_fields,
)
from ftkit.server.unsupported import check_unsupported

MAX_MESSAGES = 2048
"""Maximum number of messages of a chat; a limit of this service."""

MESSAGE_PARTS = 128
"""Maximum number of parts, and of tool calls, of a message; a limit of this service."""

MAX_CHOICES = 128
"""Maximum number of choices of a completion; for several prompts, a limit of this service."""

MAX_LOGIT_BIAS = 1024
"""Maximum number of tokens with a bias; a limit of this service."""

MAX_TOP_LOGPROBS = 20
"""Maximum number of alternatives of each token of a chat completion."""

MAX_TEXT_LOGPROBS = 5
"""Maximum number of alternatives of each token of a text completion."""

MAX_PROMPT_TOKENS = 1 << 20
"""Maximum number of tokens of a prompt that consists of token ids; a limit of this service."""

DEFAULT_MAX_TOKENS = 16
"""Maximum number of tokens of a text completion without `max_tokens`."""

TokenCount = Annotated[int, Meta(ge=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
TokenId = Annotated[str, Meta(pattern=r"\A(0|[1-9][0-9]{0,9})\Z")]
LogitBias = Annotated[
    dict[TokenId, Annotated[float, Meta(ge=-100, le=100)]], Meta(max_length=MAX_LOGIT_BIAS)
]
PromptTokens = Annotated[
    list[Annotated[int, Meta(ge=0, lt=1 << 31)]], Meta(min_length=1, max_length=MAX_PROMPT_TOKENS)
]
PROMPT_START = re.compile(rb"(\[?)\s*(.?)")
"""First characters of a prompt, which tell its type."""
Identifier = Annotated[str, Meta(max_length=512)]
Stop = Annotated[str, Meta(max_length=256)]


class StreamOptions(Struct, forbid_unknown_fields=True):
    """Options of a stream."""

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class CompletionFields(Struct, kw_only=True):
    """Fields that chat and text completions share.

    The fields in `UNSUPPORTED` are not decoded; `check_unsupported` refuses other values than the
    neutral ones.
    """

    model: Name
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    stop: Stop | Annotated[list[Stop], Meta(max_length=4)] | None = None
    seed: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: TokenCount | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: LogitBias | None = None
    user: Identifier | None = None
    service_tier: Annotated[str, Meta(max_length=64)] | None = None

    @property
    def includes_usage(self) -> bool:
        """True if the usage is a chunk of the stream."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def check(self) -> None:
        """Raise `InvalidRequestError` if the fields contradict each other, or are unsupported."""
        check_unsupported(self)
        if self.stream_options and not self.stream:
            message = "'stream_options' is only allowed when 'stream' is true."
            raise InvalidRequestError(message, "stream_options", "invalid_value")

    def sampling_fields(self, max_tokens: int | None) -> dict[str, Any]:
        """Return the fields of a request for the generation process that both endpoints share."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or ()
        optional = {
            "frequency_penalty": self.frequency_penalty or None,
            "presence_penalty": self.presence_penalty or None,
            "logit_bias": self.logit_bias or None,
        }
        return {
            "n": self.n or 1,
            "max_tokens": max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "stop": [stop for stop in stops if stop],
            "seed": self.seed,
            **{name: value for name, value in optional.items() if value is not None},
        }


class ImageUrl(Struct):
    """Image, as a data: URL."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ContentPart(Struct):
    """Part of the content of a message."""

    type: Literal["text", "refusal", "image_url"]
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | UnsetType = UNSET

    def __post_init__(self) -> None:
        if getattr(self, self.type) in (None, UNSET):
            raise ValueError(f"a part of the type `{self.type}` needs its {self.type}")


class FunctionCall(Struct):
    """Function call: name, and arguments as JSON."""

    name: str
    arguments: str


class ToolCall(Struct):
    """Tool call."""

    function: FunctionCall
    id: str | UnsetType = UNSET


class ChatMessage(Struct):
    """Message of a chat, with the fields that chat templates use."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    audio: None = None
    content: str | Annotated[list[ContentPart], Meta(max_length=MESSAGE_PARTS)] | None = None
    refusal: str | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: Annotated[list[ToolCall], Meta(max_length=MESSAGE_PARTS)] | None = None
    function_call: FunctionCall | None = None


class ChatBody(CompletionFields, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/chat/completions`."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: TokenCount | None = None
    metadata: Metadata | None = None
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    tools: Tools | None = None
    tool_choice: ToolChoiceMode | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    # Deprecated by OpenAI for `tools` and `tool_choice`.
    functions: Functions | None = None
    function_call: Literal["none", "auto"] | FunctionChoice | None = None
    # These have no effect on the answer.
    prompt_cache_key: Identifier | None = None
    prompt_cache_options: Raw = NULL
    prompt_cache_retention: Annotated[str, Meta(max_length=64)] | None = None
    safety_identifier: Identifier | None = None
    # See `UNSUPPORTED`.
    audio: Raw = NULL
    modalities: Raw = NULL
    moderation: Raw = NULL
    prediction: Raw = NULL
    reasoning_effort: Raw = NULL
    store: Raw = NULL
    verbosity: Raw = NULL
    web_search_options: Raw = NULL

    def check(self) -> None:
        """Raise `InvalidRequestError` if the fields contradict each other, or are unsupported."""
        super().check()
        if self.max_tokens and self.max_completion_tokens:
            message = "Set only one of 'max_tokens' and 'max_completion_tokens'."
            raise InvalidRequestError(message, "max_tokens", "invalid_parameter_combination")
        if self.top_logprobs and not self.logprobs:
            message = "'top_logprobs' is only allowed when 'logprobs' is true."
            raise InvalidRequestError(message, "top_logprobs", "invalid_value")
        if self.functions and self.tools:
            message = "Set only one of 'functions' and 'tools'."
            raise InvalidRequestError(message, "functions", "invalid_parameter_combination")
        names = {function.name for function in self.functions or ()}
        if isinstance(self.function_call, FunctionChoice) and self.function_call.name not in names:
            message = f"Invalid value for 'function_call': no function '{self.function_call.name}'."
            raise InvalidRequestError(message, "function_call", "invalid_value")

    def request(self) -> dict[str, Any]:
        """Return the request for the generation process.

        Raises:
            InvalidRequestError: The fields contradict each other, or are unsupported.
        """
        self.check()
        return {
            "messages": msgspec.to_builtins(self.messages),
            **self.sampling_fields(self.max_completion_tokens or self.max_tokens),
            **({"logprobs": self.top_logprobs or 0} if self.logprobs else {}),
            **self._tool_fields(),
            **format_fields(self.response_format, "response_format.json_schema"),
        }

    def _tool_fields(self) -> dict[str, Any]:
        if not self.functions:
            return tool_fields(self.tools or [], self.tool_choice, self.parallel_tool_calls)
        choice: ToolChoiceMode | NamedTool | None
        if isinstance(self.function_call, FunctionChoice):
            choice = NamedTool("function", self.function_call)
        else:
            choice = self.function_call
        tools = [Tool("function", function) for function in self.functions]
        return tool_fields(tools, choice, parallel=False)


class CompletionBody(CompletionFields, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/completions`."""

    prompt: Raw
    echo: bool | None = None
    best_of: int | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MAX_TEXT_LOGPROBS)] | None = None
    suffix: Raw = NULL

    def check(self) -> None:
        """Raise `InvalidRequestError` if the fields contradict each other, or are unsupported."""
        super().check()
        if self.best_of not in (None, self.n or 1):
            message = "Unsupported value for 'best_of'. Leave it out, or set it to that of 'n'."
            raise InvalidRequestError(message, "best_of", "unsupported_value")

    def prompts(self) -> list[Any]:
        """Return the prompts, each as text or as token ids; "" is the start of a document.

        Raises:
            InvalidRequestError: The prompts are invalid, or have too many choices.
        """
        start = PROMPT_START.match(bytes(memoryview(self.prompt)[:64]))
        bracket, first = start.groups() if start else (b"", b"")
        if not bracket:
            is_null = bytes(self.prompt) == bytes(NULL)
            return ["" if is_null else read_value(self.prompt, str, "prompt")]
        if first == b'"':
            texts = read_value(self.prompt, list[str], "prompt")
            self._check_choices(len(texts))
            return texts
        if first == b"[":
            encoded = read_value(self.prompt, list[Raw], "prompt")
            self._check_choices(len(encoded))
            return [
                read_value(prompt, PromptTokens, f"prompt[{index}]")
                for index, prompt in enumerate(encoded)
            ]
        return [read_value(self.prompt, PromptTokens, "prompt")]

    def _check_choices(self, prompts: int) -> None:
        choices = prompts * (self.n or 1)
        if choices > MAX_CHOICES:
            message = (
                f"Invalid value for 'prompt': {choices:,} choices; the maximum is {MAX_CHOICES}."
            )
            raise InvalidRequestError(message, "prompt", "invalid_value")

    def requests(self) -> list[dict[str, Any]]:
        """Return a request for the generation process for each prompt.

        Raises:
            InvalidRequestError: The fields contradict each other, or are unsupported.
        """
        self.check()
        fields = self.sampling_fields(self.max_tokens or DEFAULT_MAX_TOKENS)
        if self.logprobs is not None:
            fields["logprobs"] = self.logprobs
        if self.echo:
            fields["echo"] = True
        return [{"prompt": prompt, **fields} for prompt in self.prompts()]
