"""Translation of requests to answering servers, and of their responses.

A chat is sent as training renders it: content parts are joined to one text, messages are adapted to
the chat template, and the variables of the recipe are sent along.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ftkit._text import printable
from ftkit.errors import EncodingError
from ftkit.server.answering import PASSED_ON, RejectedError, UnusableError
from ftkit.server.completion_bodies import ChatBody, CompletionFields
from ftkit.server.errors import (
    InvalidRequestError,
    LimitReachedError,
    ServiceError,
    TooLargeError,
)
from ftkit.server.recipes import TEMPLATE_DEFAULTS
from ftkit.server.responses import END_OF_STREAM, server_sent_event
from ftkit.server.template_facts import TemplateFacts
from ftkit.server.training.adaptation import TemplateFeatures, adapt
from ftkit.server.training.messages import convert_message

SAMPLING_DEFAULTS = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
}
"""Sampling parameters of requests that do not set them, as in the generation process.

vLLM would take them from the `generation_config.json` of the base model.
"""

SEEDS = 1 << 63
"""Number of seeds; vLLM refuses larger ones, and the generation process takes the remainder."""

MAX_MESSAGE = 512
"""Maximum number of characters of an error message that is passed on."""

LOCATION = re.compile(r"\b\w+://[^\s'\"`]*|(?<![\w.:/-])/[\w.~-]+/[^\s'\"`]*")
"""URL, or absolute path with at least one folder."""

DATA_URL = re.compile(r"data:[^;,]*;base64,", re.IGNORECASE)
"""Start of the URL of an embedded image. The server might fetch an image at any other address."""

TOO_LONG = "maximum context length"
"""Part of vLLM's message for prompts that are too long; the `code` of its errors is the status."""

REJECTIONS: dict[int, type[ServiceError]] = {
    413: TooLargeError,
    429: LimitReachedError,
}
"""Exceptions for statuses of rejected requests; `InvalidRequestError` for others."""


class Names(Struct, frozen=True):
    """Names of a model.

    Attributes:
        public: Name in the request.
        base: Its base model.
        upstream: Name at the answering server.
    """

    public: str
    base: str
    upstream: str


def upstream_fields(
    body: CompletionFields,
    requests: list[dict[str, Any]],
    template: dict[str, Any],
    facts: TemplateFacts | None,
) -> dict[str, Any] | None:
    """Return the body of the request to the answering server, or None if it cannot express it.

    Args:
        body: Body of the client's request.
        requests: Its translation for the generation process, one request for each prompt.
        template: Variables of the chat template, from the recipe.
        facts: Facts about the chat template, or None if they cannot be read.
    """
    values = {name: value for name, value in requests[0].items() if value not in (None, [], {})}
    if len(requests) > 1:
        values["prompt"] = [request["prompt"] for request in requests]
    if _is_refused(values):
        return None
    if "seed" in values:
        values["seed"] %= SEEDS
    fields = {**SAMPLING_DEFAULTS, **values, "stream": bool(body.stream)}
    if body.stream:
        fields["stream_options"] = {"include_usage": body.includes_usage}
    return _chat_fields(body, fields, template, facts) if isinstance(body, ChatBody) else fields


def _is_refused(values: dict[str, Any]) -> bool:
    """Return True if vLLM refuses a value that this service accepts."""
    prompt = values.get("prompt")
    prompts = prompt if isinstance(prompt, list) else [prompt]
    return "" in prompts or values.get("top_p") == 0 or values.get("max_tokens") == 0


def _chat_fields(
    body: ChatBody, fields: dict[str, Any], template: dict[str, Any], facts: TemplateFacts | None
) -> dict[str, Any] | None:
    """Return the fields with those of a chat, or None if the server cannot express it."""
    messages = _upstream_messages(fields["messages"])
    if messages is None or body.functions or facts is None or facts.obstacle:
        return None
    if not _supports_tools(messages, "tools" in fields, facts.features):
        return None
    try:
        messages = adapt(messages, replace(facts.features, text_parts=False))
    except EncodingError:
        return None
    if "logprobs" in fields:
        fields |= {"logprobs": True, "top_logprobs": fields["logprobs"]}
    return {
        **fields,
        "messages": messages,
        "chat_template_kwargs": TEMPLATE_DEFAULTS | template,
        "stop_token_ids": facts.end_ids,
    }


def _supports_tools(
    messages: list[dict[str, Any]], has_tools: bool, features: TemplateFeatures
) -> bool:
    """Return True if the template renders all tools and calls; some leave them out silently."""
    calls = max(len(message.get("tool_calls", ())) for message in messages)
    if has_tools or calls or any(message["role"] == "tool" for message in messages):
        return features.tools and (calls <= 1 or features.parallel_tool_calls)
    return True


def _upstream_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Return the messages of a chat, or None if one of them cannot be expressed.

    vLLM needs an id for each tool call, which function calls of the older form do not have, and
    images must be embedded, in messages of the user.
    """
    names: dict[str, str] = {}
    converted = []
    for message in messages:
        calls = message.get("tool_calls") or []
        if message.get("function_call") or message["role"] == "function":
            return None
        if not all("id" in call for call in calls) or not _has_valid_images(message):
            return None
        names |= {call["id"]: call["function"]["name"] for call in calls}
        calls = [{"type": "function", **call} for call in calls]
        converted.append(convert_message(message, _content(message), calls, names))
    return converted


def _content(message: dict[str, Any]) -> str | list[dict[str, Any]]:
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") or part.get("refusal") or "" for part in content]
        if any("image_url" in part for part in content):
            return [
                {"type": "image_url", "image_url": {"url": part["image_url"]["url"]}}
                if "image_url" in part
                else {"type": "text", "text": text}
                for part, text in zip(content, texts, strict=True)
            ]
        content = "".join(texts)
    return content or message.get("refusal") or ""


def _has_valid_images(message: dict[str, Any]) -> bool:
    """Return True if all images of a message are embedded, and the message is of a user."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    urls = [part["image_url"]["url"] for part in parts if "image_url" in part]
    return not urls or (message["role"] == "user" and all(map(DATA_URL.match, urls)))


def public_completion(data: bytes, names: Names) -> dict[str, Any]:
    """Return a complete response with the names of the request.

    Raises:
        UnusableError: It is not a completion.
    """
    value = _decode(data)
    if not isinstance(value.get("choices"), list):
        raise UnusableError("a response has no choices")
    return _with_names(value, names)


async def public_events(lines: AsyncIterator[bytes], names: Names) -> AsyncIterator[bytes]:
    """Yield the events of a stream with the names of the request.

    Args:
        lines: Lines of the response.
        names: Names of the model.

    Raises:
        UnusableError: The connection failed, the stream ends early, or an event has an error.
        RejectedError: An event has an error that is about the request.
    """
    async for line in lines:
        data = line.removeprefix(b"data:").strip()
        if data == line.strip():
            continue  # a blank line or a comment
        if data == b"[DONE]":
            yield END_OF_STREAM
            return
        value = _decode(data)
        if "error" in value:
            raise _event_error(value["error"])
        yield server_sent_event(_with_names(value, names))
    raise UnusableError("a stream ended early")


def _decode(data: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnusableError("a response is not JSON") from error
    if not isinstance(value, dict):
        raise UnusableError("a response is not a JSON object")
    return value


def _with_names(value: dict[str, Any], names: Names) -> dict[str, Any]:
    return {**value, "model": names.public, "system_fingerprint": names.base}


def _event_error(error: Any) -> Exception:
    fields = error if isinstance(error, dict) else {"message": str(error)}
    status = fields.get("code")
    if isinstance(status, int) and status in PASSED_ON:
        return RejectedError(status, fields)
    return UnusableError(f"error in a stream: {fields.get('message')}")


def public_error(error: RejectedError, names: Names) -> ServiceError:
    """Return the error of a response, without the names and addresses of the answering server."""
    text = str(error)[: 2 * MAX_MESSAGE].replace(names.upstream, names.public)
    text = printable(LOCATION.sub("...", text))[:MAX_MESSAGE]
    param, code = (error.fields.get(name) for name in ("param", "code"))
    if TOO_LONG in text:
        code = "context_length_exceeded"
    return REJECTIONS.get(error.status, InvalidRequestError)(
        text,
        param[:MAX_MESSAGE] if isinstance(param, str) else None,
        code[:MAX_MESSAGE] if isinstance(code, str) else None,
    )
