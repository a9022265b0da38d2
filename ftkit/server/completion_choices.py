"""Choices of chat and text completions: complete ones, and their parts in the chunks of a stream.

`ftkit.server.generation.process` describes the responses from which they are made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct, field

from ftkit.server.logprobs import TextLogprobs, TokenLogprob, chat_logprobs
from ftkit.server.objects import new_id


class GeneratedChoice(Struct):
    """Choice that the generation process is generating, or has generated.

    Attributes:
        index: Number of the choice.
        texts: Parts of the text.
        tool_calls: Name and arguments of each tool call.
        logprobs: Tokens with their log probabilities, or None if they were not requested.
        finish_reason: Reason of the end, or "" before that.
        tokens: Number of generated tokens.
    """

    index: int
    texts: list[str] = field(default_factory=list)
    tool_calls: list[dict[str, str]] = field(default_factory=list)
    logprobs: list[TokenLogprob] | None = None
    finish_reason: str = ""
    tokens: int = 0

    @property
    def text(self) -> str:
        """Text so far."""
        return "".join(self.texts)

    def add(self, response: dict[str, Any]) -> None:
        """Add a response of the process for this choice."""
        if "text" in response:
            self.texts.append(response["text"])
        if response.get("logprobs") is not None:
            self.logprobs = [] if self.logprobs is None else self.logprobs
            self.logprobs += response["logprobs"]
        self.tool_calls += response.get("tool_calls", ())
        if "finish_reason" in response:
            self.finish_reason, self.tokens = response["finish_reason"], response["tokens"]


class ChatChoices:
    """Converter of generated choices to those of a chat completion.

    Args:
        has_functions: The request has `functions`, so that a tool call is a `function_call`.
    """

    def __init__(self, has_functions: bool = False) -> None:
        self._has_functions = has_functions
        self._started = 0  # number of choices that have had a chunk

    def complete(self, choice: GeneratedChoice) -> dict[str, Any]:
        """Return a choice of a complete response."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": choice.text,
            "refusal": None,
            "annotations": [],
        }
        if choice.tool_calls:
            message["content"] = choice.text or None
            message |= self._message_calls(choice.tool_calls)
        return {
            "index": choice.index,
            "message": message,
            "finish_reason": self._finish_reason(choice.finish_reason),
            "logprobs": chat_logprobs(choice.logprobs),
        }

    def chunks(self, response: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the choices of the chunks for a response of the process, each in its own chunk."""
        index = response["index"]
        content = None if "tool_calls" in response else ""
        # OpenAI's SDK needs the first chunks in the order of the choices.
        for number in range(self._started, index + 1):
            yield _delta(number, {"role": "assistant", "content": content, "refusal": None})
        self._started = max(self._started, index + 1)
        if "text" in response:
            logprobs = chat_logprobs(response.get("logprobs"))
            yield {**_delta(index, {"content": response["text"]}), "logprobs": logprobs}
        elif "tool_calls" in response:
            for delta in self._call_deltas(response["tool_calls"]):
                yield _delta(index, delta)
        else:
            finish_reason = self._finish_reason(response["finish_reason"])
            yield {**_delta(index, {}), "finish_reason": finish_reason}

    def _message_calls(self, calls: list[dict[str, str]]) -> dict[str, Any]:
        if self._has_functions:
            return {"function_call": _function(calls[0])}
        return {"tool_calls": [_tool_call(call) for call in calls]}

    def _call_deltas(self, calls: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
        if self._has_functions:
            yield {"function_call": _function(calls[0])}
            return
        for number, call in enumerate(calls):
            yield {"tool_calls": [{"index": number, **_tool_call(call)}]}

    def _finish_reason(self, finish_reason: str) -> str:
        calls_function = self._has_functions and finish_reason == "tool_calls"
        return "function_call" if calls_function else finish_reason


class TextChoices:
    """Converter of generated choices to those of a text completion."""

    def __init__(self) -> None:
        self._logprobs: dict[int, TextLogprobs] = {}

    def complete(self, choice: GeneratedChoice) -> dict[str, Any]:
        """Return a choice of a complete response."""
        return {
            "index": choice.index,
            "text": choice.text,
            "finish_reason": choice.finish_reason,
            "logprobs": TextLogprobs().add(choice.logprobs),
        }

    def chunks(self, response: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the choices of the chunks for a response of the process, each in its own chunk."""
        index = response["index"]
        logprobs = self._logprobs.setdefault(index, TextLogprobs())
        yield {
            "index": index,
            "text": response.get("text", ""),
            "finish_reason": response.get("finish_reason"),
            "logprobs": logprobs.add(response.get("logprobs")),
        }


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": None, "logprobs": None}


def _tool_call(call: dict[str, str]) -> dict[str, Any]:
    return {"id": new_id("call_"), "type": "function", "function": _function(call)}


def _function(call: dict[str, str]) -> dict[str, str]:
    return {"name": call["name"], "arguments": call["arguments"]}
