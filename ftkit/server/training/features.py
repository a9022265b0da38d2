"""Features of a chat template, detected by rendering short conversations.

Chat templates are programs, and nothing declares what they do. Some leave out system messages, some
write only the first of several tool calls, some ignore the text of an answer.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from ftkit._text import common_prefix
from ftkit.errors import EncodingError
from ftkit.server.training.adaptation import TemplateFeatures, adapt
from ftkit.server.training.messages import Message
from ftkit.server.training.rendering import THINKING_PREFIX, Renderer

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


def probe(renderer: Renderer) -> TemplateFeatures:
    """Find out the features of a chat template.

    Raises:
        EncodingError: The template does not write the text of questions and answers.
    """
    prober = _Prober(renderer)
    features = prober.probe_text()
    return replace(features, **prober.probe_tools(features))


def tool_conversation() -> list[Message]:
    """Return a conversation with a system message that ends with the result of a tool."""
    system, question = _message("system", SYSTEM), _message("user", QUESTION)
    return [system, question, _call_message(FIRST), _result(FIRST)]


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
