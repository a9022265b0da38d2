"""Features of a chat template, found out by rendering short conversations.

Chat templates are programs, and nothing declares what they do. Some leave out system messages, some
write only the first of several tool calls, some ignore the text of an answer.
"""

from __future__ import annotations

import hashlib
from itertools import takewhile
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ftkit.errors import EncodingError
from ftkit.server.training.messages import Message, text_part
from ftkit.server.training.rendering import THINKING_PREFIX, Renderer

CALL_ID_LENGTH = 9
"""Length of the ids of tool calls at Mistral, whose templates refuse other ids."""

QUESTION, ANSWER, FOLLOW_UP = "ftkit-question", "ftkit-answer", "ftkit-follow-up"
SYSTEM, RESULT = "ftkit-system", "ftkit-result"
TOOL, ARGUMENT, FIRST, SECOND = "ftkit_tool", "ftkit_argument", "ftkit-first", "ftkit-second"
"""Texts of the conversations."""

CALL_IDS = {FIRST: "call_1", SECOND: "call_2"}
"""Ids of the calls, by their arguments."""

PARAMETERS = {
    "type": "object",
    "properties": {ARGUMENT: {"type": "string", "description": "An argument."}},
    "required": [ARGUMENT],
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": TOOL, "description": "A tool.", "parameters": PARAMETERS},
    }
]


class TemplateFeatures(Struct, frozen=True):
    """Features of a chat template.

    Attributes:
        system: System messages are part of the prompt. Otherwise, they are merged into the first
            message of the user.
        tools: Tools, a call and its result are written.
        parallel_tool_calls: All calls of a message are written.
        thinking: The template has a mode with reasoning.
        text_parts: The content of messages is a list of parts instead of a text.
        short_call_ids: Ids of calls have `CALL_ID_LENGTH` characters.
        lead: Text that the template writes between the prompt and an answer.
        end: Special tokens that end an answer: the end of turn.
        call_end: Special tokens that end a message with calls.
    """

    system: bool = True
    tools: bool = True
    parallel_tool_calls: bool = True
    thinking: bool = False
    text_parts: bool = False
    short_call_ids: bool = False
    lead: str = ""
    end: str = ""
    call_end: str = ""


def adapt(messages: list[Message], features: TemplateFeatures) -> list[Message]:
    """Rewrite messages for a template without a feature.

    Raises:
        EncodingError: There is no user message to merge a system message into.
    """
    if not features.system:
        messages = _merge_system(messages)
    if features.short_call_ids:
        messages = [_shorten_ids(message) for message in messages]
    if features.text_parts:
        messages = [
            {**message, "content": [text_part(message["content"])]}
            if isinstance(message["content"], str)
            else message
            for message in messages
        ]
    return messages


def _merge_system(messages: list[Message]) -> list[Message]:
    """Move the system messages into the first message of the user, before a blank line."""
    texts = [message["content"] for message in messages if message["role"] == "system"]
    if not texts:
        return messages
    others = [message for message in messages if message["role"] != "system"]
    first = next((n for n, message in enumerate(others) if message["role"] == "user"), None)
    if first is None:
        raise EncodingError(
            "the base model takes no system messages, and there is no user message to merge it into"
        )
    system, content = "\n\n".join([*texts, ""]), others[first]["content"]
    merged = system + content if isinstance(content, str) else [text_part(system), *content]
    return [*others[:first], {**others[first], "content": merged}, *others[first + 1 :]]


def _shorten_ids(message: Message) -> Message:
    shortened = dict(message)
    if "tool_call_id" in message:
        shortened["tool_call_id"] = _short_id(message["tool_call_id"])
    if "tool_calls" in message:
        shortened["tool_calls"] = [
            {**call, "id": _short_id(call.get("id", ""))} for call in message["tool_calls"]
        ]
    return shortened


def _short_id(id: str) -> str:
    if len(id) == CALL_ID_LENGTH and id.isalnum() and id.isascii():
        return id
    return hashlib.sha256(id.encode("utf-8", "replace")).hexdigest()[:CALL_ID_LENGTH]


def probe(renderer: Renderer) -> TemplateFeatures:
    """Find out the features of a chat template.

    Raises:
        EncodingError: The template does not write the text of questions and answers.
    """
    prober = _Prober(renderer)
    features = prober.probe_text()
    return replace(features, **prober.probe_tools(features))


class _Prober:
    """Renders the conversations; a template that refuses one writes nothing."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    def probe_text(self) -> TemplateFeatures:
        """Find out the features for conversations without tools."""
        question, answer = _message("user", QUESTION), _message("assistant", ANSWER)
        for parts in (False, True):
            features = TemplateFeatures(text_parts=parts)
            completion = self._continuation([question, answer], features)
            if ANSWER in completion and QUESTION in self._prompt([question], features):
                break
        else:
            raise EncodingError(
                "the base model's chat template does not write the answers of a conversation"
            )
        system = _message("system", SYSTEM)
        return replace(
            features,
            system=all(
                SYSTEM in self._prompt(messages, features)
                for messages in ([system, question], [system, question, answer, question])
            ),
            thinking=self._has_thinking([question], features),
            lead=completion.partition(ANSWER)[0],
            end=self._end(ANSWER, [question, answer, _message("user", FOLLOW_UP)], features),
        )

    def probe_tools(self, text_features: TemplateFeatures) -> dict[str, Any]:
        """Find out the features for tools."""
        question, call = _message("user", QUESTION), _call_message(FIRST)
        for short in (False, True):
            features = replace(text_features, short_call_ids=short)
            conversation = [question, call, _result(FIRST)]
            completion = self._continuation(conversation[:2], features, TOOLS)
            expected = (
                (TOOL, self._prompt([question], features, TOOLS)),
                (TOOL, completion),
                (FIRST, completion),
                (RESULT, self._prompt(conversation, features, TOOLS)),
            )
            if all(part in text for part, text in expected):
                return {
                    "parallel_tool_calls": self._writes_all_calls(question, features),
                    "short_call_ids": short,
                    "call_end": self._end(FIRST, conversation, features, TOOLS),
                }
        return {"tools": False, "parallel_tool_calls": False}

    def _writes_all_calls(self, question: Message, features: TemplateFeatures) -> bool:
        messages = [question, _call_message(FIRST, SECOND)]
        completion = self._continuation(messages, features, TOOLS)
        results = self._prompt([*messages, _result(FIRST), _result(SECOND)], features, TOOLS)
        return FIRST in completion and SECOND in completion and results.count(RESULT) == 2

    def _end(
        self,
        mark: str,
        conversation: list[Message],
        features: TemplateFeatures,
        tools: list[Any] | None = None,
    ) -> str:
        """Return the special tokens that follow `mark` in the message before the last one.

        What the template writes only at the end of a conversation does not count. If it writes
        nothing after a message, the special token that starts the next one ends it.
        """
        final = self._render(conversation[:-1], features, tools).rpartition(mark)[2]
        middle = self._render(conversation, features, tools).rpartition(mark)[2]
        common = common_prefix(final, middle)
        while common and not self._renderer.last_special(common):
            common = common[:-1]  # the start of a token of which the rest differs
        trailing = self._renderer.trailing_special
        end = trailing(common) or trailing(final)
        if end:
            return end
        following = middle[len(final) :].lstrip()
        return next((token for token in self._renderer.special if following.startswith(token)), "")

    def _has_thinking(self, messages: list[Message], features: TemplateFeatures) -> bool:
        prompts = {
            _Prober(self._renderer.with_options(enable_thinking=enabled))._prompt(
                messages, features
            )
            for enabled in (True, False)
        }
        return len(prompts) > 1 or any(THINKING_PREFIX.search(prompt) for prompt in prompts)

    def _prompt(
        self, messages: list[Message], features: TemplateFeatures, tools: list[Any] | None = None
    ) -> str:
        return self._render(messages, features, tools, prompt=True)

    def _render(
        self,
        messages: list[Message],
        features: TemplateFeatures,
        tools: list[Any] | None = None,
        prompt: bool = False,
    ) -> str:
        try:
            return self._renderer.render(adapt(messages, features), tools, prompt)
        except EncodingError:
            return ""

    def _continuation(
        self, messages: list[Message], features: TemplateFeatures, tools: list[Any] | None = None
    ) -> str:
        try:
            return self._renderer.continuation(adapt(messages, features), tools) or ""
        except EncodingError:
            return ""


def common_prefix(a: str, b: str) -> str:
    """Return the text with which both texts start."""
    return "".join(
        x for x, _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))
    )


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _call_message(*values: str) -> Message:
    calls = [
        {
            "id": CALL_IDS[value],
            "type": "function",
            "function": {"name": TOOL, "arguments": {ARGUMENT: value}},
        }
        for value in values
    ]
    return {**_message("assistant", ""), "tool_calls": calls}


def _result(value: str) -> Message:
    return {**_message("tool", RESULT), "tool_call_id": CALL_IDS[value], "name": TOOL}
