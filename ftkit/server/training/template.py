r"""Prompts and completions as the chat template of a base model writes them.

The prompt of a training example is, to the token, the one that is sent when the model answers:

    prompt      <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n
    completion  Hello!<|im_end|>

An example that the template cannot express is refused, with the reason.
"""

from __future__ import annotations

import json
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ftkit.errors import EncodingError
from ftkit.server.recipes import TEMPLATE_DEFAULTS
from ftkit.server.training.adaptation import TemplateFeatures, adapt
from ftkit.server.training.features import QUESTION, TOOLS, probe, tool_conversation
from ftkit.server.training.messages import Message
from ftkit.server.training.rendering import THINKING_PREFIX, Renderer

EMPTY_REASONING = "\n</think>\n\n"
"""Closes the reasoning block that a prompt leaves open, so that the answer follows."""


class Turn(Struct, frozen=True):
    """Prompt, and the completion that is to follow it."""

    prompt: str
    completion: str


class ChatTemplate:
    """Chat template of a base model.

    Args:
        tokenizer: Tokenizer of the base model, with its chat template.
        options: Variables of the template, such as `enable_thinking` or `reasoning_effort`.
        end_ids: Ids of tokens that end a completion, from the model's generation configuration.

    Attributes:
        features: Features of the template.

    Raises:
        EncodingError: The base model has no chat template, or one that leaves out the text of
            questions or answers.
    """

    def __init__(
        self,
        tokenizer: Any,
        options: dict[str, Any] | None = None,
        end_ids: tuple[int, ...] = (),
    ) -> None:
        if not tokenizer.chat_template:
            raise EncodingError(
                "the base model has no chat template; train it on prompts and completions"
            )
        self._tokenizer, self._end_ids = tokenizer, end_ids
        self._renderer = Renderer(tokenizer, TEMPLATE_DEFAULTS | (options or {}))
        self.features = probe(self._renderer)

    @property
    def end_ids(self) -> list[int]:
        """Ids of the tokens that end a completion."""
        ends = (self.features.end, self.features.call_end)
        tokens = [token for end in ends if (token := self._renderer.last_special(end))]
        ids = {*self._end_ids, self._tokenizer.eos_token_id}
        return sorted({*ids - {None}, *self._tokenizer.convert_tokens_to_ids(tokens)})

    @property
    def call_end_token(self) -> str:
        """Token that ends a completion with tool calls, or "" without an end token."""
        end = self._renderer.last_special(self.features.call_end)
        return end or self._tokenizer.eos_token or ""

    @property
    def lead_ids(self) -> list[int]:
        """Tokens before an answer if one of them is a special token, or else none."""
        lead = self.features.lead
        if not any(token in lead for token in self._renderer.special):
            return []
        ids: list[int] = self._tokenizer(lead, add_special_tokens=False)["input_ids"]
        return ids

    @property
    def obstacle(self) -> str:
        """Reason why a server that only renders the template has other prompts, or ""."""
        if self.features.lead:
            return f"it writes {self.features.lead!r} before an answer"
        question = adapt([{"role": "user", "content": QUESTION}], self.features)
        prompt = self._renderer.render(question, prompt=True)
        if _close_reasoning(prompt) != prompt:
            return "it leaves a block for reasoning open"
        if self.features.tools and self._prompt(tool_conversation(), TOOLS)[1] != self.features:
            return "it leaves out a system message if the last message is the result of a tool"
        return ""

    def prompt(self, messages: list[Message], tools: list[Any] | None = None) -> str:
        """Return the prompt for the next message of the assistant.

        Args:
            messages: Messages as returned by `template_messages`.
            tools: Tools as returned by `template_tools`.

        Raises:
            EncodingError: The template cannot express the messages.
        """
        return self._prompt(messages, tools)[0]

    def _prompt(
        self, messages: list[Message], tools: list[Any] | None
    ) -> tuple[str, TemplateFeatures]:
        """Return the prompt, and the features with which it was written.

        A system message that the template leaves out here is merged into the first message of the
        user: Mistral's templates write it only if the last message is one of the user.
        """
        self._check_tools(messages, tools)
        for features in (self.features, replace(self.features, system=False)):
            text = self._renderer.render(adapt(messages, features), tools, prompt=True)
            missing = _find_missing(messages, text)
            if not missing:
                return _close_reasoning(text), features
        raise EncodingError(f"the base model's chat template leaves out or changes {missing}")

    def turn(self, messages: list[Message], tools: list[Any] | None = None) -> Turn:
        """Return the prompt and the completion of the last message, one of the assistant.

        Raises:
            EncodingError: The template cannot express the messages, or changes the answer.
        """
        *history, answer = messages
        prompt, features = self._prompt(history, tools)
        self._check_tools([answer], tools)
        completion = self._completion(messages, tools, features)
        calls = [call["function"]["name"] for call in answer.get("tool_calls", ())]
        if not _is_written(answer, completion) or any(name not in completion for name in calls):
            raise EncodingError("the base model's chat template leaves out or changes the answer")
        return Turn(prompt, completion)

    def _completion(
        self, messages: list[Message], tools: list[Any] | None, features: TemplateFeatures
    ) -> str:
        """Return what the last message adds to the prompt, up to its end of turn."""
        completion = self._renderer.continuation(adapt(messages, features), tools)
        if completion is None:
            completion = self._completion_without_system(messages, tools)
        return self._end_turn(completion, has_calls="tool_calls" in messages[-1])

    def _completion_without_system(self, messages: list[Message], tools: list[Any] | None) -> str:
        """Return the completion of the last message in a conversation without system messages.

        Mistral's templates write the system message into the last message of the user only while
        nothing follows it. The conversation then does not start with the prompt, but it ends with
        the same answer.
        """
        others = [message for message in messages if message["role"] != "system"]
        completion = self._renderer.continuation(adapt(others, self.features), tools)
        whole = self._renderer.render(adapt(messages, self.features), tools)
        if completion is None or not whole.endswith(completion):
            raise EncodingError(
                "the base model's chat template does not continue the prompt with the answer"
            )
        return completion

    def _end_turn(self, completion: str, has_calls: bool) -> str:
        """Cut a completion after its end of turn, or add it if the template writes none."""
        end = self.features.call_end if has_calls else self.features.end
        end = end or self._tokenizer.eos_token or ""
        specials = self._renderer.trailing_special(completion)
        if not specials:
            return completion.rstrip() + end
        text = completion.rstrip()[: -len(specials)]
        before, separator, _ = specials.partition(end)
        return text + before + separator

    def _check_tools(self, messages: list[Message], tools: list[Any] | None) -> None:
        """Raise `EncodingError` if the template has no tools, or one call per message only."""
        calls = max(len(message.get("tool_calls", ())) for message in messages)
        has_tools = tools or calls or any(message["role"] == "tool" for message in messages)
        if has_tools and not self.features.tools:
            raise EncodingError("the base model's chat template does not support tools")
        if calls > 1 and not self.features.parallel_tool_calls:
            raise EncodingError(
                f"a message has {calls} tool calls, and the base model's chat template writes one"
            )


def _close_reasoning(prompt: str) -> str:
    """Close a reasoning block that a prompt leaves open."""
    match = THINKING_PREFIX.search(prompt)
    is_open = match is not None and match[1] is None
    return prompt.rstrip() + EMPTY_REASONING if is_open else prompt


def _find_missing(messages: list[Message], text: str) -> str | None:
    """Return the first message whose content is missing in a prompt, such as "message 2 (user)".

    Messages of the assistant do not count: templates remove the reasoning of earlier turns.
    """
    return next(
        (
            f"message {number} ({message['role']})"
            for number, message in enumerate(messages, 1)
            if message["role"] != "assistant" and not _is_written(message, text)
        ),
        None,
    )


def _is_written(message: Message, text: str) -> bool:
    """Return True if a rendered text has the texts of a message.

    Some templates write the reasoning before an answer in a form of their own, and the result of a
    tool as a JSON string.
    """
    content: str | list[Message] = message["content"]
    if isinstance(content, list):
        return all(part["text"].strip() in text for part in content if part["type"] == "text")
    if message["role"] == "assistant":
        content = content.rpartition("</think>")[2]
    if content.strip() in text:
        return True
    forms = (json.dumps(content, ensure_ascii=ascii)[1:-1] for ascii in (False, True))
    return message["role"] == "tool" and any(form in text for form in forms)
