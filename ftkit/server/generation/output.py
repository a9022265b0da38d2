"""Output of one sequence: its text as it is generated, tool calls and log probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from ftkit.server.generation.call_readers import ParsedCall
from ftkit.server.generation.content import ContentFilter
from ftkit.server.generation.sampling import TokenProbabilities
from ftkit.server.generation.streaming import IncrementalDecoder, LeadFilter, StopSequences
from ftkit.server.generation.tool_calls import ToolCallParser
from ftkit.server.generation.tool_format import ToolFormat

PROMPT_LOGPROBS = 1024
"""Number of tokens of a prompt whose probabilities are one response, of about 1 MB at most."""

Send = Callable[..., None]
"""Sends the keyword arguments as a response."""


class OutputFormat(Struct, frozen=True):
    """Format of the output of a request.

    Attributes:
        tokenizer: Tokenizer of the model.
        stops: Stop sequences.
        end_ids: Tokens that end a completion and are not part of it.
        token_bytes: Returns the bytes of a token, or None without log probabilities.
        lead: Text before an answer, which is removed.
        lead_ids: Tokens before an answer, which are removed.
        tools: Tools that may be called.
        tool_format: Format of the calls, or None if there are no tools.
        max_calls: Maximum number of calls, or None; further ones are left out.
    """

    tokenizer: Any
    stops: list[str]
    end_ids: frozenset[int]
    token_bytes: Callable[[int], bytes] | None = None
    lead: str = ""
    lead_ids: list[int] = []
    tools: list[Any] = []
    tool_format: ToolFormat | None = None
    max_calls: int | None = None


class _AnswerText:
    """Text of an answer without tools."""

    calls: tuple[ParsedCall, ...] = ()

    def __init__(self, format: OutputFormat) -> None:
        self._lead = LeadFilter(format.lead, format.lead_ids)
        self._decoder = IncrementalDecoder(format.tokenizer)

    def add(self, tokens: list[int], final: bool) -> str:
        text = self._decoder.add(self._lead.add_tokens(tokens), final)
        return self._lead.add_text(text, final)


class _AnswerWithCalls:
    """Text and tool calls of an answer."""

    def __init__(self, format: OutputFormat) -> None:
        assert format.tool_format
        special = [token.content for token in format.tokenizer.added_tokens_decoder.values()]
        self._decoder = IncrementalDecoder(format.tokenizer, keep_special=True)
        self._parser = ToolCallParser(format.tool_format, format.tools)
        self._filter = ContentFilter(format.lead, special)

    @property
    def calls(self) -> tuple[ParsedCall, ...]:
        return tuple(self._parser.calls)

    def add(self, tokens: list[int], final: bool) -> str:
        text = self._parser.add(self._decoder.add(tokens, final), final)
        return self._filter.add(text, final)


class Output:
    """Text of a sequence up to its first stop sequence.

    Args:
        format: Format of the output.
        send: Called with each new part of the completion.
    """

    def __init__(self, format: OutputFormat, send: Send) -> None:
        self._format, self._send = format, send
        self._content: _AnswerText | _AnswerWithCalls = (
            _AnswerWithCalls(format) if format.tool_format else _AnswerText(format)
        )
        self._stops = StopSequences(format.stops)
        self._logprobs: list[dict[str, Any]] = []
        self.tokens = 0

    def add(self, token: int, probabilities: TokenProbabilities | None) -> bool:
        """Add a token. Return True if it ends the sequence."""
        self.tokens += 1
        if token in self._format.end_ids:
            return True
        if probabilities:
            self._logprobs.append(self._describe(probabilities))
        self._pass_on([token])
        return self._stops.found

    def finish(self, reason: str) -> None:
        """Send the text that was held back, the tool calls and the finish reason.

        Args:
            reason: "stop" or "length".
        """
        self._pass_on([], final=True)
        calls = [] if self._stops.found else self._content.calls[: self._format.max_calls]
        if calls:
            self._send(tool_calls=[msgspec.to_builtins(call) for call in calls])
            reason = "tool_calls" if reason == "stop" else reason
        self._send(finish_reason=reason, tokens=self.tokens)

    def _pass_on(self, tokens: list[int], final: bool = False) -> None:
        text = self._stops.add(self._content.add(tokens, final), final)
        if not text and not (final and self._logprobs):
            return
        if self._format.token_bytes:
            self._send(text=text, logprobs=self._logprobs)
            self._logprobs = []
        else:
            self._send(text=text)

    def send_prompt(self, ids: list[int], probabilities: list[TokenProbabilities]) -> None:
        """Send the prompt as the start of the completion.

        Args:
            ids: Its tokens.
            probabilities: Probabilities of its tokens from the second on.
        """
        text = self._format.tokenizer.decode(ids, skip_special_tokens=True)
        if not self._format.token_bytes:
            self._send(text=text)
            return
        first = self._token(ids[0]) | {"logprob": None, "top_logprobs": []}
        self._send(text=text, logprobs=[first])
        for start in range(0, len(probabilities), PROMPT_LOGPROBS):
            part = probabilities[start : start + PROMPT_LOGPROBS]
            self._send(text="", logprobs=[self._describe(item) for item in part])

    def _describe(self, item: TokenProbabilities) -> dict[str, Any]:
        """Return the probabilities of a token as an object of OpenAI's API."""
        others = [self._token(id) | {"logprob": logprob} for id, logprob in item.top]
        return self._token(item.token) | {"logprob": item.logprob, "top_logprobs": others}

    def _token(self, id: int) -> dict[str, Any]:
        assert self._format.token_bytes
        content = self._format.token_bytes(id)
        return {"token": content.decode("utf-8", "replace"), "bytes": list(content)}
