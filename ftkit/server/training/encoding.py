"""Training examples as token sequences with a loss mask.

Conversations are rendered by the base model's own chat template. The loss covers the completion of
each assistant message whose weight is not 0: everything that the template writes from the end of
the generation prompt to the end of the message.

Some templates render a message differently once others follow, such as those that remove earlier
reasoning. Each assistant message that is affected becomes a sequence of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import takewhile
from typing import Any

from jinja2 import TemplateError
from msgspec import Struct

from ftkit.errors import EncodingError

IGNORED_LABEL = -100
"""Label of tokens that are excluded from the loss: `ignore_index` of PyTorch's cross entropy."""

Span = tuple[int, int]
"""Start and end of a part of a text, in characters."""

TextWithSpans = tuple[str, list[Span]]
"""A text, and the parts of it that the loss covers."""


class Sequence(Struct):
    """Token ids, with a label for each: the id itself, or `IGNORED_LABEL`."""

    input_ids: list[int]
    labels: list[int]


def encode(
    tokenizer: Any, examples: Iterable[dict[str, Any]], format: str, max_tokens: int
) -> tuple[list[Sequence], int]:
    """Tokenize supervised examples.

    Args:
        tokenizer: Tokenizer of the base model.
        examples: Examples of a dataset.
        format: Format of the dataset, "chat" or "completions".
        max_tokens: Length to which sequences are truncated.

    Returns:
        The sequences, and the number of those left out because truncation left nothing to learn.

    Raises:
        EncodingError: The chat template cannot express an example.
    """
    sequences: list[Sequence] = []
    dropped = 0
    for number, example in enumerate(examples, 1):
        try:
            texts = list(
                _chat_texts(tokenizer, example)
                if format == "chat"
                else _completion_texts(tokenizer, example)
            )
        except TemplateError as error:
            raise _template_error(number, error) from error
        except EncodingError as error:
            raise EncodingError(f"example {number}: {error}") from error
        for text in texts:
            sequence = _tokenize(tokenizer, text, max_tokens, add_special_tokens=format != "chat")
            if any(label != IGNORED_LABEL for label in sequence.labels):
                sequences.append(sequence)
            else:
                dropped += 1
    return sequences, dropped


def _template_error(number: int, error: TemplateError) -> EncodingError:
    return EncodingError(
        f"example {number} does not fit the chat template of the base model: {error}"
    )


def _tokenize(
    tokenizer: Any, text_with_spans: TextWithSpans, max_tokens: int, add_special_tokens: bool
) -> Sequence:
    text, spans = text_with_spans
    encoding = tokenizer(
        text,
        add_special_tokens=add_special_tokens,
        return_offsets_mapping=True,
        truncation=False,
    )
    ids = encoding["input_ids"][:max_tokens]
    offsets = encoding["offset_mapping"][:max_tokens]
    labels = [
        id if end > start and _is_covered(start, spans) else IGNORED_LABEL
        for id, (start, end) in zip(ids, offsets, strict=True)
    ]
    return Sequence(ids, labels)


def _is_covered(position: int, spans: list[Span]) -> bool:
    return any(start <= position < end for start, end in spans)


def _completion_texts(tokenizer: Any, example: dict[str, Any]) -> Iterator[TextWithSpans]:
    prompt, completion = example["prompt"], example["completion"]
    text = f"{prompt}{completion}{tokenizer.eos_token or ''}"
    yield text, [(len(prompt), len(text))]


def _chat_texts(tokenizer: Any, example: dict[str, Any]) -> Iterator[TextWithSpans]:
    """Yield the conversation, and each assistant message that later messages would change."""
    messages = template_messages(example["messages"])
    tools = template_tools(example)
    conversation = render(tokenizer, messages, tools)
    spans: list[Span] = []
    separate: list[TextWithSpans] = []
    for index, message in enumerate(example["messages"]):
        if message["role"] != "assistant" or message.get("weight") == 0:
            continue
        prompt = render(tokenizer, messages[:index], tools, add_generation_prompt=True)
        text = render(tokenizer, messages[: index + 1], tools)
        span = (_common_prefix_length(prompt, text), len(text))
        if conversation.startswith(text):
            spans.append(span)
        else:
            separate.append((text, [span]))
    yield from separate
    if spans or not separate:
        yield conversation, spans


def _common_prefix_length(prompt: str, text: str) -> int:
    if text.startswith(prompt):  # the usual case, and much faster
        return len(prompt)
    pairs = zip(prompt, text, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def preference_texts(tokenizer: Any, examples: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    """Render preference examples as the columns `prompt`, `chosen` and `rejected` of TRL.

    Raises:
        EncodingError: The chat template cannot express an example.
    """
    rows = []
    for number, example in enumerate(examples, 1):
        messages = template_messages(example["input"]["messages"])
        tools = template_tools(example["input"])
        try:
            prompt = render(tokenizer, messages, tools, add_generation_prompt=True)
            row = {"prompt": prompt}
            for column, key in (
                ("chosen", "preferred_output"),
                ("rejected", "non_preferred_output"),
            ):
                text = render(tokenizer, [*messages, *template_messages(example[key])], tools)
                row[column] = text[_common_prefix_length(prompt, text) :].rstrip("\n")
        except TemplateError as error:
            raise _template_error(number, error) from error
        rows.append(row)
    return rows


def render(
    tokenizer: Any,
    messages: list[dict[str, Any]],
    tools: list[Any] | None = None,
    add_generation_prompt: bool = False,
) -> str:
    """Render messages with the chat template.

    Args:
        tokenizer: Tokenizer of the base model.
        messages: Messages as returned by `template_messages`.
        tools: Tools as returned by `template_tools`.
        add_generation_prompt: End with the tokens that start an assistant message.

    Raises:
        EncodingError: The base model has no chat template.
        TemplateError: The chat template rejects the messages.
    """
    if not tokenizer.chat_template:
        raise EncodingError(
            "the base model has no chat template; train it on prompts and completions"
        )
    if not messages and add_generation_prompt:
        return ""
    text: str = tokenizer.apply_chat_template(
        messages, tools=tools, add_generation_prompt=add_generation_prompt, tokenize=False
    )
    return text


def template_tools(example: dict[str, Any]) -> list[Any] | None:
    """Return the tools of an example, and its functions as tools, or None if it has neither."""
    functions = [
        {"type": "function", "function": function} for function in example.get("functions") or []
    ]
    return [*(example.get("tools") or []), *functions] or None


def template_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Convert messages of the API to those that chat templates expect.

    Content parts are joined to one text, arguments of calls are parsed, and the roles "developer"
    and "function" become "system" and "tool".

    Raises:
        EncodingError: A message contains an image.
    """
    return [_template_message(message) for message in messages]


def _template_message(message: dict[str, Any]) -> dict[str, Any]:
    role = {"developer": "system", "function": "tool"}.get(message["role"], message["role"])
    converted: dict[str, Any] = {
        "role": role,
        "content": _content_text(message.get("content")) or message.get("refusal") or "",
    }
    calls = [call["function"] for call in message.get("tool_calls") or []]
    calls += [message["function_call"]] if message.get("function_call") else []
    if calls:
        converted["tool_calls"] = [
            {"type": "function", "function": _parse_arguments(call)} for call in calls
        ]
    if message.get("name"):
        converted["name"] = message["name"]
    return converted


def _content_text(content: Any) -> str:
    if not isinstance(content, list):
        return content or ""
    if any("image_url" in part for part in content):
        raise EncodingError("this service does not support images")
    return "".join(part.get("text") or part.get("refusal") or "" for part in content)


def _parse_arguments(call: dict[str, Any]) -> dict[str, Any]:
    try:
        arguments = json.loads(call["arguments"])
    except (ValueError, RecursionError):
        arguments = call["arguments"]
    return {"name": call["name"], "arguments": arguments}
